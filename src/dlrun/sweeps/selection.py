"""Say what the best config of a sweep is worth: against the second, chance, and the test."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dlrun import stats
from dlrun.run_folder.recorded_metrics import TESTED, VALID, metric_direction
from dlrun.system.console import pluralize

COMPARED = (  # fields of the JSON output that need a second config
    *("second", "lead", "interval", "verdict", "detectable", "wins", "wins_if_equal"),
    *("optimism", "optimism_of_all"),
)


@dataclass(frozen=True)
class ComparedConfig:
    """Holds what is compared of a config: its name, and its metrics.

    validated: the validation metric by seed, or by fold in a cross-validation. tested: the mean of
    the same metric on the test rows; None if there is none.
    """

    name: str
    validated: dict[object, float]
    tested: float | None


@dataclass(frozen=True)
class Selection:
    """Compares the config that was selected by a validation metric with the others.

    metric: its name. configs: those with the same seeds and folds (and, in successive halving,
    epochs) as the selected one, which is the last. unit: what the runs of a config differ in,
    `seed` or `fold`. left_out: the number of configs that cannot be compared. is_tested: False if
    the test metrics cannot be compared with the validation's, because the rows are the same.
    """

    metric: str
    configs: Sequence[ComparedConfig]
    unit: str
    left_out: int = 0
    is_tested: bool = True

    @property
    def n(self) -> int:
        """Return the number of seeds or folds."""
        return len(self.configs[-1].validated)

    @cached_property
    def leads(self) -> list[float]:
        """Return by how much the selected config is better than the second with each seed."""
        second, best = (one.validated for one in self.configs[-2:])
        sign = metric_direction(self.metric)
        return [
            stats.without_rounding(sign * (value - second[key]), value)
            for key, value in best.items()
        ]

    @property
    def lead(self) -> float:
        """Return by how much the mean of the selected config is better than that of the second."""
        second, best = (statistics.fmean(one.validated.values()) for one in self.configs[-2:])
        # Equal but for rounding: means of shares of rows often are.
        return stats.without_rounding(abs(best - second), best)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean lead; None for one seed."""
        return stats.mean_interval(self.leads)

    @property
    def detectable(self) -> float | None:
        """Return the true lead that so many seeds find with a probability of 80 %, or None."""
        return stats.detectable_mean(self.leads)

    @property
    def verdict(self) -> str:
        """Return whether the selected config is reliably better than the second, in words."""
        if self.interval is None:
            return "no interval"
        return "better" if self.interval[0] > 0 else "no reliable difference"

    @property
    def is_reliable(self) -> bool:
        """Return whether there is a second config, and the selected one is reliably better."""
        return len(self.configs) > 1 and self.verdict == "better"

    @cached_property
    def wins(self) -> tuple[float, float]:
        """Return in which share of bootstrap samples the selected config is the best.

        The second number is the mean share of the best of as many configs that are equally good.
        """
        sign = metric_direction(self.metric)
        keys = self.configs[-1].validated
        values = [[sign * one.validated[key] for key in keys] for one in self.configs]
        by_chance = stats.bootstrap_wins_if_equal(len(values), self.n)
        return stats.bootstrap_wins(values)[-1], by_chance

    @property
    def optimism(self) -> tuple[float, float] | None:
        """Return by how much the validation is better than the test: the selected config, and all.

        The second number is the mean over all configs. None if they have no such test metric.
        """
        sign, gaps = metric_direction(self.metric), []
        for one in self.configs:
            if one.tested is None or not self.is_tested:
                return None
            gaps.append(sign * (statistics.fmean(one.validated.values()) - one.tested))
        return gaps[-1], statistics.fmean(gaps)

    def as_object(self) -> dict[str, object]:
        """Return the comparison as an object for the JSON output."""
        about: dict[str, object] = {
            "metric": self.metric,
            "configs": len(self.configs),
            "left_out": self.left_out,
            "unit": self.unit,
            "n": self.n,
            **dict.fromkeys(COMPARED),
        }
        if len(self.configs) > 1:
            about |= {"second": self.configs[-2].name, "lead": self.lead}
            about |= {"interval": self.interval, "verdict": self.verdict}
            about["detectable"] = self.detectable
            wins = self.wins if self.n > 1 else (None, None)
            about |= dict(zip(("wins", "wins_if_equal"), wins, strict=True))
            gaps = self.optimism or (None, None)
            about |= dict(zip(("optimism", "optimism_of_all"), gaps, strict=True))
        return about

    def describe(self) -> dict[str, str]:
        """Return the comparison in words, by what each text is about."""
        if len(self.configs) < 2:
            return {"second": "no other config has the same seeds and epochs: nothing to compare"}
        texts = {}
        if self.left_out:
            others = pluralize(self.left_out, "config")
            texts["except"] = f"{others}, for lack of seeds, folds or epochs"
        return texts | self._describe_lead() | self._describe_test()

    def _describe_lead(self) -> dict[str, str]:
        """Return in words whether the lead over the second config may be chance."""
        second, units = self.configs[-2].name, pluralize(self.n, self.unit)
        worse = f"{second} is worse by {self.lead:.4g}" if self.lead else f"{second} is as good"
        if self.interval is None:
            text = f"{worse} in {self.metric} in one run: --seeds 5 says whether that is chance"
            return {"second": text}
        low, high = (f"{end:.4g}" for end in self.interval)
        if low == high:  # as of fits that depend on no seed
            return {"second": f"{worse} in {self.metric}, with each {self.unit} alike"}
        where = "is above 0: reliably worse"
        if self.verdict != "better":
            where = f"contains 0: no reliable difference, the {self.unit}s alone can make it"
        wins, by_chance = (f"{share:.0%}".replace("%", " %") for share in self.wins)
        return {
            "second": f"{worse} in mean {self.metric} over {units}, 95 % interval of the "
            f"difference {low} to {high}, {where}",
            "power": f"with {units} a true difference of {self.detectable:.4g} is found with a "
            "probability of 80 %, a smaller one less often",
            "chance": f"it is the best in {wins} of {stats.DRAWS:,} bootstrap samples of the "
            f"{self.unit}s; the luckiest of {len(self.configs)} equally good configs is the best "
            f"in {by_chance}",
        }

    def _describe_test(self) -> dict[str, str]:
        """Return in words by how much the validation flatters the selected config."""
        if self.optimism is None:
            return {}
        tested = self.metric.replace(VALID, TESTED)
        gaps = [f"{abs(gap):.4g} {'worse' if gap < 0 else 'better'}" for gap in self.optimism]
        excess = self.optimism[0] - self.optimism[1]
        says = f"the choice flatters it by about {excess:.4g}"
        if excess <= 0:
            says = "no sign that the choice flatters it"
        text = f"its {self.metric} is {gaps[0]} than its {tested}, on average over the configs "
        return {"test": f"{text}{gaps[1]}: {says}"}
