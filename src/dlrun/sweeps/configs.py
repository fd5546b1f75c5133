"""Group the runs of a sweep by config, find the best config, and say what that choice is worth."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from dlrun.config.data_sections import FOLD, FOLDS
from dlrun.config.yaml_loader import format_override, format_settings_briefly
from dlrun.experiments.saved_run import Run
from dlrun.metrics import TESTED, VALID
from dlrun.reports.spread import MetricSpread, RunGroup, compare_pairs
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.recorded_metrics import format_metric
from dlrun.sweeps.plan import SweepPlan, is_run_complete
from dlrun.sweeps.search_space import SEED, Settings, format_seeds
from dlrun.system.console import pluralize


@dataclass(frozen=True)
class ConfigResults(RunGroup):
    """Holds the finished runs of one config of a sweep, with metrics.

    settings: the keys that vary in the sweep, with their values. planned: the number of runs.
    """

    settings: Settings
    planned: int

    @cached_property
    def spreads(self) -> dict[str, MetricSpread]:
        """Return the mean and spread of each metric that all runs have."""
        spreads = map(self.spread, self.runs[0].record.metrics)
        return {spread.metric.name: spread for spread in spreads if spread is not None}

    @property
    def validated(self) -> MetricSpread | None:
        """Return the spread of the metric by which the best config is chosen, or None."""
        metric = metrics.selection_metric(self.runs[0].record, self.spreads)
        return self.spreads[metric.name] if metric else None

    @property
    def tested(self) -> MetricSpread | None:
        """Return the spread of the main test metric, or None."""
        return self.spreads.get(metrics.main_metric(self.runs[0].record) or "")

    @property
    def seeds(self) -> list[int]:
        """Return the distinct seeds of the runs."""
        return list(dict.fromkeys(seed for seed, _ in self.repeats if isinstance(seed, int)))

    @property
    def folds(self) -> int:
        """Return how many folds there are among the runs."""
        return len({fold for _, fold in self.repeats} - {None})

    @property
    def missing(self) -> str:
        """Return the text `2 of 3` if not all planned runs have finished; otherwise empty."""
        count = len(self.repeats)
        return f"{count} of {self.planned}" if count < self.planned else ""

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Return a sort key, best last: has a validation metric, has all seeds, its mean."""
        by = self.validated
        value = float("-inf") if by is None else by.metric.sign * by.mean
        return by is not None, not self.missing, value

    @property
    def is_chosen_by_test_rows(self) -> bool:
        """Return whether the validation rows are the test rows."""
        best_epoch = self.runs[0].record.best_epoch
        return best_epoch is not None and best_epoch.on_test

    def optimism(self, metric: str) -> float | None:
        """Return by how much a validation metric is better than the same of the test, or None."""
        tested = self.spreads.get(metric.replace(VALID, TESTED, 1))
        if tested is None or self.is_chosen_by_test_rows:
            return None
        spread = self.spreads[metric]
        return spread.metric.sign * (spread.mean - tested.mean)

    def numbers(self, metric: str) -> dict[str, object]:
        """Return the statistics of a metric (mean, deviation, ...) by name, for the JSON output."""
        spread = self.spreads[metric]
        return {
            "n": len(spread.values),
            "mean": spread.mean,
            "sd": spread.deviation,
            "min": min(spread.values),
            "max": max(spread.values),
            "interval": spread.interval,
            "book": self.published_values(metric).get("book"),
        }

    def as_object(self) -> dict[str, object]:
        """Return the config and its metrics as an object for the JSON output."""
        return {
            "settings": self.settings,
            "seeds": self.seeds,
            "folds": self.folds or None,
            "planned": self.planned,
            "runs": [str(run.folder) for run in self.runs],
            "metrics": {metric: self.numbers(metric) for metric in self.spreads},
        }

    def describe(self) -> str:
        """Return the config with its mean validation and test metrics as text."""
        spreads = [spread for spread in (self.validated, self.tested) if spread]
        text = ", ".join(f"{spread.metric.name} {format_metric(spread.mean)}" for spread in spreads)
        text += f" ({self.missing} runs)" if self.missing else ""
        return f"{format_settings_briefly(self.settings)}: {text}" if self.settings else text

    def command(self, experiment: str) -> str:
        """Return the shell command that repeats the config: one run, or a sweep over its runs."""
        words, settings = ["dlrun", experiment], self.runs[0].changed_settings()
        if self.folds:
            words = ["dlrun", "sweep", experiment, "--folds", str(settings.pop(FOLDS))]
            del settings[FOLD]
        elif len(self.seeds) > 1:
            words = ["dlrun", "sweep", experiment]
        if len(self.seeds) > 1:
            words += ["--seeds", format_seeds(self.seeds)]
            settings.pop(SEED, None)
        for key, value in settings.items():
            words += ["--set", format_override(key, value)]
        return shlex.join(words)


def group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[ConfigResults]:
    """Group the finished runs of a sweep by config, the best config last."""
    results: list[ConfigResults] = []
    for config in plan.configs:
        repeats: dict[tuple[int | str | None, int | None], Run] = {}
        for point in config:
            run = runs.get(point.number)
            if run is not None and is_run_complete(run) and run.record.metrics:
                repeats[run.record.seed, point.settings.get(FOLD)] = run
        if repeats:
            settings = {key: config[0].settings.get(key) for key in plan.keys}
            results.append(ConfigResults(repeats, settings, len(config)))
    return sorted(results, key=lambda one: one.rank)


def find_best_config(results: Sequence[ConfigResults]) -> ConfigResults | None:
    """Return the last config if it has a validation metric, or if no key varies a test metric."""
    best = results[-1] if results else None
    return best if best and (best.validated or (best.tested and not best.settings)) else None


@dataclass(frozen=True)
class Selection:
    """Says what the choice of the best config by a validation metric is worth.

    Without a second config only the first four are known.
    """

    metric: str
    configs: int  # with the same seeds and folds
    unit: str  # what the runs of a config differ in: `seed` or `fold`
    n: int  # how many those are
    second: str | None = None  # the second config
    lead: float | None = None  # by how much the mean of the best config is better
    interval: tuple[float, float] | None = None  # the 95 % interval of the mean lead; not of one
    optimism: float | None = None  # by how much the best config's validation is above its test
    optimism_of_all: float | None = None  # the same, on average over the configs

    @property
    def verdict(self) -> str | None:
        """Return whether the best config is reliably better than the second, in words."""
        if self.second is None or self.interval is None:
            return self.second and "no interval"
        return "better" if self.interval[0] > 0 else "no reliable difference"

    def as_object(self) -> dict[str, object]:
        """Return the comparison as an object for the JSON output."""
        return asdict(self) | {"verdict": self.verdict}

    def describe(self) -> dict[str, str]:
        """Return the comparison in words, by what each text is about."""
        if self.lead is None:
            return {"second": "no other config has the same seeds: nothing to compare"}
        lead = f"{self.second} is worse by {self.lead:.4g} in {self.metric}"
        if self.interval is None:
            return {"second": f"{lead} in one run: --seeds 5 says whether that is chance"}
        low, high = self.interval
        lead += f" over {pluralize(self.n, self.unit)}, 95 % interval of the difference "
        lead += f"{low:.4g} to {high:.4g}, "
        is_better = self.verdict == "better"
        lead += "is above 0: reliably worse" if is_better else "contains 0: no reliable difference"
        texts = {"second": lead}
        if self.optimism is not None and self.optimism_of_all is not None:
            beyond = self.optimism - self.optimism_of_all
            flatters = f"the choice flatters it by about {beyond:.4g}"
            texts["test"] = (
                f"its {self.metric} is better than its {self.metric.replace(VALID, TESTED)} by "
                f"{self.optimism:.4g}, on average over the configs by {self.optimism_of_all:.4g}: "
                f"{flatters if beyond > 0 else 'no sign that the choice flatters it'}"
            )
        return texts


def judge_selection(results: Sequence[ConfigResults]) -> Selection | None:
    """Return what the choice of the best config, the last, is worth; None if no key varies."""
    best = find_best_config(results)
    if best is None or best.validated is None or not best.settings:
        return None
    metric = best.validated.metric.name
    configs = [
        config
        for config in results
        if metric in config.spreads and config.repeats.keys() == best.repeats.keys()
    ]
    values = best.values(metric)
    unit = "fold" if best.folds else "seed"
    selection = Selection(metric, len(configs), unit, len(values))
    if len(configs) < 2:
        return selection
    second = configs[-2]
    theirs = second.values(metric)
    pair = [*values.values()], [theirs[repeat] for repeat in values]
    better, worse = pair if best.validated.metric.sign > 0 else pair[::-1]
    comparison = compare_pairs(best.validated.metric, better, worse)
    gaps = [gap for config in configs if (gap := config.optimism(metric)) is not None]
    return replace(
        selection,
        second=format_settings_briefly(second.settings),
        lead=comparison.difference,
        interval=comparison.interval,
        optimism=best.optimism(metric),
        optimism_of_all=statistics.fmean(gaps) if gaps else None,
    )


def warnings_of_selection(results: Sequence[ConfigResults]) -> list[str]:
    """Return a warning if the test rows chose the best config, or an epoch; or an empty list."""
    best = find_best_config(results)
    if best is None or not best.is_chosen_by_test_rows:
        return []
    if best.settings:
        return [metrics.too_good_by_test_rows("the best config's test metric")]
    if any(run.record.earlier_epoch or run.record.stopped_epoch for run in best.runs):
        return [metrics.too_good_by_test_rows("the test metric of an epoch that they choose")]
    return []  # only the seed varies: nothing was chosen
