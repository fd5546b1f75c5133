"""The cases: for each its command lines, and what is read from a run.

A case runs its variants in turn (lab, dlrun, lab, dlrun, ...), each in a new process and folder.
Those in MORE_CASES run only if they are named.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

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
PLAIN = HERE.parent / "examples" / "plain"
FULL = 25_000  # training reviews of the published archive
HELD_OUT = 0.08  # of them for validation: 2,000 of 25,000
BF16_IMAGES = {"precision": "bf16-mixed"}

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
    """A row of the table.

    gflop, gigabytes: the arithmetic and the memory traffic that one unit takes at least, to compare
    with the machine's peak.
    """

    what: str
    metric: str = "epoch"
    variant: str = "dlrun"
    references: tuple[str, ...] = ("lab", "plain")  # the variants beside it, if the case has them
    unit: str = "s"
    gflop: float = 0
    gigabytes: float = 0
    precision: str = "float32"


@dataclass(frozen=True)
class Case:
    """Variants that run in turn, and the table's rows."""

    variants: dict[str, Variant]
    rows: list[Row]
    repeats: int
    discard: int = 0  # first runs that only warm up

    def without(self, labels: list[str]) -> "Case":
        """This case without some of its variants, and without the rows that are about them."""
        variants = {label: self.variants[label] for label in self.variants if label not in labels}
        rows = [row for row in self.rows if row.variant not in labels]
        return replace(self, variants=variants, rows=rows)


@dataclass(frozen=True)
class Setup:
    """The data of the cases, prepared at first use, and their sizes."""

    source: Path
    quick: bool
    epochs: int | None = None

    @property
    def data(self) -> Path:
        """dlrun's data folder, with its prepared arrays."""
        return WORK / "data"

    @functools.cache  # noqa: B019 (one Setup lives as long as the process)
    def settings(self, reviews: int = FULL) -> dict[str, object]:
        """The config's values for so many training reviews."""
        archive = self.source / "aclImdb_v1.tar.gz"
        found: dict[str, object] = {"data.archive": archive}
        if reviews < FULL:
            made = WORK / f"aclImdb_{reviews}.tar.gz"
            prepare("archive", archive=archive, reviews=reviews, to=made)
            found = {"data.archive": made}
        return found | {"data.validation": round(HELD_OUT * reviews)}

    def arrays(self, reviews: int = FULL) -> Path:
        """The same reviews as the lab's code reads them; dlrun's own arrays are made on the way."""
        folder = WORK / f"arrays-{reviews}"
        prepare("arrays", to=folder, **self.named(reviews))
        return folder

    def named(self, reviews: int) -> dict[str, object]:
        """The reviews as prepare.py's options."""
        settings = self.settings(reviews)
        archive, validation = settings["data.archive"], settings["data.validation"]
        return {"archive": archive, "validation": validation, "data": self.data}

    def linked(self) -> Path:
        """dlrun's data folder with links to the published files, which need no config key so."""
        files = [
            ("imdb", self.source / "aclImdb_v1.tar.gz"),
            ("hitters", self.source / "Hitters.csv"),
            ("nyse", self.source / "NYSE.csv"),
            *(("mnist", file) for file in (self.source / "mnist").glob("*.gz")),
        ]
        for name, file in files:
            link = self.data / name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and not link.exists():
                link.symlink_to(file)
        return self.data

    def photos(self, count: int) -> Path:
        folder = WORK / f"photos-{count}"
        prepare("photos", images=self.source / "book_images", count=count, to=folder)
        return folder

    def weights(self) -> Path:
        path = WORK / "resnet50-random.pt"
        prepare("weights", to=path)
        return path


def lab(script: str, *words: object) -> list[str]:
    """A lab script's command line."""
    return [str(LAB), str(HERE / script), *map(str, words)]


def plain(name: str, setup: Setup, *words: object, metric: str = "epoch") -> Variant:
    """An experiment's script of examples/plain, as it is. Its first step also loads the data."""
    script = PLAIN / f"{name.replace('-', '_')}.py"
    command = [sys.executable, HERE / "plain.py", script, setup.linked()]

    def read(folder: Path, took: Process) -> Metrics:
        found = read_json(folder / "plain.json")
        seconds = found["step_seconds"]
        if not seconds:  # one fit
            return process(folder, took) | tested(found)
        value = steady(seconds) if metric == "epoch" else sum(seconds[1:])
        return process(folder, took) | {metric: value} | tested(found)

    return Variant(lambda out: [str(word) for word in (*command, out, *words)], read)


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
            "plain": plain("imdb-dense", setup, "--epochs", epochs),
            "dlrun": Variant(
                lambda out: dlrun("imdb-dense", settings, out, setup.data), our_network
            ),
        },
        [
            Row("imdb-dense, an epoch with its validation", gflop=0.241, gigabytes=1.02),
            Row(f"imdb-dense, whole process: {epochs} epochs, test, figures", "process"),
            Row("imdb-dense, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 5,
    )


def lasso(setup: Setup) -> Case:
    values = 20 if setup.quick else 50
    arrays, settings = setup.arrays(), setup.settings() | {"path.values": values}

    def read_lab(folder: Path, took: Process) -> Metrics:
        return process(folder, took) | {"path": read_json(folder / "lab.json")["path_seconds"]}

    case = Case(
        {
            "lab": Variant(lambda out: lab("lab_lasso.py", arrays, values, out), read_lab),
            "plain": plain("imdb-lasso", setup, metric="path"),
            "dlrun": Variant(lambda out: dlrun("imdb-lasso", settings, out, setup.data), our_path),
        },
        [
            Row(f"imdb-lasso, path of {values} lambdas", "path"),
            Row(f"imdb-lasso, whole process: {values} lambdas, test, figure", "process"),
            Row("imdb-lasso, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
    )
    # The script has no option for the number of lambdas.
    return case.without(["plain"]) if setup.quick else case


def lstm(setup: Setup) -> Case:
    reviews = 6_250 if setup.quick else FULL
    epochs = setup.epochs or (3 if setup.quick else 4)
    arrays = setup.arrays(reviews)
    settings = setup.settings(reviews) | {"trainer.max_epochs": epochs}
    what = f"imdb-lstm, an epoch of {reviews:,} reviews with its validation"
    share = reviews / FULL
    case = Case(
        {
            "lab": Variant(
                lambda out: lab("lab_imdb.py", "lstm", arrays, epochs, out), lab_network
            ),
            "plain": plain("imdb-lstm", setup, "--epochs", epochs),
            "dlrun": Variant(
                lambda out: dlrun("imdb-lstm", settings, out, setup.data), our_network
            ),
        },
        [
            Row(what, gflop=258 * share, gigabytes=19.1 * share),
            Row("imdb-lstm, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
    )
    # The script reads all reviews.
    return case.without(["plain"]) if setup.quick else case


def digits(kind: str, setup: Setup) -> Case:
    epochs = setup.epochs or (3 if setup.quick else 6)
    root = WORK / "mnist"
    prepare("digits", archive=setup.source / "mnist", to=root)
    settings = {"data.archive": root / "MNIST" / "raw", "trainer.max_epochs": epochs}
    name = f"mnist-{kind}"
    return Case(
        {
            "lab": Variant(lambda out: lab("lab_mnist.py", kind, root, epochs, out), lab_network),
            "plain": plain(name, setup, "--epochs", epochs),
            "dlrun": Variant(lambda out: dlrun(name, settings, out, setup.data), our_network),
        },
        [
            Row(f"{name}, an epoch with its validation"),
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

    def ours(precision: str) -> Variant:
        chosen = settings | {"trainer.precision": precision}
        return Variant(lambda out: dlrun("cifar100", chosen, out, setup.data), our_network)

    few: dict[str, object] = {"data.source": "sample", "trainer.max_epochs": 3 * epochs}
    variants = {
        "lab": Variant(lambda out: lab("lab_cifar.py", arrays, epochs, out), lab_network),
        "dlrun": ours("32-true"),
        "dlrun bf16": ours("bf16-mixed"),
        "plain": plain("cifar100", setup, "--sample", "--epochs", 3 * epochs),
        "dlrun few": Variant(lambda out: dlrun("cifar100", few, out, setup.data), our_network),
    }
    small = "cifar100, an epoch of 2,000 images with its validation"
    what = f"cifar100, an epoch of {count:,} images with its validation"
    # 11.5 GFLOP to train on 128 images, 4 of 5; a third of it to validate the others.
    gflop = 11.5 / 128 * count * (0.8 + 0.2 / 3)
    return Case(
        variants,
        [
            Row(f"{what}, float32", references=("lab",), gflop=gflop),
            Row(
                f"{what}, bf16-mixed",
                variant="dlrun bf16",
                references=("lab",),
                gflop=gflop,
                precision="bf16",
            ),
            Row(small, variant="dlrun few", references=("plain",)),
            Row("cifar100, peak memory of the process", "memory", references=("lab",), unit="GB"),
        ],
        repeats=1 if setup.quick else 3,
    )


def table(experiment: str, kind: str, file: str, setup: Setup) -> Case:
    """A network on Hitters or NYSE; the lab reads its own package's copy of the same file."""
    epochs = setup.epochs or (6 if setup.quick else 20)
    settings = {"data.archive": setup.source / file, "trainer.max_epochs": epochs}
    return Case(
        {
            "lab": Variant(lambda out: lab("lab_tables.py", kind, epochs, out), lab_network),
            "plain": plain(experiment, setup, "--epochs", epochs),
            "dlrun": Variant(lambda out: dlrun(experiment, settings, out, setup.data), our_network),
        },
        [
            Row(f"{experiment}, an epoch with its validation"),
            Row(f"{experiment}, whole process: {epochs} epochs, test, figures", "process"),
        ],
        repeats=2 if setup.quick else 5,
    )


def linear(setup: Setup) -> Case:
    """Least squares on Hitters, with dlrun's files and figure, beside scikit-learn."""
    settings = {"data.archive": setup.source / "Hitters.csv"}
    variants = {
        "plain": plain("hitters-linear", setup),
        "dlrun": Variant(lambda out: dlrun("hitters-linear", settings, out, setup.data), process),
    }
    rows = [Row("hitters-linear, whole process", "process")]
    return Case(variants, rows, repeats=4 if setup.quick else 10, discard=1)


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
        "dlrun": classify({}),
        "dlrun bf16": classify(BF16_IMAGES),
    }
    what = f"classify-images, resnet50, {count} photographs, each"
    photograph = Row(what, "image", gflop=8.18, gigabytes=0.078)
    return Case(
        variants,
        [
            replace(photograph, what=f"{what}, float32"),
            replace(photograph, what=f"{what}, bf16", variant="dlrun bf16", precision="bf16"),
            Row("classify-images, peak memory of the process", "memory", unit="GB"),
        ],
        repeats=2 if setup.quick else 3,
    )


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
        [Row(f"{what} (lab: import Lightning)", "process", what) for what in (help_row, error_row)],
        repeats=4 if setup.quick else 10,
        discard=1,
    )


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
            references = () if label == cpu else (cpu,)
            for what, metric in (("an epoch", "epoch"), ("its first epoch", "first")):
                rows.append(Row(f"{label}, {what}", metric, label, references))
    return Case(variants, rows, repeats=1 if setup.quick else 3)


def _network(
    setup: Setup, name: str, settings: dict[str, object], out: Path, accelerator: str = "cpu"
) -> list[str]:
    return dlrun(name, settings, out, setup.data, accelerator=accelerator)


def sweep(setup: Setup) -> Case:
    """Runs of imdb-dense by `dlrun sweep`, and as many times one of the lab's processes."""
    runs = 4 if setup.quick else 20
    lab_process = dense(setup).variants["lab"].command
    sets = [word for key, value in setup.settings().items() for word in ("--set", f"{key}={value}")]

    def command(out: Path) -> list[str]:
        words = [*DLRUN, "sweep", "imdb-dense", "--seeds", str(runs)]
        folders = ["--runs-dir", str(out), "--data-dir", str(setup.data)]
        return [*words, *folders, "--accelerator", "cpu", *sets]

    def read_lab(folder: Path, took: Process) -> Metrics:
        return {"all": runs * took.seconds, "others": took.others or 0}

    def read(folder: Path, took: Process) -> Metrics:
        records = [read_json(path) for path in folder.glob("imdb-dense/*Z-*/results.json")]
        assert [record["status"] for record in records] == ["finished"] * runs
        return {"all": took.seconds, "others": took.others or 0}

    variants = {"lab": Variant(lab_process, read_lab), "dlrun": Variant(command, read)}
    return Case(variants, [Row(f"{runs} runs of imdb-dense, with their page", "all")], repeats=1)


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
    "hitters-linear": linear,
    "hitters-dense": functools.partial(table, "hitters-dense", "hitters", "Hitters.csv"),
    "nyse-dense": functools.partial(table, "nyse-dense", "dense", "NYSE.csv"),
    "nyse-rnn": functools.partial(table, "nyse-rnn", "rnn", "NYSE.csv"),
    "imdb-dense": dense,
    "imdb-lasso": lasso,
    "imdb-lstm": lstm,
    "cifar100": cifar,
    "mnist-dense": functools.partial(digits, "dense"),
    "mnist-logistic": functools.partial(digits, "logistic"),
    "classify-images": images,
    "sweep": sweep,
}
MORE_CASES: dict[str, Callable[[Setup], Case]] = {"gpu": gpu}
WITHOUT_LAB = {"gpu"}
WITHOUT_DATA = {"cifar100", "gpu"}


def warm_up(*, with_lab: bool) -> None:
    """Read both sides' libraries from disk once, so that no run pays for the other."""
    if with_lab:
        measure([str(LAB), "-c", "import ISLP.torch, torchvision"], WORK / "warm-up.log")
    imports = "import lightning.pytorch, numba, pandas, torchvision"
    measure([sys.executable, "-c", imports], WORK / "warm-up.log")
