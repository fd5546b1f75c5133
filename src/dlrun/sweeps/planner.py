"""Plan a sweep: list its points, and validate the config of every one before anything begins."""

import sys
import uuid
from collections.abc import Collection, Iterable, Sequence

from dlrun.config.data_sections import DATA_KEYS, FOLDS
from dlrun.config.sections import DATA_PLACES, ExperimentConfig
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys, parse_set_override
from dlrun.errors import ConfigError, Faults
from dlrun.execution.checks import check_run_can_start, merge_experiment_config, validate_config
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, resolve_data_dir
from dlrun.run_folder import environment
from dlrun.run_folder.record import SPLIT_SEED
from dlrun.sweeps.plan_file import (
    FORMAT,
    REPEATS,
    AdaptiveSearch,
    SweepPlan,
    data_digests,
    with_settings,
)
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings
from dlrun.system.console import Screen

ERRORS_SHOWN = 20


def make_sweep_plan(
    name: str,
    experiment: str,
    run_settings: RunSettings,
    search: SearchSpace,
    screen: Screen,
    *,
    here: bool = True,
) -> SweepPlan:
    """Return the plan of a sweep, after validating the config of every planned run.

    `run_settings` are the options of a single run; `here`: the runs use this machine's devices.
    Raises ConfigError for an invalid `--set` or KEY=VALUES text, or with all errors of all points.
    """
    seed, searched_keys, configs = _validate_points(experiment, run_settings, search, here=here)
    adaptive = _adaptive_search(search, seed)
    if adaptive is None:
        keys, distinct_settings = _varied_keys_and_points(configs, searched_keys, screen)
    else:  # the sweep adds its points later: each depends on the results of earlier ones
        keys = [space.key for space in adaptive.spaces]
        distinct_settings = []
    _refuse_different_data(keys)
    if search.folds is not None and here and not run_settings.dry_run:
        _check_folds(experiment, configs[0], run_settings)
    plan = SweepPlan(
        format=FORMAT,
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        command=sys.argv[1:] if run_settings.screen is None else [],
        code=environment.code_hashes(registry.experiment_entry(experiment).package),
        packages=environment.package_versions(["optuna"] if adaptive else []),
        base=configs[0].model_dump(mode="json"),
        keys=[key for key in keys if key not in REPEATS],
        points=[],
        search=adaptive,
        data=data_digests(experiment, configs[0], run_settings.data_dir),
        note=run_settings.note,
        tags=list(run_settings.tags),
    )
    plan.add_points(distinct_settings)
    return plan


def _validate_points(
    experiment: str, run_settings: RunSettings, search: SearchSpace, *, here: bool
) -> tuple[int, list[str], list[ExperimentConfig]]:
    """Return the seed of the search, the keys that it searches, and the config of every point."""
    base = merge_experiment_config(experiment, run_settings)
    config_seed = flatten_keys(base.values).get(SEED)
    seed = config_seed if isinstance(config_seed, int) else 0
    point_settings = search.points(seed)
    searched_keys = [*point_settings[0]]
    varied_keys = searched_keys
    if search.folds is not None:
        base = _with_folds(experiment, base, search.folds, seed)
        varied_keys = [*searched_keys, FOLDS]
    _refuse_settings_of_varied_keys(run_settings.overrides, varied_keys)
    configs: list[ExperimentConfig] = []
    errors = Faults()
    checked_sections = set[str]()
    for settings in point_settings:
        with errors.collected():
            config = validate_config(experiment, with_settings(base, settings))
            section = repr(config.data_section)
            is_new = section not in checked_sections  # the files of equal sections are read once
            checked_sections.add(section)
            check_run_can_start(experiment, config, run_settings, here=here, reads_data=is_new)
            configs.append(config)
    errors.raise_all(" in the sweep", ERRORS_SHOWN)
    return seed, searched_keys, configs


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


def _check_folds(experiment: str, config: ExperimentConfig, run_settings: RunSettings) -> None:
    """Load the data, which raises DlrunError if they cannot be divided into `folds` parts."""
    if (dataset := registry.experiment_dataset(experiment)) is not None:
        data_dir = resolve_data_dir(run_settings.data_dir)
        dataset.load(config.data_section, data_dir, config.split_seed, Screen(quiet=True))


def _varied_keys_and_points(
    configs: Sequence[ExperimentConfig], searched_keys: Collection[str], screen: Screen
) -> tuple[list[str], list[Settings]]:
    """Return the keys in which configs differ or that are searched, and each distinct config."""
    # The valid configs have absolute paths, and their numbers have the types of their keys.
    flat_configs = [flatten_keys(config.model_dump(mode="json")) for config in configs]
    all_keys = dict.fromkeys(key for flat in flat_configs for key in flat)
    # `...` stands for a missing key.
    texts_by_key = {key: {repr(flat.get(key, ...)) for flat in flat_configs} for key in all_keys}
    keys = [key for key in all_keys if len(texts_by_key[key]) > 1 or key in searched_keys]
    points = ({key: flat[key] for key in keys if key in flat} for flat in flat_configs)
    distinct = list({repr(point): point for point in points}.values())
    if len(distinct) < len(configs):
        counts = f"{len(distinct)} of {len(configs)}"
        screen.note(f"{counts} points are distinct; equal ones run once")
    return keys, distinct


def _refuse_settings_of_varied_keys(overrides: Sequence[str], varied: Sequence[str]) -> None:
    """Raise ConfigError if a `--set` text sets a key that varies, or a section with such a key."""
    for text in overrides:
        for set_key in flatten_keys(parse_set_override(text).values):
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
    return with_settings(base, settings)
