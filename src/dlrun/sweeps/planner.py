"""Plan a sweep: list its points, and validate the config of every one before anything begins."""

import sys
import uuid
from collections.abc import Iterable, Sequence

from dlrun.config.data_sections import FOLDS, SPLIT_SEED, DataConfig, keys_that_choose_rows
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys, format_setting
from dlrun.errors import ConfigError, ErrorCollector
from dlrun.experiments.checks import check_run_can_start, merge_experiment_config
from dlrun.experiments.experiment import AnyExperiment
from dlrun.runs import environment
from dlrun.runs.groups import varied_keys
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.sweeps.place import Place
from dlrun.sweeps.search_space import SEED, AdaptiveSearch, SearchSpace, Settings
from dlrun.sweeps.sweep_plan import REPEATS, SweepPlan, add_settings, hash_data_files
from dlrun.system.console import Screen

ERRORS_SHOWN = 20


def make_sweep_plan(
    name: str,
    experiment: AnyExperiment,
    run_options: RunOptions,
    search_space: SearchSpace,
    screen: Screen,
    place: Place,
) -> SweepPlan:
    """The configs of all planned runs are validated before there is a plan.

    `run_options` are the options of a single run. Raises ConfigError for an invalid `--set` or
    KEY=VALUES text, or with all errors of all points.
    """
    base = merge_experiment_config(experiment, run_options)
    base_seed = flatten_keys(base.values).get(SEED)
    seed = base_seed if isinstance(base_seed, int) else 0
    layers, searched_keys = _planned_layers(experiment, base, search_space, seed, run_options)
    configs = _validate_points(experiment, layers, run_options, place)
    adaptive = search_space.adaptive_search(seed)
    keys, points = _keys_and_points(configs, searched_keys, adaptive, screen)
    if adaptive is not None:
        _refuse_search_of_rows(experiment, keys)
    if search_space.folds is not None and place.is_local and not run_options.dry_run:
        _check_folds(experiment, configs, run_options)
    plan = SweepPlan(
        id=uuid.uuid4().hex,
        name=name,
        experiment=experiment,
        command=sys.argv[1:] if run_options.screen is None else [],
        code=environment.code_hashes(experiment.package),
        packages=environment.package_versions(["optuna"] if adaptive else []),
        base=configs[0].model_dump(mode="json"),  # every point sets all keys that vary
        keys=[key for key in keys if key not in REPEATS],
        points=(),
        search=adaptive,
        data=tuple(hash_data_files(experiment, configs, run_options.data_dir)),
        notes=run_options.notes,
    )
    for settings, config in points:
        plan.keep_config(settings, config)
    return plan.with_points(settings for settings, _ in points)


def _planned_layers(
    experiment: AnyExperiment,
    base: ConfigLayer,
    search_space: SearchSpace,
    seed: int,
    run_options: RunOptions,
) -> tuple[list[ConfigLayer], list[str]]:
    """Each point has a config, which is not yet validated; all points set the same keys."""
    point_settings = search_space.points(seed)  # with the sampler tpe only the spaces' ends
    searched_keys = [*point_settings[0]]
    keys_not_to_override = searched_keys
    if search_space.folds is not None:
        base = _with_folds(experiment, base, search_space.folds, seed)
        keys_not_to_override = [*searched_keys, FOLDS]
    _refuse_values_of(keys_not_to_override, run_options)
    return [add_settings(base, settings) for settings in point_settings], searched_keys


def _with_folds(experiment: AnyExperiment, base: ConfigLayer, folds: int, seed: int) -> ConfigLayer:
    """The folds of the config have the same rows for all seeds.

    `seed` divides the rows if the config has no seed for this. Raises ConfigError if the experiment
    has no folds.
    """
    if FOLDS not in experiment.shipped.values:
        raise ConfigError(
            f"--folds: {experiment.name} has no key {FOLDS}",
            "its test rows are given, or are later than those to fit; --seeds repeats a run",
        )
    settings: Settings = {FOLDS: folds}
    if flatten_keys(base.values).get(SPLIT_SEED) is None:
        settings[SPLIT_SEED] = seed
    return add_settings(base, settings)


def _refuse_values_of(keys: Sequence[str], run_options: RunOptions) -> None:
    """Raise ConfigError if a value that all runs share is of a varied key, or in a varied section.

    A value in a YAML file, of which it may be one of many, is only replaced.
    """
    for layer in run_options.values:
        for set_key, value in flatten_keys(layer.values).items():
            for key in keys:
                if f"{set_key}.".startswith(f"{key}."):
                    text = f"{set_key}={format_setting(value)}"
                    raise ConfigError(f"{text}: {key} varies in this sweep", "leave one out")


def _validate_points(
    experiment: AnyExperiment,
    layers: Iterable[ConfigLayer],
    run_options: RunOptions,
    place: Place,
) -> list[ExperimentConfig]:
    """Raise ConfigError with the errors of all points, or return their valid configs."""
    configs: list[ExperimentConfig] = []
    collector = ErrorCollector()
    checked_sections = set[str]()
    for layer in layers:
        with collector.collected():
            config = experiment.validate(layer)
            section = repr(experiment.data and experiment.data_section(config))
            is_new = section not in checked_sections  # the files of equal sections are read once
            checked_sections.add(section)
            check_run_can_start(
                experiment, config, run_options, is_local=place.is_local, reads_data=is_new
            )
            configs.append(config)
    collector.raise_all(" in the sweep", ERRORS_SHOWN)
    return configs


def _keys_and_points(
    configs: Sequence[ExperimentConfig],
    searched_keys: Sequence[str],
    adaptive: AdaptiveSearch | None,
    screen: Screen,
) -> tuple[list[str], list[tuple[Settings, ExperimentConfig]]]:
    """The keys vary or are searched; each distinct point has its settings and its config."""
    if adaptive is not None:  # adds its points later: each depends on the results of earlier ones
        return [space.key for space in adaptive.spaces], []
    # The valid configs have absolute paths, and their numbers have the types of their keys.
    flat_configs = [flatten_keys(config.model_dump(mode="json")) for config in configs]
    searched = [key for key in searched_keys if key in flat_configs[0]]
    keys = [*dict.fromkeys([*varied_keys(flat_configs), *searched])]
    points = ({key: flat[key] for key in keys if key in flat} for flat in flat_configs)
    pairs = zip(points, configs, strict=True)
    distinct = list({repr(settings): (settings, config) for settings, config in pairs}.values())
    if len(distinct) < len(configs):
        counts = f"{len(distinct)} of {len(configs)}"
        screen.note(f"{counts} points are distinct; equal ones run once")
    return keys, distinct


def _refuse_search_of_rows(experiment: AnyExperiment, keys: Iterable[str]) -> None:
    """Raise ConfigError if a search would choose which rows are used: it compares results."""
    if chosen := keys_that_choose_rows(experiment.config, keys):
        problem = f"{chosen[0]}: --sampler tpe compares results, which need the same rows"
        raise ConfigError(problem, f"leave out {chosen[0]}, or --sampler")


def _check_folds(
    experiment: AnyExperiment, configs: Sequence[ExperimentConfig], run_options: RunOptions
) -> None:
    """Load the data, which raises DlrunError if they cannot be divided into `folds` parts."""
    if experiment.data is None:
        return
    data_dir = resolve_data_dir(run_options.data_dir)
    distinct: dict[str, tuple[DataConfig, int]] = {}  # nearly always one
    for config in configs:
        section = experiment.data_section(config)
        key = f"{section.model_dump(exclude={'fold'})} {config.split_seed}"
        distinct[key] = section, config.split_seed
    for section, seed in distinct.values():
        experiment.data.load(section, data_dir, seed, Screen(quiet=True))
