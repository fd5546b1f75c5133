"""A sweep's plan: sweep.json, written whole before anything begins, and never changed."""

import shlex
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlrun import run_context
from dlrun.commands.list_runs import format_differences
from dlrun.config.yaml_loader import Layer, flatten, layer_from_values, merge_layers
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.run_folder import environment
from dlrun.run_folder.folder import PLAIN_NAME, RunFolder
from dlrun.run_folder.record import (
    ChecksummedModel,
    SweepMembership,
    read_checksummed,
    write_checksummed,
)
from dlrun.run_folder.stored_run import StoredRun
from dlrun.run_folder.sweep_folder import PLAN, check_new
from dlrun.sweeps.search import SEED, Settings

FORMAT = 1
EPOCHS = "trainer.max_epochs"


class Point(BaseModel):
    """One run: its number, from 1, and what of its config is its own, by dotted keys."""

    model_config = ConfigDict(frozen=True)

    number: int
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """`lr=0.01 seed=3`."""
        seed = [f"seed={self.settings[SEED]}"] if SEED in self.settings else []
        return " ".join([*self.own, *seed])

    @property
    def own(self) -> list[str]:
        """The same without the seed, or nothing."""
        own = {key: value for key, value in self.settings.items() if key != SEED}
        return [format_differences(own)] if own else []


class Rung(BaseModel):
    """Of successive halving: so many configs are trained to so many epochs."""

    model_config = ConfigDict(frozen=True)

    configs: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]


class Plan(ChecksummedModel):
    """sweep.json. `base`: the config that all points have in common, whole and valid.

    keys: what varies, without the seed. rungs: of successive halving, else none. data: the SHA-256
    of its files, where another sweep is asked for of the same.
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
        """Its name becomes one of folders, its points' numbers and keys are relied on."""
        if not PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no sweep's name")
        if [point.number for point in self.points] != list(range(1, len(self.points) + 1)):
            raise ValueError("the points are not numbered from 1 on")
        varied = set(self.points[0].settings) if self.points else set()
        for point in self.points:
            own, seed = set(point.settings), point.settings.get(SEED, 0)
            if not own <= {*self.keys, SEED} or SEED in own ^ varied or type(seed) is not int:
                raise ValueError(f"point {point.number} has not what varies")
        return self

    def values(self, point: Point) -> Layer:
        """A point's whole config."""
        return merge_layers(
            [Layer(self.base), layer_from_values(nested(point.settings), f"point {point.number}")]
        )

    def run_name(self, point: Point) -> str:
        """The suffix of its run's folder."""
        return f"{self.name}-{point.number:0{len(str(len(self.points)))}}"

    def member(self, point: Point) -> SweepMembership:
        """What its run's record says."""
        return SweepMembership(id=self.id, name=self.name, point=point.number)

    def settings(self, run: StoredRun) -> dict[str, Any]:
        """What of a run's config is its point's own."""
        member = run.record.sweep
        assert member is not None  # it is one of this sweep's
        return self.points[member.point - 1].settings

    @cached_property
    def configs(self) -> list[list[Point]]:
        """The points by config: those of each differ by the seed alone."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            own = {key: value for key, value in point.settings.items() if key != SEED}
            found.setdefault(repr(own), []).append(point)
        return list(found.values())


@dataclass(frozen=True)
class Sweep:
    """A plan with the folder that holds it."""

    plan: Plan
    folder: Path
    data_dir: Path | None = None  # as it was said

    @property
    def runs_dir(self) -> Path:
        """Where its runs lie."""
        return self.folder.parents[1]

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        here = self.runs_dir == run_context.runs_dir()
        name = self.plan.name if here else str(self.folder)
        words = ["dlrun", "sweep", "--resume", name]
        return shlex.join([*words, *(["--data-dir", str(self.data_dir)] if self.data_dir else [])])


def make_plan(
    name: str,
    experiment: str,
    configs: Sequence[Mapping[str, Any]],
    settings: Sequence[Settings],
    rungs: Sequence[Rung] = (),
    data: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """The plan of points with these configs, which are valid, and settings."""
    own = _varied(configs, settings)
    package = registry.entry(experiment).package
    begun = environment.describe_environment(package)
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
        base=dict(configs[0]),
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
    """Write it, on disk before this returns. Raises ConfigError where there is one, OSError."""
    check_new(folder.path)
    write_checksummed(folder, PLAN, plan)
    return Sweep(plan, folder.path)


def read_plan(folder: Path) -> Sweep:
    """A sweep's plan. Raises DlrunError where it is missing, damaged or a newer dlrun's."""
    return Sweep(read_checksummed(Plan, folder / PLAN, FORMAT), folder)


def check_causes(planned: Sweep) -> None:
    """Raises DlrunError where code or packages are not those that the sweep began with."""
    plan = planned.plan
    others = [
        f"{name} {plan.packages.get(name)} then, {here} now"
        for name, here in environment.versions().items()
        if plan.packages.get(name) != here
    ]
    if plan.code != environment.code_version(registry.entry(plan.experiment).package):
        others.insert(0, "another version of the code that computes")
    if others:
        raise DlrunError(
            f"{planned.folder}: its runs would not be comparable: {'; '.join(others)}",
            "begin a new sweep, or go on all the same with --force",
        )


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return found
