"""Find and import installed experiments, and compare a config with an experiment's shipped one.

Their packages have entry points in the group `dlrun.experiments`.
`dlrun.plugin` says which files the package of an entry point has. The first comment of its
`configs/<name>.yaml` is the command's help; there may be overlays in `configs/smoke/` and
`configs/demo/`.
"""

import functools
import importlib
import importlib.util
import math
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlrun.config.included_files import config_folders, read_config_file
from dlrun.config.yaml_loader import ConfigLayer, Values, flatten_keys, merge_config_layers
from dlrun.errors import ConfigError, DlrunError, did_you_mean, first_line
from dlrun.system.library_imports import import_matplotlib

if TYPE_CHECKING:
    from dlrun.config.sections import ExperimentConfig
    from dlrun.data.dataset_types import Dataset
    from dlrun.experiments.experiment_base import AnyExperiment


@dataclass(frozen=True)
class ExperimentEntry:
    """Describes an installed experiment, whose code is not imported yet."""

    name: str
    package: str  # the name of the top-level package that contains the experiment's code
    entry_point: EntryPoint
    configs_folder: Path

    @property
    def yaml_file(self) -> Path:
        """Return the path of the experiment's own YAML file."""
        return self.configs_folder / f"{self.name}.yaml"

    @cached_property
    def shipped(self) -> ConfigLayer:
        """Return the shipped config: a value for every key, from the YAML file and its defaults.

        Raises ConfigError as `read_config_file` does.
        """
        return merge_config_layers(read_config_file(self.yaml_file))

    @cached_property
    def yaml_text(self) -> str:
        """Return the text of the experiment's own YAML file."""
        return self.yaml_file.read_text(encoding="utf-8")

    @property
    def has_published_numbers(self) -> bool:
        """Return whether the YAML file has the section `reference`, as the book's all have."""
        return bool(re.search("^reference:", self.yaml_text, re.MULTILINE))  # faster than parsing

    @cached_property
    def help(self) -> str:
        """Return the first comment of the YAML file: a description and examples."""
        match = re.match(r"(?:#.*\n)+", self.yaml_text)
        comment = re.sub(r"^# ?", "", match.group() if match else "", flags=re.MULTILINE)
        return comment.replace("Examples:\n", "\nExamples:\n")

    def overlays(self, *kinds: str) -> list[Path]:
        """Return the existing config overlay files of the given kinds (smoke, demo)."""
        files = [self.configs_folder / kind / f"{self.name}.yaml" for kind in kinds]
        return [file for file in files if file.is_file()]

    def load_attribute(self, module: str, name: str, dict_name: str) -> Any:
        """Import a module of the package, and return what it has for the experiment.

        This is `name` (such as `Config`), or the experiment's entry in the dict `dict_name` (such
        as `CONFIGS`) of a module with several. Raises DlrunError if the import or lookup fails.
        """
        try:
            loaded = importlib.import_module(f"{self.entry_point.module}.{module}")
            if hasattr(loaded, dict_name):
                return getattr(loaded, dict_name)[self.name]
            return getattr(loaded, name)
        except (Exception, SystemExit) as error:  # code of other packages can raise anything
            raise self.loading_error(f"{type(error).__name__}: {first_line(error)}") from error

    def loading_error(self, why: str) -> DlrunError:
        """Return the error to raise if the experiment package cannot be used, with the reason."""
        problem = f"experiment {self.name!r} of the package {self.package} cannot be loaded: {why}"
        return DlrunError(problem, "fix or reinstall the package; --debug shows where it failed")


class _Installed(NamedTuple):
    entries: dict[str, ExperimentEntry]  # by name, sorted
    problems: list[str]  # why other experiments are left out


@functools.cache
def _find_installed() -> _Installed:
    entries: dict[str, ExperimentEntry] = {}
    problems = []
    points = entry_points(group="dlrun.experiments")
    # dlrun's own come first: another package cannot replace one of them.
    for point in sorted(points, key=lambda p: (not p.value.startswith("dlrun."), p.name)):
        try:
            if point.name in entries:
                raise ValueError(f"{entries[point.name].package} has one of that name")
            entries[point.name] = _find_experiment(point)
        except Exception as error:  # files of other packages can be anything
            problems.append(
                f"experiment {point.name!r} ({point.value}) is left out: {first_line(error)}; "
                "fix its package, or uninstall it"
            )
    return _Installed(dict(sorted(entries.items())), problems)


def _find_experiment(point: EntryPoint) -> ExperimentEntry:
    package = point.module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no package {package}")
    folder = Path(spec.origin).parent
    for configs_folder in config_folders(folder):
        entry = ExperimentEntry(point.name, package, point, configs_folder)
        if entry.yaml_file.is_file():
            _ = entry.help  # can be read
            return entry
    raise FileNotFoundError(f"no {folder / 'configs' / f'{point.name}.yaml'}")


def experiment_names() -> list[str]:
    """Return the name of every installed experiment, sorted."""
    return list(_find_installed().entries)


def sort_by_place(names: Iterable[str]) -> list[str]:
    """Sort experiments by their place in ISLP (`reference.place`); those without come last."""

    def section_numbers(name: str) -> list[float]:
        try:
            numbers = shipped_values(name).get("reference.place")
        except DlrunError:  # invalid YAML, as everything says that uses the experiment
            return [math.inf]
        is_valid = isinstance(numbers, list) and all(isinstance(number, int) for number in numbers)
        return numbers if is_valid and numbers else [math.inf]

    return sorted(sorted(names), key=section_numbers)


def experiments_with_published_numbers() -> list[str]:
    """Return the experiments that have published numbers, in the order of the book ISLP."""
    entries = _find_installed().entries.values()
    return sort_by_place(entry.name for entry in entries if entry.has_published_numbers)


def broken_experiment_messages() -> list[str]:
    """Return a message for each installed experiment that cannot be used."""
    return _find_installed().problems


def experiment_entry(name: str) -> ExperimentEntry:
    """Return an experiment's ExperimentEntry by name; raise ConfigError if it is unknown."""
    if entry := _find_installed().entries.get(name):
        return entry
    raise ConfigError(
        f"no experiment {name!r}{did_you_mean(name, experiment_names())}",
        f"choose one of these: {', '.join(experiment_names())}",
    )


def load_experiment(name: str) -> "AnyExperiment":
    """Import an experiment. Raises ConfigError if the name is unknown, DlrunError if broken."""
    from dlrun.config.network_sections import LightningConfig  # needs pydantic
    from dlrun.experiments.experiment_base import Experiment

    entry = experiment_entry(name)
    if issubclass(load_config_class(name), LightningConfig):
        import_matplotlib()  # Lightning imports it
    experiment = entry.load_attribute("experiment", "experiment", "EXPERIMENTS")
    if not isinstance(experiment, Experiment):
        raise entry.loading_error(f"{type(experiment).__name__} is no Experiment")
    experiment.name = name
    return experiment


def load_config_class(name: str) -> "type[ExperimentConfig]":
    """Import a config class. Raises ConfigError if the name is unknown, DlrunError if broken."""
    from dlrun.config.sections import ExperimentConfig

    entry = experiment_entry(name)
    schema = entry.load_attribute("config", "Config", "CONFIGS")
    if not (isinstance(schema, type) and issubclass(schema, ExperimentConfig)):
        raise entry.loading_error("its Config is no ExperimentConfig")
    return schema


def experiment_dataset(name: str) -> "Dataset | None":
    """Return the data set of an experiment, or None if its data are not of a known data set."""
    section = load_config_class(name).model_fields.get("data")
    location = getattr(section and section.annotation, "dataset_location", None)
    return None if location is None else pkgutil.resolve_name(location)


@functools.cache
def shipped_values(name: str) -> Values:
    """Return an experiment's shipped config by dotted keys, without importing its code."""
    return flatten_keys(experiment_entry(name).shipped.values)


def changed_from_shipped(name: str, values: Values) -> Values:
    """Return the values of a config, by dotted keys, that differ from the shipped config.

    A missing key has the shipped value; published numbers (`reference`) are left out.
    """
    shipped = shipped_values(name)
    shipped_sections = experiment_entry(name).shipped.values
    differing = {  # most sections are equal, and need not be flattened
        key: value
        for key, value in values.items()
        if key != "reference" and not (key in shipped_sections and value == shipped_sections[key])
    }
    flattened = flatten_keys(differing)
    changed = [key for key in flattened if key not in shipped or flattened[key] != shipped[key]]
    return {key: flattened[key] for key in shipped | flattened if key in changed}  # shipped order
