"""Plan a sweep: validate the config of every point, and describe the sweep in sweep.json."""

import shlex
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlrun import run_context
from dlrun.commands.list_runs import format_differences
from dlrun.config.sections import EPOCHS, ExperimentConfig, NetworkConfig
from dlrun.config.validation import InvalidConfigError
from dlrun.config.yaml_loader import (
    ConfigLayer,
    config_layer_from_values,
    flatten_keys,
    merge_config_layers,
    parse_set_override,
)
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.run_folder import environment
from dlrun.run_folder.folder import PLAIN_NAME, PLAN
from dlrun.run_folder.record import ChecksummedModel, SweepMembership, read_checksummed_json
from dlrun.runs.start import check_run_can_start, merge_experiment_config, validate_config
from dlrun.sweeps.search import SEED, SearchSpace, Settings
from dlrun.system.console import Screen

FORMAT = 1
ERRORS_SHOWN = 20
POINTS_SHOWN = 5


class SweepPoint(BaseModel):
    """One planned run of a sweep: its number, from 1, and its settings by dotted config keys."""

    model_config = ConfigDict(frozen=True)

    number: int
    settings: Settings

    @property
    def without_seed(self) -> Settings:
        """The settings of the point without its seed."""
        return {key: value for key, value in self.settings.items() if key != SEED}

    @property
    def label(self) -> str:
        """The settings of the point as short text, such as `lr=0.01 seed=3`."""
        seed = f"seed={self.settings[SEED]}" if SEED in self.settings else ""
        return f"{format_differences(self.without_seed)} {seed}".strip()


class HalvingRung(BaseModel):
    """A rung of successive halving: how many configs are trained to how many epochs."""

    model_config = ConfigDict(frozen=True)

    configs: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class SweepPlan(ChecksummedModel):
    """The plan of a sweep, which is the content of sweep.json.

    base: the whole config that all points share. keys: the config keys that vary, except the seed.
    rungs: those of successive halving, or none. data: SHA-256 of the data files, in a reproduction.
    """

    id: str
    name: str
    experiment: str
    started: str
    command: list[str]
    dlrun: str
    code: str
    packages: dict[str, str | None]
    base: Settings
    keys: list[str]
    points: list[SweepPoint]
    rungs: list[HalvingRung]
    data: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "SweepPlan":
        """Check the name, which becomes a folder's, and that all points set the same keys."""
        if not PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a sweep's name")
        seeds = [type(point.settings.get(SEED)) for point in self.points]
        if (
            [point.number for point in self.points] != list(range(1, len(seeds) + 1))
            or {key for point in self.points for key in point.without_seed} != {*self.keys}
            or set(seeds) not in ({int}, {type(None)})
        ):
            raise ValueError("the points do not set the keys that vary")
        return self

    @cached_property
    def configs(self) -> list[list[SweepPoint]]:
        """The points grouped by config: the points of a group differ only in their seeds."""
        groups: dict[str, list[SweepPoint]] = {}
        for point in self.points:
            groups.setdefault(repr(point.without_seed), []).append(point)
        return list(groups.values())

    def validate_points(self) -> list[ExperimentConfig]:
        """Return the config of each point. Raises ConfigError if dlrun no longer accepts one."""
        return [validate_config(self.experiment, self.values(point)) for point in self.points]

    def values(self, point: SweepPoint, epochs: int | None = None) -> ConfigLayer:
        """Return the whole config of a point, with `epochs` as its number of epochs if given."""
        rung = {} if epochs is None else {EPOCHS: epochs}
        return merge_config_layers(
            [ConfigLayer(self.base), settings_to_config_layer(point.settings | rung)]
        )

    def run_settings(
        self, point: SweepPoint, common: RunSettings, epochs: int | None = None
    ) -> RunSettings:
        """Return the run settings of a point, from the settings `common` to all points."""
        digits = len(str(len(self.points)))
        return replace(
            common,
            values=[ConfigLayer(self.values(point, epochs).values)],
            name=f"{self.name}-{point.number:0{digits}}",
            sweep=SweepMembership(id=self.id, name=self.name, point=point.number),
        )


@dataclass(frozen=True)
class Sweep:
    """A sweep: its plan, the folder that contains it, and the folder of the data."""

    plan: SweepPlan
    folder: Path
    data_dir: Path | None = None

    @property
    def runs_dir(self) -> Path:
        """The runs folder that contains the runs of the sweep."""
        return self.folder.parents[1]

    @property
    def resume_command(self) -> str:
        """The shell command that continues the sweep."""
        here = self.runs_dir == run_context.resolve_runs_dir()
        words = ["dlrun", "sweep", "--resume", self.plan.name if here else str(self.folder)]
        return shlex.join([*words, *(["--data-dir", str(self.data_dir)] if self.data_dir else [])])


def make_sweep_plan(
    name: str,
    experiment: str,
    options: RunSettings,
    search: SearchSpace,
    screen: Screen,
    *,
    eta: int | None = None,
    here: bool = True,
    data: Mapping[str, str] = MappingProxyType({}),
) -> SweepPlan:
    """Return the plan of a sweep, after validating the config of every point.

    `options` are those of a single run, `eta` is the factor of successive halving, and with `here`
    the runs use this machine's devices. Raises ConfigError for an invalid text, or with all errors
    of all points.
    """
    base = merge_experiment_config(experiment, options)
    seed = flatten_keys(base.values).get(SEED)
    points = search.points(seed if isinstance(seed, int) else 0)
    _check_varied_once(points[0], options)
    configs = _validate(experiment, base, points, options, here=here)
    dumps = [config.model_dump(mode="json") for config in configs]  # with paths made absolute
    # Points with equal settings and seeds are merged into one.
    varied = list({repr(one): one for one in _varied(map(flatten_keys, dumps), points)}.values())
    if len(varied) < len(points):
        screen.note(f"{len(varied)} of {len(points)} points are distinct; equal ones run once")
    about = environment.describe_environment(registry.experiment_entry(experiment).package)
    plan = SweepPlan(
        format=FORMAT,
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv,
        dlrun=about["dlrun"],
        code=about["code"],
        packages=about["packages"],
        base=dumps[0],
        keys=list(dict.fromkeys(key for one in varied for key in one if key != SEED)),
        points=[
            SweepPoint(number=place, settings=one) for place, one in enumerate(varied, start=1)
        ],
        rungs=[],
        data=dict(data),
    )
    if eta is None:
        return plan
    if EPOCHS in plan.keys:
        raise ConfigError(f"--halving: {EPOCHS} varies itself", "leave one out")
    rungs = halving_rungs(len(plan.configs), flatten_keys(plan.base).get(EPOCHS), eta)
    return plan.model_copy(update={"rungs": rungs})


def _check_varied_once(settings: Settings, options: RunSettings) -> None:
    """Raise ConfigError if `--set` sets a key that varies in the sweep."""
    for text in options.overrides:
        given = flatten_keys(parse_set_override(text).values)
        for key in settings:
            if key in given or any(one.startswith(f"{key}.") for one in given):
                raise ConfigError(f"--set {text}: {key} varies in this sweep", "leave one out")


def _validate(
    experiment: str,
    base: ConfigLayer,
    points: Sequence[Settings],
    options: RunSettings,
    *,
    here: bool,
) -> list[ExperimentConfig]:
    """Return the configs of all points. Raises ConfigError: each error with its points."""
    configs: list[ExperimentConfig] = []
    errors: dict[str, list[str]] = {}
    hint = ""
    checked: set[str] = set()  # configs without their seeds
    for number, settings in enumerate(points, start=1):
        try:
            config = validate_config(
                experiment, merge_config_layers([base, settings_to_config_layer(settings)])
            )
            key = config.model_copy(update={"seed": 0}).model_dump_json()
            if key not in checked:
                if isinstance(config, NetworkConfig) and config.world != 1:
                    raise ConfigError(
                        f"trainer.devices: {config.trainer.devices}, trainer.num_nodes: "
                        f"{config.trainer.num_nodes}: a point is one process",
                        "--set trainer.devices=1; `dlrun EXPERIMENT` runs several processes",
                    )
                check_run_can_start(experiment, config, options, here=here)
                checked.add(key)
            configs.append(config)
        except DlrunError as error:
            hint = hint or error.hint
            texts = error.problems if isinstance(error, InvalidConfigError) else [error.message]
            for text in texts:
                errors.setdefault(text, []).append(str(number))
    if not errors:
        return configs
    lines = []
    for text, numbers in errors.items():
        shown = ", ".join([*numbers[:POINTS_SHOWN], *(["..."] if numbers[POINTS_SHOWN:] else [])])
        of_all = len(numbers) == len(points)
        lines.append(text if of_all else f"{text} (points {shown} of {len(points)})")
    if len(lines) == 1:
        raise ConfigError(lines[0], hint)
    shown = "\n".join(f"  {line}" for line in lines[:ERRORS_SHOWN])
    raise ConfigError(f"{len(lines)} errors in the sweep:\n{shown}", hint)


def _varied(flat: Iterable[Settings], points: Sequence[Settings]) -> list[Settings]:
    """Return the values of the varying keys for each config, by dotted keys."""
    configs, given = list(flat), {key for point in points for key in flatten_keys(point)}
    leaves = [
        leaf
        for key in points[0]
        for leaf in dict.fromkeys(leaf for values in configs for leaf in values)
        if f"{leaf}.".startswith(f"{key}.")
        and (leaf in given or len({repr(values.get(leaf, ...)) for values in configs}) > 1)
    ]
    return [{leaf: values[leaf] for leaf in leaves if leaf in values} for values in configs]


def halving_rungs(configs: int, epochs: int | None, eta: int) -> list[HalvingRung]:
    """Return the rungs of a sweep by successive halving (Jamieson & Talwalkar, arXiv:1502.07943).

    All configs are trained for a few epochs; the best one in `eta` is trained for `eta` times as
    many, and so on, the last to all epochs. Raises ConfigError for too few configs or epochs.
    """
    if epochs is None:
        raise ConfigError("--halving: this experiment has no epochs", "leave it out")
    steps = 0
    while eta ** (steps + 1) <= min(configs, epochs):
        steps += 1
    if steps == 0:
        raise ConfigError(
            f"--halving: {configs} configs of {epochs} epochs leave nothing to cut by {eta}",
            "more configs and epochs, or without --halving",
        )
    return [
        HalvingRung(configs=configs // eta**step, epochs=epochs // eta ** (steps - step))
        for step in range(steps + 1)
    ]


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep from its folder. Raises DlrunError if sweep.json is missing or damaged."""
    return Sweep(read_checksummed_json(SweepPlan, folder / PLAN, FORMAT), folder)


def check_code_unchanged(sweep: Sweep) -> None:
    """Raise DlrunError if code or packages have changed since the sweep began."""
    plan = sweep.plan
    package = registry.experiment_entry(plan.experiment).package
    if changed := environment.describe_environment_changes(plan.code, plan.packages, package):
        raise DlrunError(
            f"{sweep.folder}: its runs would not be comparable: {'; '.join(changed)}",
            "start a new sweep, or continue with --force",
        )


def settings_to_config_layer(settings: Settings) -> ConfigLayer:
    """Return settings by dotted keys as a config layer of nested mappings."""
    layers = []
    for key, value in settings.items():
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        layers.append(config_layer_from_values(nested, f"{key}={value}"))
    return merge_config_layers(layers)
