"""`dlrun data`: download, verify and show the data sets that the experiments need."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.data.cache import SUMS, find_damaged_files
from dlrun.data.download import Dataset
from dlrun.errors import ConfigError, DataError, DlrunError, did_you_mean
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config
from dlrun.system.console import Screen

Name = Annotated[str, opt.argument("Its name, or an experiment that needs it.", "DATA")]
with_data_options = opt.with_run_options(
    "data_dir", overrides=opt.set_option("A value of the data, as in the example.")
)


@with_data_options
def fetch_dataset(settings: RunSettings, dataset: Name) -> None:
    """Download the data and prepare them for the experiments.

    Examples:
    dlrun data fetch cifar100
    dlrun data fetch imdb --set data.source=keras
    """
    screen, folder = Screen(), run_context.resolve_data_dir(settings.data_dir)
    found, config = _find(dataset, settings, screen)
    screen.show(Text(f"ready: {_load(found, config, folder, screen)}"))
    archive = getattr(config.data, "archive", None)
    if config.source != "sample" and archive is not None:
        screen.note(f"the experiments need `--set data.archive={archive}` too")


@with_data_options
def verify_dataset(settings: RunSettings, dataset: Name) -> int:
    """Check the files of a data set against published checksums, and check their contents.

    Exits with 1 if a file is not the published one, or is damaged.

    Examples:
    dlrun data verify cifar100
    dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz
    """
    screen, folder = Screen(), run_context.resolve_data_dir(settings.data_dir)
    found, config = _find(dataset, settings, screen)
    others, damaged = [], False
    for published, path in found.files(config.data, folder):
        if not path.exists():
            raise DataError(f"{path}: not there", f"`dlrun data fetch {found.name}` downloads it")
        if path.is_file():
            computed = published.hash_of(path)
            is_same = computed == published.digest
            verdict = "the published one" if is_same else f"NOT the published {published.digest}"
            screen.show(Text(f"{path}: {published.algorithm} {computed} is {verdict}"))
            others += [] if is_same else [path.name]
    for cache in sorted(sums.parent for sums in (folder / found.name).glob(f"*/{SUMS}")):
        if problem := find_damaged_files(cache):
            damaged = True
            screen.fail(f"{cache}: damaged: {problem}", "it is made again when it is needed")
        else:
            screen.show(Text(f"{cache}: whole"))
    screen.show(Text(f"contents are complete: {_load(found, config, folder, screen)}"))
    if others:
        screen.fail(
            f"{', '.join(others)}: not the published data",
            "the experiments run on them, but the book's numbers cannot be compared",
        )
    return 1 if others or damaged else 0


@with_data_options
def show_dataset(
    settings: RunSettings,
    dataset: Name,
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
    found, config = _find(dataset, settings, screen)
    if found.show is None:
        raise ConfigError(f"{found.name} has nothing to show as text")
    folder = run_context.resolve_data_dir(settings.data_dir)
    data = found.load(config.data, folder, config.split_seed, screen)
    if first >= (rows := len(getattr(data, part))):
        raise ConfigError(f"--first {first}: there are {rows:,} {part} examples")
    found.show(data, screen, part, first, count)


def _load(found: Dataset, config: Any, folder: Path, screen: Screen) -> str:
    """Load all data, downloading what is missing, and return a description."""
    data = found.load(config.data, folder, config.split_seed, screen)
    counts = f"{len(data.train):,} training and {len(data.test):,} test rows"
    return f"{counts}, {data.origin}"


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
            for key in (dataset.name, experiment):
                datasets.setdefault(key, (dataset, experiment))
    if name not in datasets:
        names = dict.fromkeys(dataset.name for dataset, _ in datasets.values())
        hint = did_you_mean(name, datasets)
        raise ConfigError(f"no data {name!r}{hint}", f"choose {', '.join(names)}")
    dataset, experiment = datasets[name]
    return dataset, load_experiment_config(experiment, settings)
