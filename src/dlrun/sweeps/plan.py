"""A sweep's plan: every point checked, then sweep.json written before any run begins."""

import shlex
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Unpack

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlrun import run_context
from dlrun.commands.list_runs import format_differences
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.validation import InvalidConfigError
from dlrun.config.yaml_loader import (
    KeyPath,
    Layer,
    flatten,
    layer_from_values,
    merge_layers,
    read_override,
)
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder import environment
from dlrun.run_folder.folder import PLAIN_NAME, PLAN, RunFolder
from dlrun.run_folder.record import (
    ChecksummedModel,
    SweepMembership,
    checksummed_text,
    read_checksummed,
)
from dlrun.runs.start import check, read_config_layers, validate_config
from dlrun.sweeps import search
from dlrun.sweeps.search import SEED, Settings, Varied
from dlrun.system.console import pluralize

FORMAT = 1
EPOCHS = "trainer.max_epochs"
ERRORS_SHOWN = 20
POINTS_SHOWN = 5


class Point(BaseModel):
    """A run of a sweep: its number, from 1, and its own settings by dotted keys."""

    model_config = ConfigDict(frozen=True)

    number: int
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """`lr=0.01 seed=3`."""
        own = {key: value for key, value in self.settings.items() if key != SEED}
        seed = [f"seed={self.settings[SEED]}"] if SEED in self.settings else []
        return " ".join([*([format_differences(own)] if own else []), *seed])


class Rung(BaseModel):
    """A rung of successive halving: how many configs are trained to how many epochs."""

    model_config = ConfigDict(frozen=True)

    configs: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class Plan(ChecksummedModel):
    """The contents of sweep.json.

    base: the config that all points share, whole and valid. keys: those that vary, except the seed.
    rungs: of successive halving, else empty. data: SHA-256 of the data files, in a reproduction.
    """

    id: str
    name: str
    experiment: str
    started: str
    command: list[str]
    dlrun: str
    code: str
    packages: dict[str, str | None]
    base: dict[str, Any]
    keys: list[str]
    points: list[Point]
    rungs: list[Rung]
    data: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        """Check what becomes names of folders, and what is relied on unchecked."""
        if not PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a sweep's name")
        if [point.number for point in self.points] != list(range(1, len(self.points) + 1)):
            raise ValueError("the points are not numbered from 1")
        varied = set(self.points[0].settings) if self.points else set()
        for point in self.points:
            own, seed = set(point.settings), point.settings.get(SEED, 0)
            if not own <= {*self.keys, SEED} or SEED in own ^ varied or type(seed) is not int:
                raise ValueError(f"point {point.number} does not set the keys that vary")
        if unset := set(self.keys).difference(*(point.settings for point in self.points)):
            raise ValueError(f"no point sets {', '.join(sorted(unset))}")
        return self

    def values(self, point: Point) -> Layer:
        """Return a point's whole config."""
        return merge_layers(
            [Layer(self.base), layer_from_values(nested(point.settings), f"point {point.number}")]
        )

    def run_name(self, point: Point) -> str:
        """Return the suffix of a point's run folder."""
        return f"{self.name}-{point.number:0{len(str(len(self.points)))}}"

    def member(self, point: Point) -> SweepMembership:
        """Return what a point's run record says about the sweep."""
        return SweepMembership(id=self.id, name=self.name, point=point.number)

    def settings(self, run: Run) -> dict[str, Any]:
        """Return the settings of the point that a run is of."""
        member = run.record.sweep
        assert member is not None  # it is one of this sweep's
        return self.points[member.point - 1].settings

    @cached_property
    def configs(self) -> list[list[Point]]:
        """The points grouped by config: those of a group differ in the seed alone."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            own = {key: value for key, value in point.settings.items() if key != SEED}
            found.setdefault(repr(own), []).append(point)
        return list(found.values())


@dataclass(frozen=True)
class Sweep:
    """A plan and the folder that holds it; `data_dir` is the option."""

    plan: Plan
    folder: Path
    data_dir: Path | None = None

    @property
    def runs_dir(self) -> Path:
        """The folder of its runs."""
        return self.folder.parents[1]

    @property
    def resume_command(self) -> str:
        """The command that continues it."""
        here = self.runs_dir == run_context.runs_dir()
        name = self.plan.name if here else str(self.folder)
        words = ["dlrun", "sweep", "--resume", name]
        return shlex.join([*words, *(["--data-dir", str(self.data_dir)] if self.data_dir else [])])


def plan_points(
    experiment: str, options: RunSettings, *, here: bool = True, **varied: Unpack[Varied]
) -> tuple[list[ExperimentConfig], list[Settings]]:
    """Return the valid config of each point, and its own settings.

    `here`: the runs use this machine's devices. Raises ConfigError for an invalid text, or with
    every error of every point.
    """
    base = read_config_layers(experiment, options)
    seed = flatten(base.values).get("seed")
    found = search.points(seed if isinstance(seed, int) else 0, **varied)
    _check_varied_once(found[0], options)
    return _checked(experiment, base, found, options, here=here), found


def distinct(
    configs: Sequence[ExperimentConfig], settings: Sequence[Settings]
) -> tuple[list[ExperimentConfig], list[Settings]]:
    """Return the points without those whose whole config, seed included, an earlier one has."""
    found: dict[str, tuple[ExperimentConfig, Settings]] = {}
    for config, own in zip(configs, settings, strict=True):
        found.setdefault(config.model_dump_json(), (config, own))
    return [config for config, _ in found.values()], [own for _, own in found.values()]


def _check_varied_once(settings: Settings, options: RunSettings) -> None:
    """Raise ConfigError if `--set` gives a key that varies."""
    for text in options.overrides:
        given = flatten(read_override(text).values)
        for key in settings:
            if key in given or any(one.startswith(f"{key}.") for one in given):
                raise ConfigError(f"--set {text}: {key} varies in this sweep", "leave one out")


def _checked(
    experiment: str, base: Layer, found: Sequence[Settings], options: RunSettings, *, here: bool
) -> list[ExperimentConfig]:
    """Return every point's config. Raises ConfigError: all errors, each once with its points."""
    configs: list[ExperimentConfig] = []
    errors: dict[str, list[int]] = {}
    hint = ""
    known: dict[str, DlrunError | None] = {}
    for number, settings in enumerate(found, start=1):
        try:
            config = validate_config(experiment, merge_layers([base, _layer(settings)]))
            _check_one(experiment, config, options, known, here=here)
            configs.append(config)
        except DlrunError as error:
            hint = hint or error.hint
            for text in (
                error.problems if isinstance(error, InvalidConfigError) else [error.message]
            ):
                errors.setdefault(text, []).append(number)
    if errors:
        raise _all_of(errors, len(found), hint)
    return configs


def _check_one(
    experiment: str,
    config: ExperimentConfig,
    options: RunSettings,
    known: dict[str, DlrunError | None],
    *,
    here: bool,
) -> None:
    """Check what a run checks before it has a folder; once for configs that differ in the seed."""
    key = config.model_copy(update={"seed": 0}).model_dump_json()
    if key not in known:
        known[key] = None
        try:
            if isinstance(config, NetworkConfig) and config.world != 1:
                raise ConfigError(
                    f"trainer.devices: {config.trainer.devices} on "
                    f"{pluralize(config.trainer.num_nodes, 'node')}: a point is one process",
                    "--set trainer.devices=1; many processes of one run are `dlrun EXPERIMENT`'s",
                )
            check(experiment, config, options, here=here)
        except DlrunError as error:
            known[key] = error
    if (error_of_key := known[key]) is not None:
        raise error_of_key


def _all_of(errors: dict[str, list[int]], total: int, hint: str) -> ConfigError:
    lines = []
    for text, numbers in errors.items():
        shown = ", ".join(map(str, numbers[:POINTS_SHOWN]))
        more = ", ..." if len(numbers) > POINTS_SHOWN else ""
        which = f" (point{'s' if len(numbers) > 1 else ''} {shown}{more} of {total})"
        lines.append(text if len(numbers) == total else f"{text}{which}")
    if len(lines) == 1:
        return ConfigError(lines[0], hint)
    left = len(lines) - ERRORS_SHOWN
    rest = [f"and {left} more"] if left > 0 else []
    listed = "\n".join(f"  {line}" for line in [*lines[:ERRORS_SHOWN], *rest])
    return ConfigError(f"{len(lines)} errors in the sweep:\n{listed}", hint)


def _layer(settings: Settings) -> Layer:
    """Return the settings as a layer; an error in one names it."""
    origins: dict[KeyPath, str] = {}
    for key, value in settings.items():
        path: KeyPath = tuple(key.split("."))
        origins |= {path[:end]: f"{key}={value}" for end in range(1, len(path) + 1)}
    return Layer(nested(settings), origins)


def make_plan(
    name: str,
    experiment: str,
    configs: Sequence[ExperimentConfig],
    settings: Sequence[Settings],
    rungs: Sequence[Rung] = (),
    data: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Return the plan of points with these valid configs and settings."""
    dumps = [config.model_dump(mode="json") for config in configs]
    own = _varied(dumps, settings)
    begun = environment.describe_environment(registry.entry(experiment).package)
    return Plan(
        format=FORMAT,
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv,
        dlrun=begun["dlrun"],
        code=begun["code"],
        packages=begun["packages"],
        base=dumps[0],
        keys=list(dict.fromkeys(key for one in own for key in one if key != SEED)),
        points=[Point(number=place, settings=one) for place, one in enumerate(own, start=1)],
        rungs=list(rungs),
        data=dict(data),
    )


def _varied(configs: Sequence[Mapping[str, Any]], settings: Sequence[Settings]) -> list[Settings]:
    """Return each config's values of the keys that vary; of a section those given or different."""
    valid = [flatten(config) for config in configs]  # with paths made absolute
    given = {key for own in settings for key in flatten(own)}
    keys = [
        leaf
        for key in settings[0]
        for leaf in dict.fromkeys(leaf for values in valid for leaf in values)
        if f"{leaf}.".startswith(f"{key}.")
        and (leaf in given or len({repr(values.get(leaf, ...)) for values in valid}) > 1)
    ]
    return [{key: values[key] for key in keys if key in values} for values in valid]


def write_plan(plan: Plan, folder: RunFolder) -> Sweep:
    """Write sweep.json, on disk before this returns. Raises OSError."""
    folder.write_text(PLAN, checksummed_text(plan))
    return Sweep(plan, folder.path)


def read_plan(folder: Path) -> Sweep:
    """Read sweep.json. Raises DlrunError if it is missing, damaged or a newer dlrun's."""
    return Sweep(read_checksummed(Plan, folder / PLAN, FORMAT), folder)


def check_unchanged(sweep: Sweep) -> None:
    """Raise DlrunError if code or packages have changed since the sweep began."""
    plan = sweep.plan
    changed = [
        f"{name} {plan.packages.get(name)} then, {here} now"
        for name, here in environment.versions().items()
        if plan.packages.get(name) != here
    ]
    if plan.code != environment.code_version(registry.entry(plan.experiment).package):
        changed.insert(0, "another version of the code that computes")
    if changed:
        raise DlrunError(
            f"{sweep.folder}: its runs would not be comparable: {'; '.join(changed)}",
            "start a new sweep, or continue with --force",
        )


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested mappings."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return found
