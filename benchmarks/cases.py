"""The cases: for each its command lines, what is read from a run, and the targets.

A case runs its variants in turn (lab, dlrun, lab, dlrun, ...), each in a new process and folder.
Those in MORE_CASES run only if they are named.
"""

import csv
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from measure import (
    DLRUN,
    HERE,
    WORK,
    MissingError,
    Process,
    column,
    dlrun,
    measure,
    output,
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
ONNX_IMAGES = SCALED_IMAGES | {"backend": "onnxruntime"}
BF16_IMAGES = SCALED_IMAGES | {"precision": "bf16-mixed"}

Metrics = dict[str, float]
Samples = dict[str, list[Metrics]]


@dataclass(frozen=True)
class Variant:
    """One way to do it: makes its command line for a folder, reads its measures there."""

    command: Callable[[Path], list[str]]
    read: Callable[[Path, Process], Metrics]
    expected: int = 0  # exit code


@dataclass(frozen=True)
class Row:
    """A row of the table. Targets are ratios, or seconds if `absolute`.

    `best`: the variant that is the best other way. The work: what the arithmetic and the memory
    traffic of one unit take at least, to compare with the machine's peak (README.md, "How the cost
    grows").
    """

    what: str
    metric: str
    must: float | None = None
    goal: float | None = None
    variant: str = "dlrun"
    reference: str = "lab"  # the variant that it is compared with, if the case has it
    unit: str = "s"
    absolute: bool = False
    best: str | None = None
    gflop: float = 0
    gigabytes: float = 0
    precision: str = "float32"


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
    """The data of the cases, prepared at first use, and their sizes."""

    source: Path
    quick: bool
    epochs: int | None = None
    sizes: tuple[int, ...] = ()  # reviews of `scaling`, runs of `runs-folder`, not the usual

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
    found = {"process": took.seconds, "cpu": took.cpu, "memory": took.peak_bytes}
    return found if took.others is None else found | {"others": took.others}


def lab_network(folder: Path, took: Process) -> Metrics:
    found = read_json(folder / "lab.json")
    return process(folder, took) | {"epoch": steady(found["epoch_seconds"]), **tested(found)}


def our_network(folder: Path, took: Process) -> Metrics:
    run = run_folder(folder)
    seconds = column(run / "metrics.csv", "seconds")
    metrics = read_json(run / "results.json")["metrics"]
    epochs = {"epoch": steady(seconds), "first": seconds[0]}
    return process(folder, took) | epochs | tested(metrics)


def tested(metrics: Metrics) -> Metrics:
    """The accuracy, mean absolute error or R² of the test, whichever there is."""
    names = ("test_accuracy", "test_mae", "test_r2")
    return {name: metrics[name] for name in names if name in metrics}


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
            Row(
                "imdb-dense, an epoch with its validation",
                "epoch",
                8,
                15,
                gflop=0.241,
                gigabytes=1.02,
            ),
            Row(f"imdb-dense, whole process: {epochs} epochs, test, figures", "process", 6.2, 7),
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
            Row(f"imdb-lasso, path of {values} lambdas", "path", 13, 16),
            Row(f"imdb-lasso, whole process: {values} lambdas, test, figure", "process", 7, 9),
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

    def ours(more: dict[str, object]) -> Variant:
        chosen = settings | more
        return Variant(lambda out: dlrun("imdb-lstm", chosen, out, setup.data), our_network)

    what, share = f"imdb-lstm, an epoch of {reviews:,} reviews with its validation", reviews / FULL
    return Case(
        {
            "lab": Variant(
                lambda out: lab("lab_imdb.py", "lstm", arrays, epochs, out), lab_network
            ),
            "nn.LSTM": ours({"model.skip_padding": False}),
            "dlrun": ours({}),
        },
        [
            Row(
                what,
                "epoch",
                11,
                15,
                best="nn.LSTM",
                gflop=258 * share,
                gigabytes=19.1 * share,
            ),
            Row("imdb-lstm, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
    )


def digits(kind: str, setup: Setup) -> Case:
    epochs = setup.epochs or (3 if setup.quick else 6)
    root = WORK / "mnist"
    prepare("digits", archive=setup.source / "mnist", to=root)
    settings = {"data.archive": root / "MNIST" / "raw", "trainer.max_epochs": epochs}
    name = f"mnist-{kind}"
    return Case(
        {
            "lab": Variant(lambda out: lab("lab_mnist.py", kind, root, epochs, out), lab_network),
            "dlrun": Variant(lambda out: dlrun(name, settings, out, setup.data), our_network),
        },
        [
            Row(f"{name}, an epoch with its validation", "epoch", 8, 15),
            Row(f"{name}, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 5,
    )


def cifar(setup: Setup) -> Case:
    """The lab's network on as many generated images as CIFAR100 has, which cannot be downloaded."""
    count = 10_000 if setup.quick else 50_000
    epochs = setup.epochs or (2 if setup.quick else 3)
    arrays = WORK / f"images-{count}"
    prepare("images", count=count, to=arrays)
    settings: dict[str, object] = {
        "data.source": "sample",
        "data.sample_images": count,
        "trainer.max_epochs": epochs,
    }

    def theirs(kind: str) -> Variant:
        return Variant(lambda out: lab("lab_cifar.py", kind, arrays, epochs, out), lab_network)

    def ours(precision: str) -> Variant:
        chosen = settings | {"trainer.precision": precision}
        return Variant(lambda out: dlrun("cifar100", chosen, out, setup.data), our_network)

    variants = {
        "lab": theirs("lab"),
        "torch": theirs("torch"),
        "dlrun": ours("32-true"),
        "dlrun bf16": ours("bf16-mixed"),
    }
    what = f"cifar100, an epoch of {count:,} images with its validation"
    # 11.5 GFLOP to train on 128 images, 4 of 5; a third of it to validate the others.
    gflop = 11.5 / 128 * count * (0.8 + 0.2 / 3)
    return Case(
        variants,
        [
            Row(f"{what}, float32", "epoch", 1.4, 2, best="torch", gflop=gflop),
            Row(
                f"{what}, bf16-mixed",
                "epoch",
                2,
                3,
                "dlrun bf16",
                gflop=gflop,
                precision="bf16",
            ),
            Row("cifar100, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=1 if setup.quick else 3,
    )


def table(experiment: str, kind: str, file: str, must: float, setup: Setup) -> Case:
    """A network on Hitters or NYSE; the lab reads its own package's copy of the same file."""
    epochs = setup.epochs or (6 if setup.quick else 20)
    settings = {"data.archive": setup.source / file, "trainer.max_epochs": epochs}
    return Case(
        {
            "lab": Variant(lambda out: lab("lab_tables.py", kind, epochs, out), lab_network),
            "dlrun": Variant(lambda out: dlrun(experiment, settings, out, setup.data), our_network),
        },
        [
            Row(f"{experiment}, an epoch with its validation", "epoch", must),
            Row(f"{experiment}, whole process: {epochs} epochs, test, figures", "process"),
        ],
        repeats=2 if setup.quick else 5,
    )


def images(setup: Setup) -> Case:
    count = 12 if setup.quick else 200
    photos, weights = setup.photos(count), setup.weights()
    settings = {"model.weights": weights}

    def classify(more: dict[str, str]) -> Variant:
        return Variant(
            lambda out: dlrun("classify-images", settings | more, out, setup.data, str(photos)),
            our_images,
        )

    def read_lab(folder: Path, took: Process) -> Metrics:
        found = read_json(folder / "lab.json")
        return process(folder, took) | {"image": found["seconds"] / found["images"]}

    variants = {
        "lab": Variant(lambda out: lab("lab_images.py", photos, weights, out), read_lab),
        "dlrun exact": classify(EXACT_IMAGES),
        "dlrun": classify(SCALED_IMAGES),
        "dlrun onnxruntime": classify(ONNX_IMAGES),
        "dlrun bf16": classify(BF16_IMAGES),
    }
    what = f"classify-images, resnet50, {count} photographs, each"
    photograph = Row(what, "image", 3.6, 4, gflop=8.18, gigabytes=0.078)
    return Case(
        variants,
        [
            replace(
                photograph,
                what=f"{what}, float32, the lab's exact steps",
                variant="dlrun exact",
                must=None,
                goal=None,
            ),
            replace(photograph, what=f"{what}, float32, scaled decoding"),
            replace(
                photograph, what=f"{what}, the same by onnxruntime", variant="dlrun onnxruntime"
            ),
            replace(
                photograph,
                what=f"{what}, bf16, scaled decoding",
                variant="dlrun bf16",
                must=5,
                goal=6,
                precision="bf16",
            ),
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
    help_row, error_row = "dlrun --help", "a config error"
    wrong = ["imdb-dense", "--set", "batch_sise=512"]
    return Case(
        {
            "lab": Variant(lambda out: [str(LAB), "-c", "import pytorch_lightning"], process),
            help_row: Variant(lambda out: [*DLRUN, "--help"], process),
            error_row: Variant(
                lambda out: [*DLRUN, *wrong, "--runs-dir", str(out)], process, expected=2
            ),
        },
        [
            Row(f"{what} (lab: import Lightning)", "process", must, goal, what, absolute=True)
            for what, must, goal in ((help_row, 0.15, 0.1), (error_row, 0.5, 0.15))
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


def scaling(setup: Setup) -> Case:
    """How time and memory grow with the data: dlrun alone, one run for each size."""
    reviews = (6_250, 12_500) if setup.quick else (25_000, 50_000, 100_000, 200_000, 400_000)
    images = (12, 36) if setup.quick else (100, 700, 5_000)
    variants, rows = {}, []
    for name, metric, read in (
        ("imdb-dense", "epoch", our_network),
        ("imdb-lstm", "epoch", our_network),
        ("imdb-lasso", "path", our_path),
        ("classify-images", "image", our_images),
    ):
        for size in images if metric == "image" else setup.sizes or reviews:
            label = f"{name}, {size:,}"
            variants[label] = Variant(functools.partial(_sized, setup, name, size), read)
            rows.append(Row(f"{label}, {metric}", metric, variant=label))
            rows.append(Row(f"{label}, peak memory", "memory", variant=label, unit="GB"))
    return Case(variants, rows, repeats=1)


def _sized(setup: Setup, name: str, size: int, out: Path) -> list[str]:
    if name == "classify-images":
        photos = WORK / f"links-{size}"
        prepare("links", images=setup.photos(12 if setup.quick else 200), count=size, to=photos)
        settings: dict[str, object] = {"model.weights": setup.weights(), **EXACT_IMAGES}
        return dlrun(name, settings, out, setup.data, str(photos))
    settings = setup.settings(size)
    if name != "imdb-lasso":
        settings = settings | {"trainer.max_epochs": setup.epochs or 3}
    return dlrun(name, settings, out, setup.data)


def processes(setup: Setup) -> Case:
    """Epochs of 1, 2 and 4 processes of one thread each, which share every batch."""
    generated: dict[str, object] = {"data.source": "sample", "data.sample_images": 3_000}
    variants, rows = {}, []
    for name, epochs, data in (
        ("imdb-dense", 12, setup.settings()),
        ("imdb-lstm", 3, setup.settings()),
        ("cifar100", 4, generated),
    ):
        settings = data | {"trainer.max_epochs": setup.epochs or epochs, "threads": 1}
        for count in (1, 2, 4):
            label = f"{name}, processes: {count}"
            shared = settings | {"trainer.devices": count}
            command = functools.partial(_network, setup, name, shared)
            variants[label] = Variant(command, our_network)
            first = f"{name}, processes: 1" if count > 1 else ""
            rows.append(Row(f"{label}, an epoch", "epoch", variant=label, reference=first))
    return Case(variants, rows, repeats=1 if setup.quick else 3)


def gpu(setup: Setup) -> Case:
    """Epochs of each network on the CPU and on a GPU, on generated data of the real sizes.

    The first epoch of a GPU also chooses its kernels.
    """
    ask = "from dlrun.system.accelerator import why_accelerator_unavailable as why; import json"
    if reason := output([sys.executable, "-c", f"{ask}; print(json.dumps(why('cuda')))"]):
        raise MissingError(f"cuda: {reason}")
    variants, rows = {}, []
    for name, (epochs, key, count) in GENERATED.items():
        settings: dict[str, object] = {"data.source": "sample"}
        settings |= {key: count // 10 if setup.quick else count} if key else {}
        settings["trainer.max_epochs"] = setup.epochs or epochs
        cpu = f"{name}, cpu"
        for device, precision in (("cpu", "32-true"), ("cuda", "32-true"), ("cuda", "bf16-mixed")):
            label = f"{name}, {device}" + (" bf16" if precision == "bf16-mixed" else "")
            chosen = settings | {"trainer.precision": precision}
            command = functools.partial(_network, setup, name, chosen, accelerator=device)
            variants[label] = Variant(command, our_network)
            reference = "" if label == cpu else cpu
            for what, metric in (("an epoch", "epoch"), ("its first epoch", "first")):
                rows.append(Row(f"{label}, {what}", metric, variant=label, reference=reference))
    return Case(variants, rows, repeats=1 if setup.quick else 3)


def _network(
    setup: Setup, name: str, settings: dict[str, object], out: Path, accelerator: str = "cpu"
) -> list[str]:
    return dlrun(name, settings, out, setup.data, accelerator=accelerator)


def sweep(setup: Setup) -> Case:
    """20 runs of imdb-dense by `dlrun sweep`, and 20 times one of the lab's processes."""
    runs = 4 if setup.quick else 20
    lab_process = dense(setup).variants["lab"].command
    sets = [word for key, value in setup.settings().items() for word in ("--set", f"{key}={value}")]

    def command(jobs: int, out: Path) -> list[str]:
        words = [*DLRUN, "sweep", "imdb-dense", "--seeds", str(runs), "--jobs", str(jobs)]
        folders = ["--runs-dir", str(out), "--data-dir", str(setup.data)]
        return [*words, *folders, "--accelerator", "cpu", *sets]

    def read_lab(folder: Path, took: Process) -> Metrics:
        return process(folder, took) | {"all": runs * took.seconds}

    def read(folder: Path, took: Process) -> Metrics:
        done = [read_json(path) for path in folder.glob("imdb-dense/*Z-*/results.json")]
        assert [one["status"] for one in done] == ["finished"] * runs
        return process(folder, took) | {"all": took.seconds}

    variants = {"lab": Variant(lab_process, read_lab)}
    rows = []
    for jobs, must, goal in ((1, None, None), (2, 20, 25), (4, None, None)):
        label = f"--jobs {jobs}"
        variants[label] = Variant(functools.partial(command, jobs), read)
        rows.append(Row(f"{runs} runs of imdb-dense, {label}", "all", must, goal, label))
    return Case(variants, rows, repeats=1)


def runs_folder(setup: Setup) -> Case:
    """The commands that look at all runs of a folder: how time and memory grow with the runs."""
    variants, rows = {}, []
    for size in setup.sizes or ((100, 1_000) if setup.quick else (100, 1_000, 10_000)):
        runs = WORK / f"runs-{size}"
        prepare("runs", archive=setup.source / "Hitters.csv", count=size, to=runs)
        names = [folder.name for folder in sorted((runs / "hitters-linear").iterdir())]
        page = ["--force", "--out", str(WORK / "runs.html")]
        for what, words in (
            ("list", ["runs", "list"]),
            ("list --where --sort", ["runs", "list", "--where", "seed<50", "--sort", "seconds"]),
            ("list --json", ["runs", "list", "--json"]),
            ("compare", ["runs", "compare", names[0], names[-1]]),
            ("clean", ["runs", "clean", "--keep-best", "10", "--dry-run"]),
            ("report", ["report", *page]),
            ("compare all, refused", ["runs", "compare", *names]),
            ("report all, refused", ["report", *names, *page]),
        ):
            if "refused" in what and size <= 100:
                continue
            label = f"{what}, {size:,} runs"
            command = [*DLRUN, *words, "--runs-dir", str(runs)]
            variants[label] = Variant(
                functools.partial(_whatever_folder, command),
                process,
                expected=2 if "refused" in what else 0,
            )
            rows.append(Row(label, "process", variant=label))
            rows.append(Row(f"{label}, CPU time", "cpu", variant=label))
            rows.append(Row(f"{label}, peak memory", "memory", variant=label, unit="GB"))
    return Case(variants, rows, repeats=3)


def _whatever_folder(command: list[str], out: Path) -> list[str]:
    """Return a command that writes nothing into the folder of its measurement."""
    return command


def chapter(setup: Setup) -> Case:
    """The lab's notebook once, and `dlrun reproduce` of the same with ten seeds.

    The runs of an experiment go beside each other: its seconds are from the start of the first run
    to the end of the last.
    """
    arrays, mnist = setup.arrays(), WORK / "mnist"
    prepare("digits", archive=setup.source / "mnist", to=mnist)
    seeds = 2 if setup.quick else 10
    names = ["hitters-linear", "hitters-lasso", "nyse-linear", *CHAPTER]

    def command(out: Path) -> list[str]:
        data = out / "data"  # new: what dlrun prepares at first use counts
        for kept, file in CHAPTER_DATA.items():
            (data / kept).parent.mkdir(parents=True, exist_ok=True)
            (data / kept).symlink_to(setup.source / file)
        folders = ["--runs-dir", str(out), "--data-dir", str(data), "--accelerator", "cpu"]
        page = ["--out", str(out / "page.html")]
        return [*DLRUN, "reproduce", *names, "--seeds", str(seeds), *page, *folders, "--json"]

    def read_lab(folder: Path, took: Process) -> Metrics:
        return process(folder, took) | read_json(folder / "lab.json")

    def read(folder: Path, took: Process) -> Metrics:
        found = process(folder, took)
        for name in CHAPTER:
            runs = [read_json(path) for path in folder.glob(f"{name}/*Z-*/results.json")]
            assert {run["status"] for run in runs} == {"finished"}
            first, last = min(run["started"] for run in runs), max(run["ended"] for run in runs)
            lasted = datetime.fromisoformat(last) - datetime.fromisoformat(first)
            found[name] = lasted.total_seconds()
        return found

    rows = [Row(f"{name}, all its epochs; {seeds} seeds", name) for name in CHAPTER]
    whole = Row(f"all of it, whole process; {seeds} seeds, and 3 more fits", "process", 1)
    return Case(
        {
            "lab": Variant(lambda out: lab("lab_chapter.py", arrays, mnist, out), read_lab),
            "dlrun": Variant(command, read),
        },
        [*rows, whole],
        repeats=1,
    )


CHAPTER = """hitters-dense mnist-dense mnist-logistic imdb-lasso imdb-dense nyse-rnn nyse-dense
    imdb-lstm""".split()
CHAPTER_DATA = {  # in dlrun's data folder, and in the folder of the tests' data
    "hitters/Hitters.csv": "Hitters.csv",
    "nyse/NYSE.csv": "NYSE.csv",
    "mnist": "mnist",
    "imdb/aclImdb_v1.tar.gz": "aclImdb_v1.tar.gz",
}
GENERATED = {  # networks: epochs, and the key and the number of the generated rows
    "hitters-dense": (20, None, 0),
    "nyse-dense": (20, None, 0),
    "nyse-rnn": (20, None, 0),
    "mnist-dense": (6, "data.sample_images", 60_000),
    "mnist-logistic": (6, "data.sample_images", 60_000),
    "cifar100": (3, "data.sample_images", 50_000),
    "imdb-dense": (12, "data.sample_reviews", 25_000),
    "imdb-lstm": (3, "data.sample_reviews", 25_000),
}
CASES: dict[str, Callable[[Setup], Case]] = {
    "start-up": startup,
    "reviews": reviews,
    "hitters-dense": functools.partial(table, "hitters-dense", "hitters", "Hitters.csv", 5),
    "nyse-dense": functools.partial(table, "nyse-dense", "dense", "NYSE.csv", 5),
    "nyse-rnn": functools.partial(table, "nyse-rnn", "rnn", "NYSE.csv", 3),
    "imdb-dense": dense,
    "imdb-lasso": lasso,
    "imdb-lstm": lstm,
    "cifar100": cifar,
    "mnist-dense": functools.partial(digits, "dense"),
    "mnist-logistic": functools.partial(digits, "logistic"),
    "classify-images": images,
}
MORE_CASES: dict[str, Callable[[Setup], Case]] = {
    "scaling": scaling,
    "processes": processes,
    "sweep": sweep,
    "runs-folder": runs_folder,
    "chapter": chapter,
    "gpu": gpu,
}
WITHOUT_LAB = {"reviews", "scaling", "processes", "runs-folder", "gpu"}
WITHOUT_DATA = {"cifar100", "gpu"}


def warm_up(*, with_lab: bool) -> None:
    """Read both sides' libraries from disk once, so that no run pays for the other."""
    if with_lab:
        measure([str(LAB), "-c", "import ISLP.torch, torchvision"], WORK / "warm-up.log")
    imports = "import lightning.pytorch, numba, pandas, torchvision"
    measure([sys.executable, "-c", imports], WORK / "warm-up.log")
