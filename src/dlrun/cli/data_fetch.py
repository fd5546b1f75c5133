"""`dlrun data fetch`: download, check and prepare the data set of an experiment."""

from typing import Annotated

from dlrun.cli import options as opt
from dlrun.data import dataset_catalog
from dlrun.data.datasets_and_sources import Dataset
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.experiment import AnyExperiment
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.system.console import Screen
from dlrun.system.spelling import did_you_mean

DECLARED = [data for data in vars(dataset_catalog).values() if isinstance(data, Dataset)]
NAMES = [data.name for data in DECLARED if data.sources[0].is_book]
Name = Annotated[str, opt.argument(f"{', '.join(NAMES)}, or an experiment.", "DATA")]
Words = Annotated[
    list[str] | None, opt.argument("Your data, as in a run; config values.", "PATH|KEY=VALUE")
]


def fetch_dataset(
    name: Name,
    words: Words = None,
    data_dir: opt.DataDir = None,
    overrides: opt.Overrides = None,
) -> int:
    """Download an experiment's data, compare them with published checksums, and prepare them.

    Exits with 1 if a file is not the published one.

    Examples:
    dlrun data fetch cifar100
    dlrun data fetch imdb --data-dir data
    dlrun data fetch imdb data.archive=aclImdb_v1.tar.gz
    """
    screen = Screen()
    folder = resolve_data_dir(data_dir)
    dataset, experiment = _find_dataset_and_experiment(name, screen)
    named, layer = divide_arguments(experiment, words)
    values = [*opt.parse_values(named, overrides), layer]
    options = RunOptions(values=values, data_dir=data_dir)
    config = load_experiment_config(experiment, options)
    context = dataset.obtain_files(
        experiment.data_section(config), folder, config.split_seed, screen
    )
    data = dataset.make(context)
    are_published = True
    for file, path, digest in zip(
        context.source.files, context.paths, context.digests, strict=False
    ):
        if digest == file.digest:
            screen.show(f"{path}: {file.algorithm} {digest}, as published")
        else:
            are_published = False
            problem = f"{path}: {file.algorithm} {digest}, not the published {file.digest}"
            if known := dataset.identify(digest):
                problem += f"; it is {known}"
            screen.fail(problem, "it is used; a run says whether its contents are the book's")
    counts = f"{len(data.train):,} training and {len(data.test):,} test rows"
    screen.show(f"ready: {counts}, {data.origin.text}")
    return 0 if are_published else 1


def _find_dataset_and_experiment(name: str, screen: Screen) -> tuple[Dataset, AnyExperiment]:
    """The name of a data set stands for the first experiment that uses the data set."""
    known: dict[str, tuple[Dataset, AnyExperiment]] = {}
    for experiment in registry.experiment_names():
        try:
            declaration = registry.find_experiment(experiment)
            if declaration.data is not None:
                known[experiment] = declaration.data, declaration
                known.setdefault(declaration.data.name, known[experiment])
        except DlrunError as error:
            screen.warn(error.message)
    if name not in known:
        hint = f"choose {', '.join(NAMES)}"
        raise ConfigError(f"no data {name!r}{did_you_mean(name, known)}", hint)
    return known[name]
