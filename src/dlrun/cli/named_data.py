"""Find the data that the arguments of `dlrun data` name, and obtain their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from dlrun.cli import options as opt
from dlrun.data import dataset_catalog
from dlrun.data.datasets_and_sources import Dataset, ReadContext
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


def obtain_named_data(
    name: str,
    words: Sequence[str] | None,
    overrides: Sequence[str] | None,
    data_dir: Path | None,
    screen: Screen,
) -> tuple[Dataset, ReadContext[Any]]:
    """Find a data set by the arguments of a command, and download its files that are missing."""
    dataset, experiment = _find_dataset_and_experiment(name, screen)
    named, layer = divide_arguments(experiment, words)
    values = [*opt.parse_values(named, overrides), layer]
    config = load_experiment_config(experiment, RunOptions(values=values, data_dir=data_dir))
    section = experiment.data_section(config)
    folder = resolve_data_dir(data_dir)
    return dataset, dataset.obtain_files(section, folder, config.split_seed, screen)


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
