"""Let Optuna's study choose the configs of a sweep, and estimate the importance of config keys.

The study of a sweep is a journal in its folder, which optuna-dashboard reads too. A trial is a
config; its value is the mean of the metric by which the sweep selects, over the config's runs.
"""

import math
import random
import statistics
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from dlrun import stats
from dlrun.config.yaml_loader import format_setting, is_number
from dlrun.errors import DataError, DlrunError, first_line
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.recorded_metrics import metric_direction, selection_metric
from dlrun.sweeps.plan import SweepPoint
from dlrun.sweeps.search_space import Settings, Space
from dlrun.sweeps.sweep_folder import Sweep, SweepState, is_run_complete
from dlrun.system.files import read_regular_file

JOURNAL = "study.journal"

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would report each study


class SweepStudy:
    """Chooses the configs of a sweep one by one, and learns from the runs that have ended.

    A choice depends only on the seed, its number and what the study was told before: a sweep that
    was interrupted and continued chooses what an undisturbed one does, if runs do not overlap.
    """

    def __init__(self, sweep: Sweep) -> None:
        """Open or create the study of a sweep, and add the configs it has chosen to the plan.

        The caller holds the sweep's lock.
        """
        assert sweep.plan.search is not None
        self._plan, self._search = sweep.plan, sweep.plan.search
        self._distributions = {space.key: _distribution(space) for space in self._search.spaces}
        self._points: dict[int, list[SweepPoint]] = {}  # points of each trial, by its number
        journal = sweep.folder / JOURNAL
        if journal.exists():  # a power cut or a full disk may leave a part of a line
            whole = read_regular_file(journal)
            with journal.open("r+b") as stream:
                stream.truncate(whole.rfind(b"\n") + 1)
        backend = JournalFileBackend(str(journal), _LockOfSweep(str(journal)))
        try:
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(backend),
                study_name=self._plan.name,
                direction="maximize",
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError, AssertionError) as error:  # each line is JSON
            raise DataError(
                f"{journal}: damaged: {first_line(error)}", "start a new sweep; its runs are kept"
            ) from error
        for trial in self._study.get_trials(deepcopy=False):
            if trial.params.keys() == self._distributions.keys():
                self._add(trial.number, trial.params)
            elif trial.state == TrialState.RUNNING:  # killed while it chose
                self._study.tell(trial.number, state=TrialState.FAIL)

    @property
    def runs_left(self) -> int:
        """Return the number of runs whose configs are not chosen yet."""
        return (self._search.trials - len(self._points)) * len(self._search.repeats)

    def choose(self, state: SweepState) -> list[SweepPoint]:
        """Choose the next config, and return its points; an empty list after the last config.

        A config that was chosen before is told its result again, and does not run again.
        """
        while self.runs_left:
            seed = random.Random(f"{self._search.seed} {len(self._points)}").getrandbits(32)
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            trial = self._study.ask(self._distributions)
            if new := self._add(trial.number, trial.params):
                return new
            self.tell(state)
        return []

    def tell(self, state: SweepState) -> None:
        """Tell the study the result of each trial whose runs have ended."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            points = self._points[trial.number]
            runs = [state.runs.get(point.number) for point in points]
            done = [run for run in runs if run is not None and is_run_complete(run)]
            if any(point.number in state.failed for point in points):
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif len(done) == len(points):
                score = statistics.fmean(map(_score, done))
                if math.isfinite(score):
                    self._study.tell(trial.number, score)
                else:  # the training diverged
                    self._study.tell(trial.number, state=TrialState.FAIL)

    def _add(self, number: int, params: Mapping[str, object]) -> list[SweepPoint]:
        """Add the config of a trial to the plan, and return its points; none if it is not new."""
        settings: Settings = {
            space.key: _value(space, params[space.key]) for space in self._search.spaces
        }
        for points in self._points.values():
            if all(repr(points[0].settings[key]) == repr(one) for key, one in settings.items()):
                self._points[number] = points
                return []
        self._points[number] = self._plan.add_config(settings)
        return self._points[number]


class _LockOfSweep(JournalFileOpenLock):
    """Locks nothing: the sweep's lock does, and ends with its process, as a lock file does not."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _score(run: Run) -> float:
    """Return the metric by which a sweep selects, with its sign changed if lower is better."""
    metric = selection_metric(run.record.metrics)
    if metric is None:
        raise DlrunError(
            f"{run.folder}: no validation metric, which --sampler tpe needs",
            "hold rows out for validation, or use --sampler random",
        )
    value = run.record.metrics[metric]
    return math.nan if value is None else metric_direction(metric) * value


def _distribution(space: Space) -> BaseDistribution:
    """Return Optuna's distribution of a space."""
    if space.kind == "choice":  # as texts: Optuna stores no lists
        return CategoricalDistribution(list(dict.fromkeys(map(format_setting, space.values))))
    low, high = space.values
    if space.kind == "int":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=space.kind == "log")


def _value(space: Space, param: object) -> object:
    """Return the config value of a parameter that Optuna has chosen from a space."""
    if space.kind == "choice":
        return {format_setting(value): value for value in space.values}[str(param)]
    return space.rounded(param) if isinstance(param, float) else param


def estimate_importances(configs: Sequence[Settings], scores: Sequence[float]) -> dict[str, float]:
    """Return the share of each config key in the variance of the scores, the largest first.

    Optuna's fANOVA (Hutter, Hoos & Leyton-Brown, 2014) fits a random forest to the configs, which
    all have the same keys.
    """
    distributions: dict[str, BaseDistribution] = {}
    columns: dict[str, list[float] | list[str]] = {}
    for key in configs[0]:
        values = [config[key] for config in configs]
        if all(map(is_number, values)):
            numbers = [float(value) for value in values]
            low, high = min(numbers), max(numbers)
            distributions[key] = FloatDistribution(low, high, log=stats.spans_magnitudes(low, high))
            columns[key] = numbers
        else:
            texts = [format_setting(value) for value in values]
            distributions[key] = CategoricalDistribution(sorted(set(texts)))
            columns[key] = texts
    study = optuna.create_study(direction="maximize")
    for row, score in enumerate(scores):
        params = {key: column[row] for key, column in columns.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=score)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
