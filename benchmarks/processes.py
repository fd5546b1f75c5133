"""Epoch times of 1, 2 and 4 processes that share each batch, by turns, and what bounds them.

Each process computes with one thread; on a CPU they talk by gloo. The sums of gradients are timed
by themselves, as many bytes by as many. `python benchmarks/processes.py --case imdb-dense`
"""

import argparse
import json
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
from cases import Setup, our_network
from measure import DISTURBED, HERE, RESULTS, WORK, dlrun, measure, output, read_json, run_folder
from run import note

TORCHRUN = [str(Path(sys.executable).with_name("torchrun"))]
PROCESSES = [1, 2, 4]
EPOCHS = {"imdb-dense": 12, "imdb-lstm": 3, "cifar100": 4}
IMAGES = 3_000  # generated, for CIFAR100's own may not be there
BYTES = 4  # of a parameter's gradient
REDUCTIONS = 200
COLUMNS = [
    "experiment", "processes", "epoch, s", "of one's", "of the ideal", "steps", "gradient, MB",
    "its sum, ms", "sums, of the epoch", "the signals' sum, ms",
]  # fmt: skip

Row = dict[str, Any]


def settings(name: str, setup: Setup) -> dict[str, object]:
    """The config's values beside the shipped ones."""
    found: dict[str, object] = {"data.source": "sample", "data.sample_images": IMAGES}
    if name != "cifar100":
        found = setup.settings()
    epochs = setup.epochs or EPOCHS[name]
    return found | {"trainer.max_epochs": epochs, "threads": 1, "predictions": "false"}


def run_one(name: str, processes: int, setup: Setup, folder: Path) -> tuple[Row, float]:
    """One run: its record, and the median of its epochs' seconds."""
    command = dlrun(name, settings(name, setup), folder, setup.data)
    if processes > 1:
        command = [*TORCHRUN, f"--nproc-per-node={processes}", "-m", "dlrun", *command[1:]]
    took = measure(command, folder.with_suffix(".txt"))
    seconds = our_network(folder, took)["epoch"]
    disturbed = " (disturbed)" if (took.others or 0) > DISTURBED else ""
    note(f"{name}, {processes}: {seconds:.4g} s an epoch{disturbed}")
    return read_json(run_folder(folder) / "results.json"), seconds


def rows(name: str, setup: Setup, runs: Path, repeats: int) -> list[Row]:
    """An experiment's rows of the table."""
    seconds: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    record: Row = {}
    for turn in range(repeats):
        for processes in PROCESSES:
            folder = runs / f"{name}-{processes}-{turn}"
            record, one = run_one(name, processes, setup, folder)
            seconds[processes].append(one)
    trained = train_rows(name, setup)
    steps = -(-trained // record["batch_rows"])
    size = BYTES * record["parameters"]
    alone = statistics.median(seconds[1])
    found = []
    for processes in PROCESSES:
        epoch = statistics.median(seconds[processes])
        row: Row = {
            "experiment": name,
            "processes": processes,
            "epoch": epoch,
            "runs": seconds[processes],
        }
        row |= {"steps": steps, "bytes": size, "rows": record["batch_rows"]}
        row["speedup"] = alone / epoch
        row["share"] = row["speedup"] / min(processes, os.cpu_count() or 1)
        row |= {"sum": 0.0, "signal": 0.0}
        if processes > 1:
            row |= reductions(size, processes)
        found.append(row)
    return found


def train_rows(name: str, setup: Setup) -> int:
    """How many rows an epoch trains on."""
    if name == "cifar100":
        return IMAGES - IMAGES // 5
    return 25_000 - int(str(setup.settings()["data.validation"]))


def reductions(size: int, processes: int) -> dict[str, float]:
    """The median seconds of a sum of so many bytes, and of one number, by so many processes."""
    found: dict[str, float] = output(
        [
            *TORCHRUN,
            f"--nproc-per-node={processes}",
            str(HERE / "processes.py"),
            "--reduce",
            str(size),
        ]
    )
    return found


def reduce(size: int) -> None:
    """What each process of `reductions` does; the first prints what it measured."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    found = {}
    for what, count in (("sum", size // BYTES), ("signal", 1)):
        numbers, times = torch.ones(count), []
        for _ in range(REDUCTIONS):
            distributed.barrier()
            started = time.perf_counter()
            distributed.all_reduce(numbers)
            times.append(time.perf_counter() - started)
            numbers.fill_(1)
        found[what] = statistics.median(times)
    if distributed.get_rank() == 0:
        sys.stdout.write(json.dumps(found) + "\n")
    distributed.destroy_process_group()


def table(found: list[Row]) -> str:
    """The rows in markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    for row in found:
        sums = row["steps"] * row["sum"] / row["epoch"]
        several = row["processes"] > 1
        lines.append(
            [
                row["experiment"],
                str(row["processes"]),
                f"{row['epoch']:.3g}",
                f"{row['speedup']:.2f}x" if several else "",
                f"{row['share']:.0%}" if several else "",
                str(row["steps"]),
                f"{row['bytes'] / 1e6:.2f}",
                f"{1e3 * row['sum']:.2f}" if several else "",
                f"{sums:.0%}" if several else "",
                f"{1e3 * row['signal']:.2f}" if several else "",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=[*EPOCHS])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data", type=Path, default=os.environ.get("DLRUN_TEST_DATA"))
    parser.add_argument("--prepare", action="store_true", help="prepare the data and stop")
    parser.add_argument("--reduce", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reduce:
        reduce(args.reduce)
        return 0
    if args.data is None:
        parser.error("name the folder with the data: --data, or DLRUN_TEST_DATA")
    setup = Setup(args.data.resolve(), quick=False, epochs=args.epochs)
    setup.settings()
    if args.prepare:
        return 0
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    runs = WORK / "runs" / f"processes-{stamp}"
    found = [row for name in args.case or EPOCHS for row in rows(name, setup, runs, args.repeats)]
    file = RESULTS / f"processes-{stamp}.json"
    file.write_text(json.dumps({"machine": machine.describe(), "rows": found}, indent=2) + "\n")
    sys.stdout.write(f"{table(found)}\n{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
