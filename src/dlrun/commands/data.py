"""`dlrun data`: download, check and show the data sets of the experiments."""

from typing import Annotated, Any, Literal, get_args

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.data import datasets
from dlrun.data.sources import Dataset
from dlrun.errors import ConfigError, DataError, DlrunError, did_you_mean
from dlrun.execution.checks import load_experiment_config
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.run_folder.record import NOT_THE_BOOKS
from dlrun.system.console import Screen

DECLARED = [data for data in vars(datasets).values() if isinstance(data, Dataset)]
NAMES = [data.name for data in DECLARED if data.sources[0].is_book]
Part = Literal["train", "test"]
Name = Annotated[str, opt.argument(f"{', '.join(NAMES)}, or an experiment.", "DATA")]
Words = Annotated[
    list[str] | None, opt.argument("Your data, as in a run; config values.", "PATH|KEY=VALUE")
]
with_data_options = opt.with_run_options(
    "data_dir", overrides=opt.set_option("A value of the data, as in the example.")
)


@with_data_options
def fetch_dataset(
    settings: RunSettings,
    name: Name,
    words: Words = None,
    print_digests: Annotated[
        bool, opt.flag("Print each file's digest, to declare a source.", "--print-digests")
    ] = False,
) -> None:
    """Download the data and prepare them for the experiments.

    Examples:
    dlrun data fetch cifar100
    dlrun data fetch imdb --data-dir data
    """
    screen = Screen()
    folder = run_context.resolve_data_dir(settings.data_dir)
    dataset, config = _find(name, words, settings, screen)
    if print_digests:
        dataset.download(config.data, folder, screen, check=False)
        for file, path in dataset.files(config.data, folder):
            screen.rows([f"{file.name}: {file.algorithm} {file.hash_of(path)}"])
        return
    data = dataset.load(config.data, folder, config.split_seed, screen)
    screen.show(f"ready: {_describe(data)}")


@with_data_options
def verify_dataset(settings: RunSettings, name: Name, words: Words = None) -> int:
    """Check the files of a data set against published checksums, and check their contents.

    Exits with 1 if a file is not the published one, or is damaged.

    Examples:
    dlrun data verify cifar100
    dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz
    """
    screen = Screen()
    folder = run_context.resolve_data_dir(settings.data_dir)
    dataset, config = _find(name, words, settings, screen)
    failed = False
    for file, path in dataset.files(config.data, folder):
        if not path.exists():
            hint = f"`dlrun data fetch {name}` downloads it; --data-dir: another folder"
            raise DataError(f"{path.absolute()}: not there", hint)
        digest = file.hash_of(path)
        verdict = "the published one"
        if digest != file.digest:
            failed = True
            verdict = f"NOT the published {file.digest}"
        screen.show(f"{path}: {file.algorithm} {digest} is {verdict}")
    try:
        data = dataset.load(config.data, folder, config.split_seed, screen)
    except (ConfigError, DataError) as error:  # such as of a column that the file does not have
        screen.fail(error.message, error.hint)
        return 1
    screen.show(f"contents are complete: {_describe(data)}")
    if not data.origin.is_book:
        screen.show(f"{NOT_THE_BOOKS}: its numbers are not compared")
    return 1 if failed else 0


@with_data_options
def show_dataset(
    settings: RunSettings,
    name: Name,
    words: Words = None,
    count: Annotated[int, opt.option("How many.", "N", min=1, max=1000)] = 3,
    first: Annotated[int, opt.option("Index of the first.", "N", min=0)] = 0,
    part: Annotated[Part, opt.option("Which part.", "|".join(get_args(Part)))] = "train",
) -> None:
    """Show examples of a data set: reviews as words, digits, or rows of a table.

    Examples:
    dlrun data show hitters --part test --count 5
    dlrun data show imdb data.source=sample --count 2
    dlrun data show table-linear cars.csv data.target=price
    """
    screen = Screen()
    dataset, config = _find(name, words, settings, screen)
    if dataset.show is None:
        raise ConfigError(f"{dataset.name} has nothing to show as text")
    folder = run_context.resolve_data_dir(settings.data_dir)
    data = dataset.load(config.data, folder, config.split_seed, screen)
    if first >= (rows := len(getattr(data, part))):
        raise ConfigError(f"--first {first}: there are {rows:,} {part} examples")
    dataset.show(data, screen, part, first, count)


def _describe(data: Any) -> str:
    counts = f"{len(data.train):,} training and {len(data.test):,} test rows"
    return f"{counts}, {data.origin.text}"


def _find(
    name: str, words: list[str] | None, settings: RunSettings, screen: Screen
) -> tuple[Dataset, Any]:
    """Return the data set of a name or an experiment, and the config that names its source."""
    known: dict[str, tuple[Dataset, str]] = {}
    for experiment in registry.experiment_names():
        try:
            if dataset := registry.experiment_dataset(experiment):
                known[experiment] = dataset, experiment
                known.setdefault(dataset.name, known[experiment])
        except DlrunError as error:
            screen.warn(error.message)
    if name not in known:
        hint = f"choose {', '.join(NAMES)}"
        raise ConfigError(f"no data {name!r}{did_you_mean(name, known)}", hint)
    dataset, experiment = known[name]
    return dataset, load_experiment_config(experiment, opt.with_words(settings, experiment, words))
