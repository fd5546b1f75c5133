"""Find experiments by their names: those of dlrun, and those of other installed packages.

The entry points of other packages are in the group `dlrun.experiments`; `dlrun.plugin` says what
such a package has. An experiment is found once, where a name comes in; then the object travels.
"""

import functools
import pkgutil
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from dlrun.errors import ConfigError, ErrorCollector, first_line
from dlrun.experiments.shipped_config import ShippedConfig
from dlrun.system.spelling import did_you_mean

if TYPE_CHECKING:  # pydantic's import is slow, and `dlrun --help` does without
    from dlrun.experiments.experiment import AnyExperiment

# Where dlrun declares its own experiments.
DECLARATIONS = {
    "cifar100": "dlrun.experiments.cifar:CIFAR100_CNN",
    "classify-images": "dlrun.experiments.photographs:CLASSIFY_IMAGES",
    "hitters-dense": "dlrun.experiments.hitters:HITTERS_DENSE",
    "hitters-lasso": "dlrun.experiments.hitters:HITTERS_LASSO",
    "hitters-linear": "dlrun.experiments.hitters:HITTERS_LINEAR",
    "image-cnn": "dlrun.experiments.images:IMAGE_CNN",
    "imdb-dense": "dlrun.experiments.reviews:IMDB_DENSE",
    "imdb-lasso": "dlrun.experiments.reviews:IMDB_LASSO",
    "imdb-lstm": "dlrun.experiments.reviews:IMDB_LSTM",
    "mnist-dense": "dlrun.experiments.digits:MNIST_DENSE",
    "mnist-logistic": "dlrun.experiments.digits:MNIST_LOGISTIC",
    "nyse-dense": "dlrun.experiments.nyse:NYSE_DENSE",
    "nyse-linear": "dlrun.experiments.nyse:NYSE_LINEAR",
    "nyse-rnn": "dlrun.experiments.nyse:NYSE_RNN",
    "table-boosting": "dlrun.experiments.tables:TABLE_BOOSTING",
    "table-dense": "dlrun.experiments.tables:TABLE_DENSE",
    "table-lasso": "dlrun.experiments.tables:TABLE_LASSO",
    "table-linear": "dlrun.experiments.tables:TABLE_LINEAR",
    "text-dense": "dlrun.experiments.texts:TEXT_DENSE",
    "text-lasso": "dlrun.experiments.texts:TEXT_LASSO",
    "text-lstm": "dlrun.experiments.texts:TEXT_LSTM",
}


class _Installed(NamedTuple):
    shipped: dict[str, ShippedConfig]  # the names are sorted
    locations: dict[str, str]  # each name has the `module:NAME` of its declaration
    problems: list[str]  # why other experiments are left out


@functools.cache
def _find_installed() -> _Installed:
    shipped = {name: ShippedConfig.find(name, "dlrun") for name in DECLARATIONS}
    locations = dict(DECLARATIONS)
    problems = []
    for point in sorted(entry_points(group="dlrun.experiments"), key=lambda point: point.name):
        try:
            if point.name in shipped:
                raise ValueError(f"{shipped[point.name].package} has one of that name")
            found = ShippedConfig.find(point.name, point.module.partition(".")[0])
            _ = found.help  # an unreadable file raises an error here
        except Exception as error:  # files of other packages can be anything
            problems.append(
                f"experiment {point.name!r} ({point.value}) is left out: {first_line(error)}; "
                "fix its package, or uninstall it"
            )
            continue
        shipped[point.name] = found
        locations[point.name] = point.value
    return _Installed(dict(sorted(shipped.items())), locations, problems)


def experiment_names() -> list[str]:
    return list(_find_installed().shipped)


def shipped_configs() -> list[ShippedConfig]:
    return list(_find_installed().shipped.values())


def experiments_with_published_numbers() -> list[str]:
    """List the names of the experiments with published numbers, in the order of the book."""
    published = [shipped for shipped in shipped_configs() if shipped.has_published_numbers]
    return [shipped.name for shipped in sorted(published, key=lambda one: one.place_in_book)]


def broken_experiment_messages() -> list[str]:
    """Say of each installed experiment that cannot be used why it cannot."""
    return _find_installed().problems


def shipped_config(name: str) -> ShippedConfig:
    """Find the YAML files of an experiment; raise ConfigError if the experiment is unknown."""
    if found := _find_installed().shipped.get(name):
        return found
    raise ConfigError(
        f"no experiment {name!r}{did_you_mean(name, experiment_names())}",
        f"choose one of these: {', '.join(experiment_names())}",
    )


@functools.cache
def find_experiment(name: str) -> "AnyExperiment":
    """Import a declaration. Raises ConfigError if the name is unknown, DlrunError if broken."""
    from dlrun.config.sections import ExperimentConfig  # slow, as pydantic is
    from dlrun.experiments.experiment import Experiment, loading

    package = shipped_config(name).package
    location = _find_installed().locations[name]
    with loading(name, package):
        loaded = pkgutil.resolve_name(location)
        if not isinstance(loaded, Experiment):
            raise TypeError(f"{location} is no Experiment")
        if loaded.name != name:
            raise ValueError(f"{location} declares {loaded.name!r}")
        if not (isinstance(loaded.config, type) and issubclass(loaded.config, ExperimentConfig)):
            raise TypeError(f"the config of {location} is no ExperimentConfig")
    return loaded


def find_experiments(names: Sequence[str]) -> "list[AnyExperiment]":
    """Import several declarations.

    Raises ConfigError for a name that is given twice, or with every unknown name.
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name}: named twice", "name each experiment once")
    found: list[AnyExperiment] = []
    collector = ErrorCollector()
    for name in names:
        with collector.collected():
            found.append(find_experiment(name))
    collector.raise_all()
    return found
