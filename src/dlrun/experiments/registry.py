"""How experiments are found: entry points of the group `dlrun.experiments`, with their YAML.

Names are read at the start, code when it is used: nothing slow is imported here. A package that
offers an experiment has `configs/<name>.yaml`, which holds all its values and whose first comment
is the command's help, and may have overlays in `configs/smoke/` and `configs/demo/`.
"""

import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import ConfigError, DlrunError, did_you_mean, first_line
from dlrun.run_folder.folder import SWEEPS

if TYPE_CHECKING:
    from dlrun.config.yaml_loader import Layer
    from dlrun.experiments.base import AnyExperiment

GROUP = "dlrun.experiments"
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Entry:
    """An experiment that is installed; its code is not loaded yet."""

    name: str
    point: EntryPoint
    configs: Path

    @property
    def package(self) -> str:
        """The package that holds its code."""
        return self.point.module.partition(".")[0]

    @property
    def defaults(self) -> Path:
        """The YAML file with every value."""
        return self.configs / f"{self.name}.yaml"

    @cached_property
    def shipped(self) -> "Layer":
        """Every value, as the YAML says it. Raises ConfigError."""
        from dlrun.config.yaml_loader import read_file  # needs PyYAML

        return read_file(self.defaults)

    def overlays(self, *kinds: str) -> list[Path]:
        """The files of these kinds (smoke, demo) that it has."""
        files = [self.configs / kind / f"{self.name}.yaml" for kind in kinds]
        return [file for file in files if file.is_file()]

    @property
    def help(self) -> str:
        """The comment on top of its YAML: what it is, and an example."""
        text = self.defaults.read_text(encoding="utf-8")
        match = re.match(r"(?:#.*\n)+", text)
        comment = re.sub(r"^# ?", "", match.group() if match else "", flags=re.MULTILINE)
        return comment.replace("Example: ", "\nExample: ")

    def load(self) -> "AnyExperiment":
        """The declaration. Raises DlrunError where its code cannot be loaded."""
        from dlrun.config.sections import ExperimentConfig  # needs pydantic
        from dlrun.experiments.base import Experiment

        try:
            found = self.point.load()
        except (Exception, SystemExit) as error:  # somebody's code can raise anything
            raise self._unusable(f"{type(error).__name__}: {first_line(error)}") from error
        if not isinstance(found, Experiment):
            raise self._unusable(f"{self.point.value} is no dlrun Experiment")
        schema = getattr(found, "schema", None)
        if not (isinstance(schema, type) and issubclass(schema, ExperimentConfig)):
            raise self._unusable("its schema is no ExperimentConfig")
        if getattr(found, "name", None) != self.name:
            raise self._unusable(f"it calls itself {getattr(found, 'name', None)!r}")
        return found

    def _unusable(self, why: str) -> DlrunError:
        return DlrunError(
            f"experiment {self.name!r} of the package {self.package} cannot be loaded: {why}",
            f"mend the package, or remove it: pip uninstall {self.package.replace('_', '-')}",
        )


@functools.cache
def _found() -> tuple[dict[str, Entry], list[str]]:
    """The experiments by name, sorted, and what is wrong with those that are left out."""
    entries: dict[str, Entry] = {}
    problems = []
    ours_first = sorted(
        entry_points(group=GROUP), key=lambda p: (not p.value.startswith("dlrun."), p.name)
    )
    for point in ours_first:
        try:
            entry = _entry(point)
            if entry.name in entries:
                raise ValueError(f"{entries[entry.name].package} has one of that name")
        except Exception as error:  # somebody's files can be anything
            problems.append(
                f"experiment {point.name!r} ({point.value}) is left out: {first_line(error)}; "
                "mend its package, or uninstall it"
            )
            continue
        entries[entry.name] = entry
    return dict(sorted(entries.items())), problems


def _entry(point: EntryPoint) -> Entry:
    if not _NAME.fullmatch(point.name):
        raise ValueError("a name is of small letters, digits and hyphens")
    if point.name == SWEEPS:
        raise ValueError("its runs would lie where sweeps do")
    package = point.module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no package {package}")
    folder = Path(spec.origin).parent
    for configs in (folder / "configs", folder.parent.parent / "configs"):  # installed; checkout
        entry = Entry(point.name, point, configs)
        if entry.defaults.is_file():
            _ = entry.help  # can be read
            return entry
    raise FileNotFoundError(f"no {folder / 'configs' / f'{point.name}.yaml'}")


def entries() -> list[Entry]:
    """Every experiment that is installed, sorted by name."""
    return list(_found()[0].values())


def names() -> list[str]:
    """Every experiment's name, sorted."""
    return list(_found()[0])


def problems() -> list[str]:
    """A sentence for each experiment that is installed but cannot be offered."""
    return _found()[1]


def entry(name: str) -> Entry:
    """An experiment by its name. Raises ConfigError where there is none."""
    found = _found()[0]
    if name not in found:
        raise ConfigError(
            f"no experiment {name!r}{did_you_mean(name, found)}", f"choose of {', '.join(found)}"
        )
    return found[name]


def load(name: str) -> "AnyExperiment":
    """An experiment's declaration. Raises ConfigError or DlrunError."""
    return entry(name).load()


def load_all() -> "Iterator[AnyExperiment | DlrunError]":
    """Every declaration, sorted by name; for one that cannot be loaded, the reason."""
    for found in entries():
        try:
            yield found.load()
        except DlrunError as error:
            yield error


def unlike_shipped(experiment: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return a config's values, by dotted keys, that are not the shipped defaults."""
    from dlrun.config.yaml_loader import flatten  # needs PyYAML

    defaults = shipped(experiment)
    return {
        key: value
        for key, value in flatten(values).items()
        if key not in defaults or defaults[key] != value
    }


@functools.cache
def shipped(experiment: str) -> dict[str, Any]:
    """Return an experiment's shipped config by dotted keys, as the YAML says it.

    Validating it needs the experiment's code, which may be slow to import.
    """
    from dlrun.config.yaml_loader import flatten  # needs PyYAML

    return flatten(entry(experiment).shipped.values)
