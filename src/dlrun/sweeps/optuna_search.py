"""Let Optuna's TPE sampler choose the configs of a sweep by the results so far.

A trial is a config that was chosen, perhaps again; its value is the mean of the metric by which the
sweep selects, over the config's runs.
"""

import math
import random
import statistics
from collections.abc import Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from dlrun.errors import DlrunError
from dlrun.metrics import VALID
from dlrun.runs.ranked_metrics import selection_metric
from dlrun.runs.run import Run
from dlrun.runs.shown_results import HOLD_OUT
from dlrun.sweeps.search_space import KeySearchSpace
from dlrun.sweeps.sweep_plan import SweepPlan

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would report each study


def choose_next_config(plan: SweepPlan, runs: Mapping[int, Run]) -> SweepPlan:
    """Choose a sweep's next config by Optuna; return the plan with its points, if there is one.

    A choice depends only on the seed, its number and the finished runs: a sweep that was
    interrupted and continued chooses what an undisturbed one does, if its runs do not overlap. A
    config that is chosen again does not run again. Raises DlrunError if a run has no validation
    metric.
    """
    search = plan.search
    assert search is not None
    distributions = {space.key: _distribution(space) for space in search.spaces}
    configs = plan.points_by_config
    scores = [
        statistics.fmean(_score(runs.get(point.number), plan.by) for point in points)
        for points in configs
    ]
    while plan.unchosen_runs:
        seed = random.Random(f"{search.seed} {len(plan.choices)}").getrandbits(32)
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for index in plan.choices:
            settings = configs[index][0].settings
            score = scores[index]
            if math.isfinite(score):
                params = {space.key: _param(space, settings[space.key]) for space in search.spaces}
                trial = create_trial(params=params, distributions=distributions, value=score)
                study.add_trial(trial)
        params = study.ask(distributions).params
        settings = {space.key: _value(space, params[space.key]) for space in search.spaces}
        count_before = len(plan.points)
        plan = plan.with_choice(settings)
        if len(plan.points) > count_before:
            return plan
    return plan


def _score(run: Run | None, by: str) -> float:
    """The metric by which a sweep selects has its sign changed if lower is better.

    NaN: the run has not finished, or its training diverged. by: the metric's name, or empty.
    """
    if run is None or not run.is_finished:
        return math.nan
    metric = selection_metric(run.record, by=by)
    if metric is None:
        name = f"{VALID}{by}" if by else "validation metric"
        problem = f"{run.folder}: no {name} that --sampler tpe can use"
        hint = f"{HOLD_OUT}; `metrics` declares which direction of an unknown metric is better"
        raise DlrunError(problem, hint)
    value = run.record.metrics[metric.name]
    return math.nan if value is None else metric.sign * value


def _distribution(space: KeySearchSpace) -> BaseDistribution:
    if space.kind == "choice":  # by place: Optuna stores no lists
        return CategoricalDistribution(range(len(space.values)))
    low, high = space.values
    if space.kind == "int":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=space.kind == "log")


def _param(space: KeySearchSpace, value: object) -> object:
    return space.values.index(value) if space.kind == "choice" else value


def _value(space: KeySearchSpace, param: object) -> object:
    """Optuna stores a choice by its place, and gives a number with too many digits."""
    if space.kind == "choice" and isinstance(param, int):
        return space.values[param]
    return space.rounded(param) if isinstance(param, float) else param
