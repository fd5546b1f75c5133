"""What is compared: for each case the command lines, what is read from a run, the issue's targets.

A case runs its variants in turn (lab, dlrun, lab, dlrun, ...), each in a new process and folder.
"""

import csv
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import (
    DLRUN,
    HERE,
    WORK,
    Process,
    column,
    dlrun,
    measure,
    prepare,
    read_json,
    run_folder,
    steady,
)

LAB = HERE / ".venv-lab" / "bin" / "python"
FULL = 25_000  # training reviews of the published archive
HELD_OUT = 0.08  # of them for validation: 2,000 of 25,000
EXACT_IMAGES = {"transform.squash": "true"}  # the lab's own resize
SCALED_IMAGES = EXACT_IMAGES | {"transform.scaled_decoding": "true"}
BF16_IMAGES = SCALED_IMAGES | {"precision": "bf16-mixed"}

Metrics = dict[str, float]
Samples = dict[str, list[Metrics]]


@dataclass(frozen=True)
class Variant:
    """One way of doing it: makes its command line for a folder, reads its measures there."""

    command: Callable[[Path], list[str]]
    read: Callable[[Path, Process], Metrics]
    expected: int = 0  # exit code
    optional: bool = False  # left out where this dlrun does not know its settings


@dataclass(frozen=True)
class Row:
    """A row of the table. Targets are ratios, or seconds where `absolute`."""

    what: str
    metric: str
    must: float | None = None
    goal: float | None = None
    variant: str = "dlrun"
    unit: str = "s"
    absolute: bool = False


@dataclass(frozen=True)
class Case:
    """Variants that run in turn, the table's rows, and a check of the folders they leave."""

    variants: dict[str, Variant]
    rows: list[Row]
    repeats: int
    check: Callable[[dict[str, list[Path]]], dict[str, Any]] = lambda folders: {}
    discard: int = 0  # first runs that only warm up


@dataclass(frozen=True)
class Setup:
    """Where the data are, how much of them, and what is prepared of them on first use."""

    source: Path
    quick: bool
    epochs: int | None = None

    @property
    def data(self) -> Path:
        """dlrun's data folder, with its prepared arrays."""
        return WORK / "data"

    @functools.cache  # noqa: B019 (one Setup lives as long as the process)
    def settings(self, reviews: int = FULL) -> dict[str, object]:
        """The config's values for so many training reviews, prepared by now.

        More than there are, the real ones over and over, come from CSV files.
        """
        archive = self.source / "aclImdb_v1.tar.gz"
        found: dict[str, object] = {"data.archive": archive}
        if reviews > FULL:
            folder = WORK / f"csv-{reviews}"
            prepare("csvs", archive=archive, reviews=reviews, to=folder)
            files = {f"data.{part}": folder / f"{part}.csv" for part in ("train", "test")}
            found = {"data.source": "csv", **files}
        elif reviews < FULL:
            made = WORK / f"aclImdb_{reviews}.tar.gz"
            prepare("archive", archive=archive, reviews=reviews, to=made)
            found = {"data.archive": made}
        measure(fetch(self.data, found), WORK / "fetch.log")
        return found | {"data.validation": round(HELD_OUT * reviews)}

    def arrays(self, reviews: int = FULL) -> Path:
        """The same reviews as the lab's code reads them."""
        folder = WORK / f"arrays-{reviews}"
        prepare("arrays", to=folder, **self.named(reviews))
        return folder

    def named(self, reviews: int) -> dict[str, object]:
        """The reviews as prepare.py's options."""
        settings = self.settings(reviews)
        archive, validation = settings["data.archive"], settings["data.validation"]
        return {"archive": archive, "validation": validation, "data": self.data}

    def photos(self, count: int) -> Path:
        folder = WORK / f"photos-{count}"
        prepare("photos", images=self.source / "book_images", count=count, to=folder)
        return folder

    def weights(self) -> Path:
        path = WORK / "resnet50-random.pt"
        prepare("weights", to=path)
        return path


def fetch(data: Path, settings: dict[str, object]) -> list[str]:
    """The command that prepares the reviews' arrays."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [*DLRUN, "data", "fetch", "imdb", "--data-dir", str(data), *sets]


def lab(script: str, *words: object) -> list[str]:
    """A lab script's command line."""
    return [str(LAB), str(HERE / script), *map(str, words)]


def process(folder: Path, took: Process) -> Metrics:
    """What the process as a whole took."""
    found = {"process": took.seconds, "memory": took.peak_bytes}
    return found if took.others is None else found | {"others": took.others}


def lab_network(folder: Path, took: Process) -> Metrics:
    found = read_json(folder / "lab.json")
    epoch = steady(found["epoch_seconds"])
    return process(folder, took) | {"epoch": epoch, "test_accuracy": found["test_accuracy"]}


def our_network(folder: Path, took: Process) -> Metrics:
    run = run_folder(folder)
    epoch = steady(column(run / "metrics.csv", "seconds"))
    accuracy = read_json(run / "results.json")["metrics"]["test_accuracy"]
    return process(folder, took) | {"epoch": epoch, "test_accuracy": accuracy}


def our_path(folder: Path, took: Process) -> Metrics:
    seconds = sum(column(run_folder(folder) / "metrics.csv", "seconds"))
    return process(folder, took) | {"path": seconds}


def our_images(folder: Path, took: Process) -> Metrics:
    results = read_json(run_folder(folder) / "results.json")
    seconds = results["seconds"]["classify"] / results["metrics"]["images"]
    return process(folder, took) | {"image": seconds}


def dense(setup: Setup) -> Case:
    epochs = setup.epochs or (5 if setup.quick else 30)
    arrays, settings = setup.arrays(), setup.settings() | {"trainer.max_epochs": epochs}
    return Case(
        {
            "lab": Variant(
                lambda out: lab("lab_imdb.py", "dense", arrays, epochs, out), lab_network
            ),
            "dlrun": Variant(
                lambda out: dlrun("imdb-dense", settings, out, setup.data), our_network
            ),
        },
        [
            Row("imdb-dense, an epoch with its validation", "epoch", 8, 15),
            Row(f"imdb-dense, whole process: {epochs} epochs, test, figures", "process", 4.5, 7),
            Row("imdb-dense, peak memory of the process", "memory", 4.5, 5, unit="GB"),
        ],
        repeats=2 if setup.quick else 5,
    )


def lasso(setup: Setup) -> Case:
    values = 20 if setup.quick else 50
    arrays, settings = setup.arrays(), setup.settings()

    def solve(out: Path, values: int = values) -> list[str]:
        return dlrun("imdb-lasso", settings | {"path.values": values}, out, setup.data)

    def read_lab(folder: Path, took: Process) -> Metrics:
        return process(folder, took) | {"path": read_json(folder / "lab.json")["path_seconds"]}

    def check(folders: dict[str, list[Path]]) -> dict[str, Any]:
        ours = run_folder(folders["dlrun"][0]) / "coefficients.npz"
        theirs = folders["lab"][0] / "lab.npz"
        return prepare("objectives", arrays=arrays, lab=theirs, ours=ours)

    return Case(
        {
            "lab": Variant(lambda out: lab("lab_lasso.py", arrays, values, out), read_lab),
            "dlrun": Variant(solve, our_path),
        },
        [
            Row(f"imdb-lasso, path of {values} lambdas", "path", 10, 15),
            Row("imdb-lasso, whole process", "process"),
            Row("imdb-lasso, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
        check=check,
    )


def lstm(setup: Setup) -> Case:
    reviews = 6_250 if setup.quick else FULL
    epochs = setup.epochs or (3 if setup.quick else 4)
    arrays = setup.arrays(reviews)
    settings = setup.settings(reviews) | {"trainer.max_epochs": epochs}

    what = f"imdb-lstm, an epoch of {reviews:,} reviews with its validation"
    return Case(
        {
            "lab": Variant(
                lambda out: lab("lab_imdb.py", "lstm", arrays, epochs, out), lab_network
            ),
            "dlrun": Variant(
                lambda out: dlrun("imdb-lstm", settings, out, setup.data), our_network
            ),
        },
        [
            Row(what, "epoch", 6, 12),
            Row("imdb-lstm, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
    )


def images(setup: Setup) -> Case:
    count = 12 if setup.quick else 200
    photos, weights = setup.photos(count), setup.weights()
    settings = {"model.weights": weights}

    def classify(more: dict[str, str]) -> Variant:
        return Variant(
            lambda out: dlrun("classify-images", settings | more, out, setup.data, str(photos)),
            our_images,
            optional=True,
        )

    def read_lab(folder: Path, took: Process) -> Metrics:
        found = read_json(folder / "lab.json")
        return process(folder, took) | {"image": found["seconds"] / found["images"]}

    variants = {
        "lab": Variant(lambda out: lab("lab_images.py", photos, weights, out), read_lab),
        "dlrun exact": classify(EXACT_IMAGES),
        "dlrun": classify(SCALED_IMAGES),
        "dlrun bf16": classify(BF16_IMAGES),
    }
    what = f"classify-images, resnet50, {count} photographs, each"
    return Case(
        variants,
        [
            Row(f"{what}, float32, the lab's exact steps", "image", variant="dlrun exact"),
            Row(f"{what}, float32, scaled decoding", "image", 2.5, 3.5, "dlrun"),
            Row(f"{what}, bf16, scaled decoding", "image", 4, 5, "dlrun bf16"),
            Row("classify-images, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
        check=_same_labels,
    )


def _same_labels(folders: dict[str, list[Path]]) -> dict[str, Any]:
    """How near the top three are to the lab's."""
    theirs = read_json(folders.pop("lab")[0] / "lab.json")["predictions"]
    found = {}
    for name, (first, *_) in folders.items():
        ours: dict[str, dict[str, float]] = {}
        with (run_folder(first) / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                labels = ours.setdefault(Path(line["image"]).name, {})
                labels[line["label"]] = float(line["probability"])
        found[name] = {
            "images": len(ours),
            "same_top_3": sum(list(ours[file]) == list(theirs[file]) for file in theirs),
            "largest_difference_of_a_probability": max(
                abs(probability - ours[file].get(label, 0))
                for file, labels in theirs.items()
                for label, probability in labels.items()
            ),
        }
    return found


def startup(setup: Setup) -> Case:
    def read(folder: Path, took: Process) -> Metrics:
        return process(folder, took)

    wrong = ["imdb-dense", "--set", "batch_sise=512"]
    return Case(
        {
            "lab": Variant(lambda out: [str(LAB), "-c", "import pytorch_lightning"], read),
            "dlrun --help": Variant(lambda out: [*DLRUN, "--help"], read),
            "config error": Variant(
                lambda out: [*DLRUN, *wrong, "--runs-dir", str(out)], read, expected=2
            ),
        },
        [
            Row(
                "dlrun --help (lab: import Lightning)",
                "process",
                0.25,
                0.15,
                "dlrun --help",
                absolute=True,
            ),
            Row(
                "a config error (lab: import Lightning)",
                "process",
                0.5,
                0.15,
                "config error",
                absolute=True,
            ),
        ],
        repeats=4 if setup.quick else 10,
        discard=1,
    )


def reviews(setup: Setup) -> Case:
    settings = {"data.archive": setup.source / "aclImdb_v1.tar.gz"}
    return Case(
        {"dlrun": Variant(lambda out: fetch(out, settings), process)},
        [Row("reviews, archive to cached arrays, first use", "process", 15, 8, absolute=True)],
        repeats=1 if setup.quick else 5,
    )


CASES: dict[str, Callable[[Setup], Case]] = {
    "start-up": startup,
    "reviews": reviews,
    "imdb-dense": dense,
    "imdb-lasso": lasso,
    "imdb-lstm": lstm,
    "classify-images": images,
}


def warm_up() -> None:
    """Read both sides' libraries from disk once, so that no run pays for the other."""
    measure([str(LAB), "-c", "import ISLP.torch, torchvision"], WORK / "warm-up.log")
    imports = "import lightning.pytorch, numba, pandas, torchvision"
    measure([sys.executable, "-c", imports], WORK / "warm-up.log")
