"""Find installed experiments by their entry points in the group `dlrun.experiments`.

`dlrun.experiment` says which files the package of an entry point has. The first comment of its
`configs/<name>.yaml` is the command's help; there may be overlays in `configs/smoke/` and
`configs/demo/`.
"""

import functools
import importlib
import importlib.util
import math
import pkgutil
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.config.included_files import config_folders, read_config_file
from dlrun.config.yaml_loader import (
    ConfigLayer,
    Values,
    config_layer_from_setting,
    flatten_keys,
    merge_config_layers,
)
from dlrun.errors import ConfigError, DlrunError, UsageError, did_you_mean, first_line

if TYPE_CHECKING:
    from dlrun.config.sections import ExperimentConfig
    from dlrun.data.dataset_types import Dataset
    from dlrun.experiments.experiment_base import AnyExperiment


@dataclass(frozen=True)
class ExperimentEntry:
    """Describes an installed experiment, whose code is not imported yet."""

    name: str
    point: EntryPoint
    configs: Path

    @property
    def package(self) -> str:
        """Return the name of the top-level package that contains the experiment's code."""
        return self.point.module.partition(".")[0]

    @property
    def file(self) -> Path:
        """Return the path of the experiment's own YAML file."""
        return self.configs / f"{self.name}.yaml"

    @cached_property
    def shipped(self) -> ConfigLayer:
        """Return the shipped config: a value for every key, from the YAML file and its defaults.

        Raises ConfigError as `read_config_file` does.
        """
        return merge_config_layers(read_config_file(self.file))

    @cached_property
    def shipped_values(self) -> Values:
        """Return the values of `shipped` by dotted keys."""
        return flatten_keys(self.shipped.values)

    @cached_property
    def text(self) -> str:
        """Return the text of the experiment's own YAML file, which is faster than its values."""
        return self.file.read_text(encoding="utf-8")

    @property
    def has_published_numbers(self) -> bool:
        """Return whether the YAML file has the section `reference`, as the book's all have."""
        return re.search("^reference:", self.text, re.MULTILINE) is not None

    @cached_property
    def help(self) -> str:
        """Return the first comment of the YAML file: a description and examples."""
        match = re.match(r"(?:#.*\n)+", self.text)
        comment = re.sub(r"^# ?", "", match.group() if match else "", flags=re.MULTILINE)
        return comment.replace("Examples:\n", "\nExamples:\n")

    def overlays(self, *kinds: str) -> list[Path]:
        """Return the existing config overlay files of the given kinds (smoke, demo)."""
        files = [self.configs / kind / f"{self.name}.yaml" for kind in kinds]
        return [file for file in files if file.is_file()]

    def load(self, module: str, attribute: str, by_name: str) -> Any:
        """Return the experiment's entry in the dict `by_name` of a module of the package.

        A module without this dict has the attribute instead. Raises DlrunError if it has neither.
        """
        try:
            loaded = importlib.import_module(f"{self.point.module}.{module}")
            if hasattr(loaded, by_name):
                return getattr(loaded, by_name)[self.name]
            return getattr(loaded, attribute)
        except (Exception, SystemExit) as error:  # code of other packages can raise anything
            raise self.loading_error(f"{type(error).__name__}: {first_line(error)}") from error

    def loading_error(self, why: str) -> DlrunError:
        """Return the error to raise if the experiment package cannot be used, with the reason."""
        problem = f"experiment {self.name!r} of the package {self.package} cannot be loaded: {why}"
        return DlrunError(problem, "fix or reinstall the package; --debug shows where it failed")


@functools.cache
def _installed() -> tuple[dict[str, ExperimentEntry], list[str]]:
    """Return the installed experiments by name, and the reasons why others are left out."""
    installed: dict[str, ExperimentEntry] = {}
    left_out = []
    points = entry_points(group="dlrun.experiments")
    for point in sorted(points, key=lambda p: (not p.value.startswith("dlrun."), p.name)):
        try:
            if point.name in installed:
                raise ValueError(f"{installed[point.name].package} has one of that name")
            installed[point.name] = _find_experiment(point)
        except Exception as error:  # files of other packages can be anything
            left_out.append(
                f"experiment {point.name!r} ({point.value}) is left out: {first_line(error)}; "
                "fix its package, or uninstall it"
            )
    return dict(sorted(installed.items())), left_out


def _find_experiment(point: EntryPoint) -> ExperimentEntry:
    package = point.module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no package {package}")
    folder = Path(spec.origin).parent
    for configs in config_folders(folder):
        entry = ExperimentEntry(point.name, point, configs)
        if entry.file.is_file():
            _ = entry.help  # can be read
            return entry
    raise FileNotFoundError(f"no {folder / 'configs' / f'{point.name}.yaml'}")


def experiment_names() -> list[str]:
    """Return the name of every installed experiment, sorted."""
    return list(_installed()[0])


def sort_by_place(names: Iterable[str]) -> list[str]:
    """Sort experiments by their place in ISLP (`reference.place`); those without come last."""

    def place(name: str) -> list[float]:
        place = shipped_values(name).get("reference.place")
        is_known = isinstance(place, list) and all(isinstance(number, int) for number in place)
        return place if is_known and place else [math.inf]

    return sorted(sorted(names), key=place)


def experiments_with_published_numbers() -> list[str]:
    """Return the experiments that have published numbers, in the order of the book ISLP."""
    entries = _installed()[0].values()
    return sort_by_place(entry.name for entry in entries if entry.has_published_numbers)


def broken_experiments() -> list[str]:
    """Return a message for each installed experiment that cannot be used."""
    return _installed()[1]


def experiment_entry(name: str) -> ExperimentEntry:
    """Return an experiment's ExperimentEntry by name; raise ConfigError if it is unknown."""
    if entry := _installed()[0].get(name):
        return entry
    raise ConfigError(
        f"no experiment {name!r}{did_you_mean(name, experiment_names())}",
        f"choose one of these: {', '.join(experiment_names())}",
    )


def load_experiment(name: str) -> "AnyExperiment":
    """Import an experiment. Raises ConfigError if the name is unknown, DlrunError if broken."""
    from dlrun.experiments.experiment_base import Experiment  # needs pydantic

    entry = experiment_entry(name)
    experiment = entry.load("experiment", "experiment", "EXPERIMENTS")
    if not isinstance(experiment, Experiment):
        raise entry.loading_error(f"{type(experiment).__name__} is no Experiment")
    experiment.name = name
    return experiment


def load_config_class(name: str) -> "type[ExperimentConfig]":
    """Import a config class. Raises ConfigError if the name is unknown, DlrunError if broken."""
    from dlrun.config.sections import ExperimentConfig

    entry = experiment_entry(name)
    schema = entry.load("config", "Config", "CONFIGS")
    if not (isinstance(schema, type) and issubclass(schema, ExperimentConfig)):
        raise entry.loading_error("its Config is no ExperimentConfig")
    return schema


def config_layer_of_arguments(name: str, words: Sequence[str]) -> ConfigLayer:
    """Return an experiment's positional arguments as a config layer, such as the path of data.

    Raises UsageError if it takes none, or only one.
    """
    argument = load_config_class(name).argument
    if not words:
        return ConfigLayer({})
    if argument is None:
        hint = "config values are KEY=VALUE, such as seed=3"
        if Path(words[0]).exists():
            hint = f"{name} takes no path; `dlrun --help` lists the experiments on your own data"
        raise UsageError(f"unexpected argument {words[0]!r}", hint)
    if not argument.is_list and len(words) > 1:
        problem = f"one {argument.metavar} is enough, got {', '.join(words)}"
        raise UsageError(problem, "config values are KEY=VALUE, such as seed=3")
    value = [*words] if argument.is_list else words[0]
    return config_layer_from_setting(argument.key, value, argument.metavar)


def experiment_dataset(name: str) -> "Dataset | None":
    """Return the data set of an experiment, or None if its data are not of a known data set."""
    section = load_config_class(name).model_fields.get("data")
    location = getattr(section and section.annotation, "dataset_location", None)
    return None if location is None else pkgutil.resolve_name(location)


def shipped_values(name: str) -> Values:
    """Return an experiment's shipped config by dotted keys, without importing its code."""
    return experiment_entry(name).shipped_values


def changed_from_shipped(name: str, values: Values) -> Values:
    """Return the values of a config, by dotted keys, that differ from the shipped config.

    A missing key has the shipped value; published numbers (`reference`) are left out.
    """
    shipped = shipped_values(name)
    sections = experiment_entry(name).shipped.values  # most are equal, and need not be flattened
    others = [key for key in values if key not in sections or values[key] != sections[key]]
    own = flatten_keys({key: values[key] for key in others if key != "reference"})
    changed = {key: own[key] for key in own if key not in shipped or own[key] != shipped[key]}
    return {key: changed[key] for key in shipped | changed if key in changed}
