"""Plan a sweep: validate the config of every run, and describe the sweep in sweep.json."""

import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from dlrun.config import yaml_loader
from dlrun.config.data_sections import FOLD, FOLDS, TARGET_KEYS
from dlrun.config.sections import EPOCHS, ExperimentConfig, PositiveInt
from dlrun.config.validation import InvalidConfigError
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys, format_settings_briefly
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, resolve_data_dir
from dlrun.run_folder import environment
from dlrun.run_folder.folder import PLAIN_NAME, PLAN
from dlrun.run_folder.record import (
    SPLIT_SEED,
    ChecksummedModel,
    SweepMembership,
    read_checksummed_json,
)
from dlrun.runs.start import (
    check_callbacks_and_loggers,
    check_run_can_start,
    merge_experiment_config,
    validate_config,
)
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, Space, settings_at_ends
from dlrun.system.console import Screen, pluralize

FORMAT = 1
REPEATS = (SEED, FOLD)  # keys in which the runs of one config differ
VALIDATED = "trainer.check_val_every_n_epoch"
ERRORS_SHOWN = 20


class SweepPoint(BaseModel, frozen=True):
    """Represents one planned run of a sweep: its number, from 1, and its values by config key."""

    number: int
    settings: Settings

    @property
    def config(self) -> Settings:
        """Return the point's settings without its seed and its fold."""
        return {key: value for key, value in self.settings.items() if key not in REPEATS}

    @property
    def label(self) -> str:
        """Return the point's settings as short text, such as `lr=0.01 seed=3 fold=2`."""
        repeat = {key: one for key, one in self.settings.items() if key in REPEATS}
        texts = map(format_settings_briefly, (self.config, repeat))
        return " ".join(filter(None, texts))


class HalvingRung(BaseModel, frozen=True):
    """Says how many configs one rung of successive halving trains, and to how many epochs."""

    configs: PositiveInt
    epochs: PositiveInt

    def __str__(self) -> str:
        return f"{pluralize(self.configs, 'config')} to {pluralize(self.epochs, 'epoch')}"


class AdaptiveSearch(BaseModel, frozen=True):
    """Says how Optuna's study chooses the configs of a sweep, each after the results so far."""

    trials: PositiveInt  # how many configs it chooses
    spaces: list[Space]
    seed: int  # seed of the choices
    repeats: list[Settings]  # seed and fold of each config's runs


class SweepPlan(ChecksummedModel):
    """Holds the plan of a sweep, which is the content of sweep.json."""

    id: str
    name: Annotated[str, Field(pattern=f"^{PLAIN_NAME.pattern}$")]  # name in the folders' names
    experiment: str
    started: str
    command: list[str]
    dlrun: str
    code: str
    packages: dict[str, str | None]
    base: Settings  # the whole config that all points share
    keys: list[str]  # keys that vary, except the seed and the fold
    points: list[SweepPoint]  # all points but those that a search will choose
    search: AdaptiveSearch | None = None
    rungs: list[HalvingRung]  # rungs of successive halving
    data: dict[str, str] = Field(default_factory=dict)  # SHA-256 of a reproduction's files
    note: str = ""  # note with which its runs begin
    tags: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_numbers(self) -> "SweepPlan":
        """Check that each point's number is its place in the list."""
        if [point.number for point in self.points] != list(range(1, len(self.points) + 1)):
            raise ValueError("the points are not numbered from 1")
        return self

    @property
    def size(self) -> int:
        """Return the number of points, with those that a search will choose."""
        search = self.search
        return search.trials * len(search.repeats) if search else len(self.points)

    @property
    def configs(self) -> list[list[SweepPoint]]:
        """Return the points by config: those of a group differ only in their seed and fold."""
        groups: dict[str, list[SweepPoint]] = {}
        for point in self.points:
            groups.setdefault(repr(point.config), []).append(point)
        return list(groups.values())

    def add_config(self, settings: Settings) -> list[SweepPoint]:
        """Add the points of a config that a search has chosen, one for each run; return them."""
        assert self.search is not None
        first = len(self.points) + 1
        added = [
            SweepPoint(number=number, settings=settings | repeat)
            for number, repeat in enumerate(self.search.repeats, start=first)
        ]
        self.points.extend(added)
        return added

    def validate_points(self) -> list[ExperimentConfig]:
        """Return the config of each point; of a search, those at the ends of its spaces."""
        points = [point.settings for point in self.points]
        if self.search is not None:
            points = settings_at_ends(self.search.spaces)
        base = ConfigLayer(self.base)
        return [validate_config(self.experiment, _with_settings(base, one)) for one in points]

    def values(self, point: SweepPoint, epochs: int | None = None) -> ConfigLayer:
        """Return the whole config of a point, with `epochs` as its number of epochs if given."""
        rung = {} if epochs is None else {EPOCHS: epochs}
        return _with_settings(ConfigLayer(self.base), point.settings | rung)

    def run_settings(
        self, point: SweepPoint, common: RunSettings, epochs: int | None = None
    ) -> RunSettings:
        """Return the options to run a point, to `epochs` epochs if given, from those of all."""
        digits = len(str(self.size))
        return replace(
            common,
            values=[self.values(point, epochs)],
            name=f"{self.name}-{point.number:0{digits}}",
            note=self.note,
            tags=self.tags,
            sweep=SweepMembership(id=self.id, name=self.name, point=point.number),
        )


def repeat_of(settings: Settings) -> tuple[object, ...]:
    """Return the seed and the fold of settings by dotted keys; None for what they lack."""
    return tuple(settings.get(key) for key in REPEATS)


def make_sweep_plan(
    name: str,
    experiment: str,
    options: RunSettings,
    search: SearchSpace,
    screen: Screen,
    *,
    eta: int | None = None,
    here: bool = True,
) -> SweepPlan:
    """Return the plan of a sweep, after validating the config of every planned run.

    `options` are those of a single run, `eta` is the factor of successive halving, and with `here`
    the runs use this machine's devices. Raises ConfigError for an invalid text, or with all errors
    of all points.
    """
    base = merge_experiment_config(experiment, options)
    config_seed = flatten_keys(base.values).get(SEED)
    seed = config_seed if isinstance(config_seed, int) else 0
    if not (search.seeds or search.folds or search.grid or search.spaces):
        _validate(experiment, base, [{}], options, here=here)  # as of a list for one value
    points = search.points(seed)
    set_here = [*points[0]]
    if search.folds is not None:
        base = _with_folds(experiment, base, search.folds, seed)
        set_here.append(FOLDS)
    for text in options.overrides:
        for given in flatten_keys(yaml_loader.parse_set_override(text).values):
            for key in set_here:
                if f"{given}.".startswith(f"{key}."):
                    raise ConfigError(f"{text}: {key} varies in this sweep", "leave one out")
    configs = _validate(experiment, base, points, options, here=here)
    dumps = [config.model_dump(mode="json") for config in configs]  # with paths made absolute
    flat = [flatten_keys(dump) for dump in dumps]
    names = dict.fromkeys(key for values in flat for key in values)
    texts = {key: {repr(values.get(key, ...)) for values in flat} for key in names}
    keys = [key for key in names if len(texts[key]) > 1 or key in points[0]]
    if targets := [key for key in TARGET_KEYS if key in keys]:
        problem = f"{targets[0]} varies, and results for different targets cannot be compared"
        raise ConfigError(problem, "start a sweep for each")
    # Points with equal settings and seeds are merged into one.
    settings = ({key: values[key] for key in keys if key in values} for values in flat)
    varied = list({repr(one): one for one in settings}.values())
    adaptive = None
    if search.sampler == "tpe":
        adaptive, varied = _adaptive_search(search, seed, flat), []
        keys = [space.key for space in adaptive.spaces]
    elif len(varied) < len(points):
        screen.note(f"{len(varied)} of {len(points)} points are distinct; equal ones run once")
    plan = SweepPlan(
        format=FORMAT,
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv,
        dlrun=metadata.version("dlrun"),
        code=environment.code_version(registry.experiment_entry(experiment).package),
        packages=environment.package_versions(["optuna"] if adaptive else []),
        base=dumps[0],
        keys=[key for key in keys if key not in REPEATS],
        points=[SweepPoint(number=n, settings=one) for n, one in enumerate(varied, start=1)],
        search=adaptive,
        rungs=[],
        note=options.note,
        tags=list(options.tags),
    )
    if here and not options.dry_run:
        check_callbacks_and_loggers(configs[0])
        dataset = registry.experiment_dataset(experiment)
        if search.folds is not None and dataset:  # data that cannot be divided are one error
            section, data_dir = configs[0].data_section, resolve_data_dir(options.data_dir)
            dataset.load(section, data_dir, configs[0].split_seed, Screen(quiet=True))
    if eta is None:
        return plan
    return plan.model_copy(update={"rungs": _plan_rungs(plan, configs, flat, eta)})


def _plan_rungs(
    plan: SweepPlan, configs: Sequence[ExperimentConfig], flat: Sequence[Settings], eta: int
) -> list[HalvingRung]:
    """Return the rungs of a plan with these configs; raise ConfigError if it cannot have any."""
    if plan.search is not None:
        raise ConfigError("--halving: not with --sampler tpe", "leave one out")
    if EPOCHS in plan.keys:
        raise ConfigError(f"--halving: {EPOCHS} varies itself", "leave one out")
    pairs = zip(configs, flat, strict=True)
    if any({EPOCHS} & one.keys() - config.changeable_by_resume(one) for config, one in pairs):
        raise ConfigError(
            f"--halving: it raises {EPOCHS}, and a schedule of the learning rate depends on this",
            "another scheduler.name, or without --halving",
        )
    rungs = halving_rungs(len(plan.configs), flat[0].get(EPOCHS), eta)
    first, validated = rungs[0].epochs, max(one.get(VALIDATED, 1) for one in flat)
    if first < validated:
        raise ConfigError(
            f"--halving: the first rung ends after {pluralize(first, 'epoch')}, but the first "
            f"validation is after epoch {validated} ({VALIDATED})",
            f"a smaller {VALIDATED}, or without --halving",
        )
    return rungs


def _adaptive_search(
    search: SearchSpace, config_seed: int, at_ends: Sequence[Settings]
) -> AdaptiveSearch:
    """Return the search of a plan; `at_ends` are the valid configs at the ends of its spaces.

    Choices are as in the valid configs, such as absolute paths. Ends of ranges stay as they were
    given: in a valid config whole numbers may be floats.
    """
    configs, spaces = iter(at_ends), []
    for space in search.parse_spaces():
        values = [next(configs)[space.key] for _ in space.values]
        is_choice = space.kind == "choice"
        spaces.append(space.model_copy(update={"values": values}) if is_choice else space)
    assert search.trials is not None
    return AdaptiveSearch(
        trials=search.trials,
        spaces=spaces,
        seed=search.draws_seed(config_seed),
        repeats=search.repeats,
    )


def _with_folds(experiment: str, base: ConfigLayer, folds: int, seed: int) -> ConfigLayer:
    """Return a config with a number of folds, each of which has the same rows for all seeds.

    `seed` divides the rows if the config has no seed for this. Raises ConfigError if the experiment
    has no folds.
    """
    if FOLDS not in registry.shipped_values(experiment):
        raise ConfigError(
            f"--folds: {experiment} has no key {FOLDS}",
            "its test rows are given, or are later than those to fit; --seeds repeats a run",
        )
    settings: Settings = {FOLDS: folds}
    if flatten_keys(base.values).get(SPLIT_SEED) is None:
        settings[SPLIT_SEED] = seed
    return _with_settings(base, settings)


def _validate(
    experiment: str,
    base: ConfigLayer,
    points: Sequence[Settings],
    options: RunSettings,
    *,
    here: bool,
) -> list[ExperimentConfig]:
    """Return the configs of all points. Raises ConfigError with every error of every point."""
    configs: list[ExperimentConfig] = []
    errors: dict[str, list[int]] = {}
    hint = ""
    for number, settings in enumerate(points, start=1):
        try:
            config = validate_config(experiment, _with_settings(base, settings))
            if config.world != 1:
                raise ConfigError(
                    "trainer.devices, trainer.num_nodes: a point is one process",
                    "--set trainer.devices=1; `dlrun EXPERIMENT` runs several processes",
                )
            check_run_can_start(experiment, config, options, here=here)
            configs.append(config)
        except DlrunError as error:
            hint = hint or error.hint
            texts = error.problems if isinstance(error, InvalidConfigError) else [error.message]
            for text in texts:
                errors.setdefault(text, []).append(number)
    lines = []
    for text, numbers in errors.items():
        some = f" ({len(numbers)} of {len(points)} points, the first is {numbers[0]})"
        lines.append(text + (some if len(numbers) < len(points) else ""))
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} errors in the sweep:")
    if lines:
        raise ConfigError("\n  ".join(lines[: ERRORS_SHOWN + 1]), hint)
    return configs


def _with_settings(base: ConfigLayer, settings: Settings) -> ConfigLayer:
    """Return a config with settings by dotted keys, which errors name as `KEY=VALUE`."""
    layers = [
        yaml_loader.config_layer_of_setting(key, one, f"{key}={one}")
        for key, one in settings.items()
    ]
    return yaml_loader.merge_config_layers([base, *layers])


def halving_rungs(configs: int, epochs: int | None, eta: int) -> list[HalvingRung]:
    """Return the rungs of a sweep by successive halving (Jamieson & Talwalkar, arXiv:1502.07943).

    All configs are trained for a few epochs; the best one in `eta` is trained for `eta` times as
    many, and so on, the last to all epochs. Raises ConfigError for too few configs or epochs.
    """
    if epochs is None:
        raise ConfigError("--halving: this experiment has no epochs", "leave it out")
    cuts = 0
    while eta ** (cuts + 1) <= min(configs, epochs):
        cuts += 1
    if cuts == 0:
        raise ConfigError(
            f"--halving: {configs} configs of {epochs} epochs leave nothing to cut by {eta}",
            "more configs and epochs, or without --halving",
        )
    return [
        HalvingRung(configs=configs // eta**cut, epochs=epochs // eta ** (cuts - cut))
        for cut in range(cuts + 1)
    ]


def read_sweep_plan(folder: Path, *, force: bool = False) -> SweepPlan:
    """Read the plan of a sweep from its folder.

    Raises DlrunError if sweep.json is missing or damaged, or, without `force`, if code or packages
    have changed since the sweep began.
    """
    plan = read_checksummed_json(SweepPlan, folder / PLAN, FORMAT)
    if force:
        return plan
    package = registry.experiment_entry(plan.experiment).package
    changed = environment.describe_environment_changes(plan.code, plan.packages, package)
    if changed:
        raise DlrunError(
            f"{folder}: its runs would not be comparable: {'; '.join(changed)}",
            "start a new sweep, or continue with --force",
        )
    return plan
