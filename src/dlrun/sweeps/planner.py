"""Plan a sweep: list its points, and validate the config of every one before anything begins."""

import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from dlrun.config.data_sections import FOLDS, SPLIT_SEED, keys_that_choose_rows
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys, format_setting
from dlrun.errors import ConfigError, ErrorCollector, join_errors
from dlrun.experiments.checks import check_run_can_start, merge_experiment_config
from dlrun.experiments.experiment import AnyExperiment
from dlrun.runs import environment
from dlrun.runs.groups import varied_keys
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.sweeps.place import Place
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings
from dlrun.sweeps.sweep_plan import (
    REPEATS,
    ExperimentAndConfig,
    SweepPlan,
    SweptExperiment,
    add_settings,
    hash_data_files,
)
from dlrun.system.console import Screen

ERRORS_SHOWN = 20
IN_SWEEP = " in the sweep"
SHARED_VALUES = "the experiments of a sweep share all values: leave out what one of them lacks"
NO_ARGUMENTS = ConfigLayer({})


class ChosenExperiment(NamedTuple):
    """Holds an experiment that is to be swept, and the config layer of its arguments.

    An argument is such as the path of a table.
    """

    experiment: AnyExperiment
    arguments: ConfigLayer = NO_ARGUMENTS


class _Planned(NamedTuple):
    """Holds a planned run: its experiment, its settings, and its valid config."""

    experiment: AnyExperiment
    settings: Settings
    config: ExperimentConfig


def make_sweep_plan(
    name: str,
    chosen: Sequence[ChosenExperiment],
    run_options: RunOptions,
    search_space: SearchSpace,
    screen: Screen,
    place: Place,
) -> SweepPlan:
    """The configs of all planned runs are validated before there is a plan.

    `run_options` are the options of a single run, which all experiments share. Raises ConfigError
    for an invalid `--set` or KEY=VALUES text, or with all errors of all points.
    """
    bases = _merge_configs(chosen, run_options)
    base_seed = flatten_keys(bases[0].values).get(SEED)
    # The draws and the folds of all experiments are the same.
    seed = base_seed if isinstance(base_seed, int) else 0
    experiments = [experiment for experiment, _ in chosen]
    layers, searched_keys = _planned_layers(experiments, bases, search_space, seed, run_options)
    configs = _validate_points(layers, run_options, place)
    adaptive = search_space.adaptive_search(seed)
    if adaptive is not None:
        keys = [space.key for space in adaptive.spaces]
        _refuse_search(experiments, keys)
        planned: list[_Planned] = []  # each depends on the results of earlier ones
    else:
        keys, planned = _keys_and_points(configs, searched_keys, screen)
    if search_space.folds is not None and place.is_local and not run_options.dry_run:
        _check_folds(configs, run_options)
    plan = SweepPlan(
        id=uuid.uuid4().hex,
        name=name,
        experiments=[
            SweptExperiment(
                experiment=experiment,
                code=environment.code_hashes(experiment.package),
                # Every point sets all keys that vary.
                base=_configs_of(experiment, configs)[0].model_dump(mode="json"),
            )
            for experiment in experiments
        ],
        command=sys.argv[1:] if run_options.screen is None else [],
        packages=environment.package_versions(["optuna"] if adaptive else []),
        keys=[key for key in keys if key not in REPEATS],
        points=(),
        search=adaptive,
        data=tuple(hash_data_files(configs, run_options.data_dir)),
        notes=run_options.notes,
    )
    for experiment, settings, config in planned:
        plan.keep_config(experiment, settings, config)
    plan = plan.with_points((experiment, settings) for experiment, settings, _ in planned)
    return plan if search_space.by is None else plan.choosing_by(search_space.by)


def _configs_of(
    experiment: AnyExperiment, configs: Iterable[ExperimentAndConfig]
) -> list[ExperimentConfig]:
    return [config for owner, config in configs if owner is experiment]


def _merge_configs(
    chosen: Iterable[ChosenExperiment], run_options: RunOptions
) -> list[ConfigLayer]:
    """Each experiment has its shipped config, and the values that all experiments share."""
    bases: list[ConfigLayer] = []
    collectors: dict[str, ErrorCollector] = {}
    for experiment, arguments in chosen:
        options = replace(run_options, values=[*run_options.values, arguments])
        collector = collectors.setdefault(experiment.name, ErrorCollector())
        with collector.collected():
            bases.append(merge_experiment_config(experiment, options))
    _raise_errors(collectors)
    return bases


def _planned_layers(
    experiments: Sequence[AnyExperiment],
    bases: Sequence[ConfigLayer],
    search_space: SearchSpace,
    seed: int,
    run_options: RunOptions,
) -> tuple[list[tuple[AnyExperiment, ConfigLayer]], list[str]]:
    """Each point has a config, which is not yet validated; all points set the same keys."""
    point_settings = search_space.points(seed)  # with the sampler tpe only the spaces' ends
    searched_keys = list(point_settings[0])
    if not searched_keys and len(experiments) == 1:
        hint = "--seeds 5, --folds 5, KEY=A,B, --space KEY=..., several experiments A,B"
        raise ConfigError("nothing varies", hint)
    folds = search_space.folds
    keys_not_to_override = list(searched_keys)
    if folds is not None:
        keys_not_to_override.append(FOLDS)
    _refuse_values_of(keys_not_to_override, run_options)
    layers: list[tuple[AnyExperiment, ConfigLayer]] = []
    collector = ErrorCollector()
    for experiment, base in zip(experiments, bases, strict=True):
        with collector.collected():
            whole = base
            if folds is not None:
                whole = _with_folds(experiment, base, folds, seed)
            layers += [(experiment, add_settings(whole, settings)) for settings in point_settings]
    collector.raise_all(IN_SWEEP)
    return layers, searched_keys


def _raise_errors(collectors: Mapping[str, ErrorCollector]) -> None:
    """Raise the errors of all experiments as one; each has a collector by its name.

    An error that not all experiments have names its experiment.
    """
    problems = [
        {problem for error in collector.errors for problem in error.problems}
        for collector in collectors.values()
    ]
    of_all = set.intersection(*problems)
    errors = [
        type(error)(problem if problem in of_all else f"{name}: {problem}", error.hint)
        for name, collector in collectors.items()
        for error in collector.errors
        for problem in error.problems
    ]
    if not errors:
        return
    joined = join_errors(errors, IN_SWEEP, ERRORS_SHOWN)
    if set.union(*problems) != of_all:
        joined.hint = f"{joined.hint}\n{SHARED_VALUES}".lstrip()
    raise joined


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
    layers: Iterable[tuple[AnyExperiment, ConfigLayer]], run_options: RunOptions, place: Place
) -> list[ExperimentAndConfig]:
    """Raise ConfigError with the errors of all points, or return their valid configs."""
    configs: list[ExperimentAndConfig] = []
    collectors: dict[str, ErrorCollector] = {}
    checked_sections = set[tuple[str, str]]()
    for experiment, layer in layers:
        with collectors.setdefault(experiment.name, ErrorCollector()).collected():
            config = experiment.validate(layer)
            section = experiment.name, repr(experiment.data and experiment.data_section(config))
            is_new = section not in checked_sections  # the files of equal sections are read once
            checked_sections.add(section)
            check_run_can_start(
                experiment, config, run_options, is_local=place.is_local, reads_data=is_new
            )
            configs.append(ExperimentAndConfig(experiment, config))
    _raise_errors(collectors)
    return configs


def _keys_and_points(
    configs: Sequence[ExperimentAndConfig], searched_keys: Sequence[str], screen: Screen
) -> tuple[list[str], list[_Planned]]:
    """The keys vary or are searched; each distinct point has its settings and its config."""
    all_keys: dict[str, None] = {}
    distinct: dict[tuple[str, str], _Planned] = {}
    for experiment in dict.fromkeys(experiment for experiment, _ in configs):
        of_experiment = _configs_of(experiment, configs)
        # The valid configs have absolute paths, and their numbers have the types of their keys.
        flat_configs = [flatten_keys(config.model_dump(mode="json")) for config in of_experiment]
        searched = [key for key in searched_keys if key in flat_configs[0]]
        keys = dict.fromkeys([*varied_keys(flat_configs), *searched])
        for config, flat in zip(of_experiment, flat_configs, strict=True):
            settings = {key: flat[key] for key in keys if key in flat}
            distinct[experiment.name, repr(settings)] = _Planned(experiment, settings, config)
        all_keys |= keys
    if len(distinct) < len(configs):
        counts = f"{len(distinct)} of {len(configs)}"
        screen.note(f"{counts} points are distinct; equal ones run once")
    return list(all_keys), list(distinct.values())


def _refuse_search(experiments: Sequence[AnyExperiment], keys: Iterable[str]) -> None:
    """Raise ConfigError if a search has several experiments, or would choose which rows are used.

    A search compares results, which need the same rows.
    """
    first, *others = experiments
    if others:
        problem = "--sampler tpe: it searches the configs of one experiment"
        raise ConfigError(problem, "leave it out, or run a sweep for each experiment")
    if chosen := keys_that_choose_rows(first.config, keys):
        problem = f"{chosen[0]}: --sampler tpe compares results, which need the same rows"
        raise ConfigError(problem, f"leave out {chosen[0]}, or --sampler")


def _check_folds(configs: Iterable[ExperimentAndConfig], run_options: RunOptions) -> None:
    """Load the data, which raises DlrunError if they cannot be divided into `folds` parts."""
    data_dir = resolve_data_dir(run_options.data_dir)
    checked = set[str]()
    for experiment, config in configs:
        if experiment.data is None:
            continue
        section = experiment.data_section(config)
        key = f"{experiment.name} {section.model_dump(exclude={'fold'})} {config.split_seed}"
        if key not in checked:  # nearly always one for each experiment
            checked.add(key)
            experiment.data.load(section, data_dir, config.split_seed, Screen(quiet=True))
