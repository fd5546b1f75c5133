"""`dlrun data`, `dlrun new`, `dlrun accelerators`: data sets, own packages, this machine."""

import importlib.util
import keyword
import re
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.config.data_sections import NOT_THE_BOOKS
from dlrun.data.sources import SUMS, Dataset, find_damaged_files
from dlrun.errors import ConfigError, DataError, DlrunError, did_you_mean
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config
from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from dlrun.system.console import Screen, format_text_table

TEMPLATE = Path(__file__).parent / "template"  # a working package, my-experiment

Name = Annotated[str, opt.argument("Its name, or an experiment that needs it.", "DATA")]
with_data_options = opt.with_run_options(
    "data_dir", overrides=opt.set_option("A value of the data, as in the example.")
)


@with_data_options
def fetch_dataset(settings: RunSettings, name: Name) -> None:
    """Download the data and prepare them for the experiments.

    Examples:
    dlrun data fetch cifar100
    dlrun data fetch imdb --set data.source=keras
    """
    screen, folder = Screen(), run_context.resolve_data_dir(settings.data_dir)
    dataset, config = _find(name, settings, screen)
    data = dataset.load(config.data, folder, config.split_seed, screen)
    screen.show(Text(f"ready: {_describe(data)}"))
    archive = getattr(config.data, "archive", None)
    if config.source != "sample" and archive is not None:
        screen.note(f"the experiments need `--set data.archive={archive}` too")


@with_data_options
def verify_dataset(settings: RunSettings, name: Name) -> int:
    """Check the files of a data set against published checksums, and check their contents.

    Exits with 1 if a file is not the published one, or is damaged.

    Examples:
    dlrun data verify cifar100
    dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz
    """
    screen, folder = Screen(), run_context.resolve_data_dir(settings.data_dir)
    dataset, config = _find(name, settings, screen)
    failed = False
    for file, path in dataset.files(config.data, folder):
        if not path.exists():
            raise DataError(f"{path}: not there", f"`dlrun data fetch {name}` downloads it")
        digest = file.hash_of(path)
        failed = failed or digest != file.digest
        verdict = (
            "the published one" if digest == file.digest else f"NOT the published {file.digest}"
        )
        screen.show(Text(f"{path}: {file.algorithm} {digest} is {verdict}"))
    for cache in sorted(sums.parent for sums in (folder / dataset.name).glob(f"*/{SUMS}")):
        if problem := find_damaged_files(cache):
            failed = True
            screen.fail(f"{cache}: damaged: {problem}", "it is made again when it is needed")
    try:
        data = dataset.load(config.data, folder, config.split_seed, screen)
    except ConfigError as error:  # such as of a column that the file does not have
        raise DataError(error.message, error.hint) from None
    screen.show(Text(f"contents are complete: {_describe(data)}"))
    if not data.origin.is_book:
        screen.show(Text(f"{NOT_THE_BOOKS}: its numbers are not compared"))
    return 1 if failed else 0


@with_data_options
def show_dataset(
    settings: RunSettings,
    name: Name,
    count: Annotated[int, opt.option("How many.", "N", min=1, max=1000)] = 3,
    first: Annotated[int, opt.option("Index of the first.", "N", min=0)] = 0,
    part: Annotated[Literal["train", "test"], typer.Option(help="Which part.")] = "train",
) -> None:
    """Show examples of a data set: reviews as words, digits, or rows of a table.

    Examples:
    dlrun data show hitters --part test --count 5
    dlrun data show imdb --count 2 --set data.source=sample
    """
    screen = Screen()
    dataset, config = _find(name, settings, screen)
    if dataset.show is None:
        raise ConfigError(f"{dataset.name} has nothing to show as text")
    folder = run_context.resolve_data_dir(settings.data_dir)
    data = dataset.load(config.data, folder, config.split_seed, screen)
    if first >= (rows := len(getattr(data, part))):
        raise ConfigError(f"--first {first}: there are {rows:,} {part} examples")
    dataset.show(data, screen, part, first, count)


def _describe(data: Any) -> str:
    """Return how many rows loaded data have, and where they are from."""
    counts = f"{len(data.train):,} training and {len(data.test):,} test rows"
    return f"{counts}, {data.origin.text}"


def _find(name: str, settings: RunSettings, screen: Screen) -> tuple[Dataset, Any]:
    """Return the data set of a name or an experiment, and the config that names its source."""
    datasets: dict[str, tuple[Dataset, str]] = {}
    for experiment in registry.experiment_names():
        try:
            dataset = registry.experiment_dataset(experiment)
        except DlrunError as error:
            screen.warn(error.message)
            continue
        if dataset is not None:
            datasets[experiment] = dataset, experiment
            datasets.setdefault(dataset.name, datasets[experiment])
    if name not in datasets:
        names = dict.fromkeys(dataset.name for dataset, _ in datasets.values())
        hint = did_you_mean(name, datasets)
        raise ConfigError(f"no data {name!r}{hint}", f"choose {', '.join(names)}")
    dataset, experiment = datasets[name]
    return dataset, load_experiment_config(experiment, settings)


def write_experiment_package(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[Path, opt.option("Where the package's folder goes.", "DIR")] = Path(),
) -> None:
    """Write a package with an experiment of your own: code, configs, and a test that passes.

    Examples:
    dlrun new my-experiment
    dlrun new my-experiment --into packages
    """
    commands: Any = context.find_root().command
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(
            f"{name!r}: not a name for an experiment",
            "small letters, digits and hyphens only: my-experiment",
        )
    if name in commands.commands:
        raise ConfigError(f"dlrun has {name!r} already", "choose another name")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)  # a folder with this name has no origin
    if keyword.iskeyword(module) or (spec and spec.origin):
        raise ConfigError(f"{module!r} means something else in Python", "choose another name")
    package = into / name
    if package.exists():
        raise ConfigError(f"{package} is there already", "choose another name, or --into")
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    targets = [package / _rename(str(file.relative_to(TEMPLATE)), name) for file in files]
    try:
        for file, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            text = _rename(file.read_text(encoding="utf-8"), name)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(package, ignore_errors=True)
        raise ConfigError(f"{package}: {error.strerror}", "choose another folder: --into") from None
    screen = Screen()
    screen.show(Text("\n".join(map(str, targets))))
    screen.note(
        f"Now:\n  pip install --editable '{package}[test]'\n  dlrun {name}\n"
        f"  python -m pytest {package}\n"
        f"{package / 'README.md'} describes the files."
    )


def _rename(text: str, name: str) -> str:
    """Replace the names of the template in a text by those of the new package."""
    text = text.replace("my-experiment", name).replace("my_experiment", name.replace("-", "_"))
    camel = "".join(word.capitalize() for word in name.split("-")).removesuffix("Experiment")
    return text.replace("MyExperiment", f"{camel}Experiment")


def list_accelerators() -> None:
    """List the CPU and the accelerators, and why torch cannot use one that is missing.

    Examples:
    dlrun accelerators
    """
    rows = [["device", "state"]]
    for device in ("cpu", *ACCELERATORS):
        reason = why_accelerator_unavailable(device)
        rows.append([device, f"missing: {reason}" if reason else "available"])
    Screen().rows(format_text_table(rows, left=(0, 1)))
