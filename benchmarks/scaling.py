"""How time and peak memory grow with the data, and what bounds them: a table, a CSV, a figure.

Each size in a fresh process of dlrun alone; the reviews beyond 25,000 are the real ones repeated.
`python benchmarks/scaling.py --quick` takes small sizes only.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
from cases import EXACT_IMAGES, Setup, our_images, our_network, our_path
from measure import (
    DISTURBED,
    HERE,
    RESULTS,
    WORK,
    FailedError,
    dlrun,
    measure,
    output,
    prepare,
)
from run import note

REVIEWS = [25_000, 50_000, 100_000, 200_000, 400_000]
IMAGES = [100, 700, 5_000]
EPOCHS = {"imdb-dense": 5, "imdb-lstm": 3}
COLUMNS = ["experiment", "size", "threads", "seconds", "of", "process_seconds", "peak_mb", "others"]
UNIT = {
    "imdb-dense": "epoch",
    "imdb-lstm": "epoch",
    "imdb-lasso": "path",
    "classify-images": "image",
}
MULTIPLY_ADD = 2  # operations
RESNET50_GFLOP = 8.18  # 4.09 G multiply-adds for 224 x 224 (torchvision's own figure)

Point = dict[str, Any]


def run_one(name: str, size: int, setup: Setup, runs: Path, threads: str) -> Point:
    """One experiment at one size, in a new process."""
    folder = runs / f"{name}-{size}"
    more: tuple[str, ...] = ()
    read: Callable[..., dict[str, float]] = our_network
    if name == "classify-images":
        photos = WORK / f"links-{size}"
        count = 12 if setup.quick else 200
        prepare("links", images=setup.photos(count), count=size, to=photos)
        settings: dict[str, object] = {"model.weights": setup.weights(), **EXACT_IMAGES}
        more, read = (str(photos),), our_images
    else:
        settings = setup.settings(size)
        if name == "imdb-lasso":
            read = our_path
        else:
            settings = settings | {"trainer.max_epochs": setup.epochs or EPOCHS[name]}
    settings = settings | {"threads": threads}
    took = measure(dlrun(name, settings, folder, setup.data, *more), runs / f"{name}-{size}.txt")
    found = read(folder, took)
    unit = UNIT[name]
    seconds = found[unit] * (size if unit == "image" else 1)
    point = {
        "experiment": name,
        "size": size,
        "threads": threads,
        "seconds": seconds,
        "of": "all" if unit == "image" else unit,
        "process_seconds": took.seconds,
        "peak_mb": took.peak_bytes / 1e6,
        "others": took.others,
    }
    note(f"{name} {size}: {seconds:.3g} s, {point['peak_mb']:.0f} MB, others {took.others}")
    return point


def work(counts: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Operations and bytes of an epoch, counted from the data; lower bounds: what cannot be saved.

    imdb-dense: each id of a bag adds a row of 16 floats forward and its gradient backward (which
    also reads what it adds to and the row's gradient); RMSprop reads and writes the weights, their
    squares and their gradient at each step. imdb-lstm: the four gates' products with input and
    state, forward, and twice that backward, for each id that is no padding; it writes and reads
    again the gates, the states and their gradients.
    """
    rows, valid = counts["train_rows"], counts["valid_rows"]
    ids, ids_valid = counts["train_bag_ids"], counts["valid_bag_ids"]
    hidden, weights, batch = 16, 160_353, 512
    dense_operations = MULTIPLY_ADD * hidden * (2 * ids + ids_valid)
    dense_operations += MULTIPLY_ADD * hidden * (hidden + 1) * (3 * rows + valid)
    row = 4 * hidden
    dense_bytes = (row + 8) * (ids + ids_valid) + (3 * row + 8) * ids
    dense_bytes += -(-rows // batch) * weights * 4 * 6
    steps, steps_valid, unit, embedded = counts["train_steps"], counts["valid_steps"], 32, 32
    gates = MULTIPLY_ADD * 4 * unit * (unit + embedded)
    floats = 4 * unit + 2 * unit + embedded  # of a step: gates, cell and hidden state, input
    return {
        "imdb-dense": (dense_operations, dense_bytes),
        "imdb-lstm": (
            gates * (3 * steps + steps_valid),
            4 * floats * (4 * steps + 2 * steps_valid),
        ),
    }


def bounds(points: list[Point], counts: dict[str, int], size: int, speed: dict[str, float]) -> str:
    """Each experiment's least time by arithmetic and by memory, beside what it takes."""
    head = ["experiment", "GFLOP", "GB", "s at the product's rate", "s at the copy's rate"]
    head += ["measured s", "bounds' share"]
    lines = [head, ["---"] * len(head)]

    def add(name: str, operations: float, moved: float, seconds: float) -> None:
        by_product = operations / 1e9 / speed["gflops"]
        by_copy = moved / 1e9 / speed["copy_gb_per_s"]
        share = max(by_product, by_copy) / seconds
        cells = [operations / 1e9, moved / 1e9, by_product, by_copy, seconds]
        lines.append([name, *(f"{cell:.3g}" for cell in cells), f"{share:.0%}"])

    measured = {point["experiment"]: point for point in points if point["size"] == size}
    for name, (operations, moved) in work(counts).items():
        if name in measured:
            label = f"{name}, an epoch of {size:,}"
            add(label, operations, moved, measured[name]["seconds"])
    if "imdb-lasso" in measured:
        ids = counts["train_bag_ids"]  # a sweep reads each index and a number of its row
        add("imdb-lasso, one pass over the matrix", 2 * ids, 12 * ids, 1)
        passes = measured["imdb-lasso"]["seconds"] * 1e9 * speed["copy_gb_per_s"] / (12 * ids)
        lines[-1][-2:] = [f"path {measured['imdb-lasso']['seconds']:.3g}", f"{passes:,.0f} passes"]
    for point in [point for point in points if point["of"] == "all"][-1:]:
        each = point["seconds"] / point["size"]
        megapixels = 13e6  # the photographs' mean; decoded, 3 bytes a pixel, written and read
        add("classify-images, a photograph", RESNET50_GFLOP * 1e9, 6 * megapixels, each)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(points: list[Point]) -> str:
    lines = [COLUMNS[:-1], ["---"] * (len(COLUMNS) - 1)]
    for point in points:
        size = f"{point['size']:,}" + (" *" if (point["others"] or 0) > DISTURBED else "")
        numbers = [f"{point['seconds']:.3g}", point["of"], f"{point['process_seconds']:.3g}"]
        lines.append(
            [point["experiment"], size, point["threads"], *numbers, f"{point['peak_mb']:.0f}"]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def draw(points: list[Point], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    panels = (("seconds", "seconds"), ("peak_mb", "peak memory, MB"))
    for ax, (key, label) in zip(axes, panels, strict=True):
        for name, unit in UNIT.items():
            mine = [point for point in points if point["experiment"] == name]
            if mine:
                what = f"{name} ({'all images' if unit == 'image' else unit})"
                sizes, values = [p["size"] for p in mine], [p[key] for p in mine]
                ax.plot(sizes, values, "o-", label=what)
        ax.set(xlabel="training reviews, or photographs", ylabel=label)
        ax.set_xscale("log")
        ax.set_yscale("log", base=10 if key == "seconds" else 2)
        ax.yaxis.set_major_formatter("{x:,g}")
        all_sizes = sorted({point["size"] for point in points})
        ax.set_xticks(all_sizes, [f"{size:,}" for size in all_sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.25)
    axes[0].legend()
    fig.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two small sizes of each")
    parser.add_argument("--case", action="append", choices=UNIT, help="only this (repeatable)")
    parser.add_argument(
        "--size", action="append", type=int, help="instead of the usual (repeatable)"
    )
    parser.add_argument("--threads", default="auto", help="of the CPU (default: auto)")
    parser.add_argument("--epochs", type=int, help="of the networks; the first is not counted")
    parser.add_argument("--data", type=Path, default=os.environ.get("DLRUN_TEST_DATA"))
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the folder with the data: --data, or DLRUN_TEST_DATA")
    setup = Setup(args.data.resolve(), args.quick, args.epochs)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    runs = WORK / "runs" / f"scaling-{stamp}"
    runs.mkdir(parents=True)
    stem = RESULTS / f"scaling-{stamp}"
    speed = output([sys.executable, str(HERE / "machine.py")])
    points: list[Point] = []
    failures = []
    for name in args.case or UNIT:
        sizes = IMAGES if name == "classify-images" else REVIEWS
        if args.quick:
            sizes = [12, 36] if name == "classify-images" else [6_250, 12_500]
        sizes = args.size or sizes
        for size in sizes:
            try:
                points.append(run_one(name, size, setup, runs, args.threads))
            except FailedError as error:
                note(f"{name} {size}: {error}")
                failures.append(f"{name} {size}")
        with stem.with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(points)
    size = 6_250 if args.quick else 25_000
    about = machine.describe()
    lines = [table(points), "", bounds(points, prepare("counts", **setup.named(size)), size, speed)]
    lines += ["", f"{about['cores']} cores of {about['processor']}: {json.dumps(speed)}"]
    if any((point["others"] or 0) > DISTURBED for point in points):
        lines.append(f"* others took more than {DISTURBED:.0%} of the cores: measure again")
    lines += [f"FAILED: {failure}" for failure in failures]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(points, stem.with_suffix(".png"))
    sys.stdout.write("\n".join([*lines, f"{stem}.md, .csv, .png"]) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
