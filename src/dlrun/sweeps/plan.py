"""Plan a sweep: validate the config of every run; keep the plan in a folder, and find its runs."""

import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from dlrun.config import yaml_loader
from dlrun.config.data_sections import DATA_KEYS, FOLD, FOLDS
from dlrun.config.sections import DATA_PLACES, ExperimentConfig, PositiveInt
from dlrun.config.yaml_loader import (
    ConfigLayer,
    config_layer_without_file,
    flatten_keys,
    format_settings_briefly,
)
from dlrun.errors import ConfigError, DataError, DlrunError, Faults
from dlrun.execution.checks import (
    check_run_can_start,
    merge_experiment_config,
    validate_config,
    validate_valid_sections,
)
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, resolve_data_dir
from dlrun.run_folder import environment
from dlrun.run_folder.folder import PLAIN_NAME, PLAN, SWEEPS
from dlrun.run_folder.record import (
    SPLIT_SEED,
    ChecksummedModel,
    SweepMembership,
    read_checksummed_json,
)
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, Space, settings_at_ends
from dlrun.system.console import Screen
from dlrun.system.files import file_digest

FORMAT = 1
REPEATS = (SEED, FOLD)  # keys in which the runs of one config differ
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
        repeat = {key: value for key, value in self.settings.items() if key in REPEATS}
        return f"{format_settings_briefly(self.config)} {format_settings_briefly(repeat)}".strip()


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
    command: list[str]  # the words after `dlrun`; none if it was begun in Python
    dlrun: str
    code: str
    packages: dict[str, str | None]
    base: Settings  # the whole config that all points share
    keys: list[str]  # keys that vary, except the seed and the fold
    points: list[SweepPoint]  # all but those that a search has not chosen yet
    search: AdaptiveSearch | None = None
    choices: list[int] = Field(default_factory=list)  # places in `configs` of what it has chosen
    data: dict[str, str] = Field(default_factory=dict)  # hashes of the files of the data
    note: str = ""  # note with which its runs begin
    tags: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_numbers(self) -> "SweepPlan":
        if [point.number for point in self.points] != list(range(1, len(self.points) + 1)):
            raise ValueError("the points are not numbered from 1")
        return self

    @property
    def size(self) -> int:
        """Return the number of points, with those that a search will choose."""
        search = self.search
        return search.trials * len(search.repeats) if search else len(self.points)

    @property
    def base_layer(self) -> ConfigLayer:
        """Return the config that all points share; errors name the file of the plan."""
        return config_layer_without_file(self.base, f"{SWEEPS}/{self.name}/{PLAN}")

    @property
    def configs(self) -> list[list[SweepPoint]]:
        """Return the points by config: those of a group differ only in their seed and fold."""
        groups: dict[str, list[SweepPoint]] = {}
        for point in self.points:
            groups.setdefault(repr(point.config), []).append(point)
        return list(groups.values())

    @property
    def runs_to_choose(self) -> int:
        """Return the number of runs whose configs a search has not chosen yet."""
        search = self.search
        return (search.trials - len(self.choices)) * len(search.repeats) if search else 0

    def add_choice(self, settings: Settings) -> list[SweepPoint]:
        """Add the points of a config that a search has chosen; return them, none if it is known."""
        assert self.search is not None
        known = [repr(points[0].config) for points in self.configs]
        if repr(settings) in known:
            self.choices.append(known.index(repr(settings)))
            return []
        self.choices.append(len(known))
        return self.add_points(settings | repeat for repeat in self.search.repeats)

    def add_points(self, settings: Iterable[Settings]) -> list[SweepPoint]:
        """Add a point with each of the settings, and return these points."""
        numbered = enumerate(settings, start=len(self.points) + 1)
        added = [SweepPoint(number=number, settings=values) for number, values in numbered]
        self.points.extend(added)
        return added

    def validate_points(self) -> list[ExperimentConfig]:
        """Return the config of each point; of a search, also those at the ends of its spaces."""
        points = [point.settings for point in self.points]
        if self.search is not None:
            ends = settings_at_ends(self.search.spaces)
            points += [end | repeat for end in ends for repeat in self.search.repeats]
        layers = (_with_settings(self.base_layer, settings) for settings in points)
        return [validate_config(self.experiment, layer) for layer in layers]

    def check_data_unchanged(self, folder: Path, data_dir: Path | None) -> None:
        """Raise DataError if a file of the data has changed since the sweep was planned."""
        now = data_digests(self.experiment, self.validate_points()[0], data_dir)
        for file, digest in self.data.items():
            if now.get(file, digest) != digest:
                name = file.partition(" ")[2]
                problem = f"{folder}: its runs would not be comparable: {name} has changed"
                raise DataError(problem, "put the data back, or start a new sweep")

    def run_settings(self, point: SweepPoint, common: RunSettings) -> RunSettings:
        """Return the options to run a point, from those of all points."""
        digits = len(str(self.size))
        return replace(
            common,
            values=[_with_settings(self.base_layer, point.settings)],
            name=f"{self.name}-{point.number:0{digits}}",
            note=self.note,
            tags=self.tags,
            sweep=SweepMembership(id=self.id, name=self.name, point=point.number),
        )


def make_sweep_plan(
    name: str,
    experiment: str,
    options: RunSettings,
    search: SearchSpace,
    screen: Screen,
    *,
    here: bool = True,
) -> SweepPlan:
    """Return the plan of a sweep, after validating the config of every planned run.

    `options` are those of a single run; with `here` the runs use this machine's devices. Raises
    ConfigError for an invalid text, or with all errors of all points.
    """
    base = merge_experiment_config(experiment, options)
    config_seed = flatten_keys(base.values).get(SEED)
    seed = config_seed if isinstance(config_seed, int) else 0
    points = search.points(seed)
    varied = [*points[0]]
    if search.folds is not None:
        base = _with_folds(experiment, base, search.folds, seed)
        varied.append(FOLDS)
    _refuse_settings_of_varied_keys(options.overrides, varied)
    configs = _validate(experiment, base, points, options, here=here)
    adaptive = _adaptive_search(search, seed)
    if adaptive is not None:
        keys = [space.key for space in adaptive.spaces]
        distinct = list[Settings]()
    else:
        keys, distinct = _distinct_points(configs, points[0])
        if len(distinct) < len(points):
            counts = f"{len(distinct)} of {len(points)}"
            screen.note(f"{counts} points are distinct; equal ones run once")
    _refuse_different_data(keys)
    if here and search.folds is not None and not options.dry_run:
        _check_folds(experiment, configs[0], options)
    plan = SweepPlan(
        format=FORMAT,
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=sys.argv[1:] if options.screen is None else [],
        dlrun=metadata.version("dlrun"),
        code=environment.code_version(registry.experiment_entry(experiment).package),
        packages=environment.package_versions(["optuna"] if adaptive else []),
        base=configs[0].model_dump(mode="json"),
        keys=[key for key in keys if key not in REPEATS],
        points=[],
        search=adaptive,
        data=data_digests(experiment, configs[0], options.data_dir),
        note=options.note,
        tags=list(options.tags),
    )
    plan.add_points(distinct)
    return plan


def _adaptive_search(search: SearchSpace, seed: int) -> AdaptiveSearch | None:
    """Return how a study chooses the configs one after the other; None: all are known before."""
    if search.sampler != "tpe" or search.trials is None:
        return None
    return AdaptiveSearch(
        trials=search.trials, spaces=search.parse_spaces(), seed=seed, repeats=search.repeats
    )


def _refuse_different_data(keys: Iterable[str]) -> None:
    """Raise ConfigError if a key varies on which the data depend."""
    if data_keys := sorted({*keys} & (DATA_PLACES | DATA_KEYS)):
        problem = f"{data_keys[0]} varies, and results on different data cannot be compared"
        raise ConfigError(problem, "start a sweep for each")


def _check_folds(experiment: str, config: ExperimentConfig, options: RunSettings) -> None:
    """Raise DlrunError if the data cannot be divided into as many folds; load them to see."""
    if (dataset := registry.experiment_dataset(experiment)) is not None:
        data_dir = resolve_data_dir(options.data_dir)
        dataset.load(config.data_section, data_dir, config.split_seed, Screen(quiet=True))


def data_digests(name: str, config: ExperimentConfig, data_dir: Path | None) -> dict[str, str]:
    """Return a hash of each file of an experiment's data that this machine has."""
    folder = resolve_data_dir(data_dir)
    if (dataset := registry.experiment_dataset(name)) is not None:
        return dataset.digests(config.data_section, folder)
    files = enumerate(config.data_files(folder), start=1)
    return {f"{number} {file.name}": file_digest(file) for number, file in files}


def _distinct_points(
    configs: Sequence[ExperimentConfig], first: Settings
) -> tuple[list[str], list[Settings]]:
    """Return the keys in which configs differ, or that `first` has, and each distinct config."""
    # The valid configs have absolute paths, and their numbers have the types of their keys.
    values = [flatten_keys(config.model_dump(mode="json")) for config in configs]
    names = dict.fromkeys(key for config in values for key in config)
    texts = {name: {repr(config.get(name, ...)) for config in values} for name in names}
    keys = [name for name in names if len(texts[name]) > 1 or name in first]
    settings = ({key: config[key] for key in keys if key in config} for config in values)
    return keys, list({repr(point): point for point in settings}.values())


def _refuse_settings_of_varied_keys(overrides: Sequence[str], varied: Sequence[str]) -> None:
    """Raise ConfigError if a `--set` text sets a key that varies, or a section with such a key."""
    for text in overrides:
        for set_key in flatten_keys(yaml_loader.parse_set_override(text).values):
            for key in varied:
                if f"{set_key}.".startswith(f"{key}."):
                    raise ConfigError(f"{text}: {key} varies in this sweep", "leave one out")


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
    errors = Faults()
    checked = set[str]()
    for settings in points:
        with errors.collected():
            layer = _with_settings(base, settings)
            config, faults = validate_valid_sections(experiment, layer)
            if (data := repr(config.data_section)) in checked:
                faults.sections.add("data")  # the files of equal sections are read once
            checked.add(data)
            check_run_can_start(experiment, config, options, faults, layer=layer, here=here)
            configs.append(config)
    errors.raise_all(" in the sweep", ERRORS_SHOWN)
    return configs


def _with_settings(base: ConfigLayer, settings: Settings) -> ConfigLayer:
    """Return a config with settings by dotted keys, which errors name as `KEY=VALUE`."""
    layers = [
        yaml_loader.config_layer_of_setting(key, value, f"{key}={value}")
        for key, value in settings.items()
    ]
    return yaml_loader.merge_config_layers([base, *layers])


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
