"""Compare the test predictions of runs with those of a baseline run, row by row."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq, gt, lt, sub
from statistics import fmean

from dlrun import stats
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.folder import PREDICTIONS
from dlrun.run_folder.record import ACCURACY
from dlrun.run_folder.recorded_metrics import metric_direction

MAE = "test_mae"
LEVEL = 0.05  # below this a p-value counts as a difference


@dataclass(frozen=True)
class RowScores:
    """Holds what is true of each row of a run's test set, and how well it was predicted.

    metric: test_accuracy or test_mae, which is the mean of the scores.
    true: the class or the value of each row.
    scores: for each row whether its class is right, or the absolute error.
    near: how far true values of the same row can be apart, because of rounding.
    """

    metric: str
    true: Sequence[str | float]
    scores: Sequence[float]
    near: float = 0.0

    @classmethod
    def of_run(cls, run: Run) -> "RowScores":
        """Return the scores of a run's test rows, from its predictions.csv.

        Raises ConfigError if it wrote none, DataError if they are damaged, DlrunError if it has no
        result yet.
        """
        content = run.read_if_written(PREDICTIONS) or b""
        try:
            if content.startswith(b"row,target,predicted\n"):
                from dlrun.experiments.predictions import TrueAndPredictedValues  # slow: scipy

                found = TrueAndPredictedValues.of_table(content)
                errors = abs(found.targets - found.predicted).tolist()
                return cls(MAE, found.targets.tolist(), errors, found.near)
            if content.startswith(b"row,label,predicted,"):
                _, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
                true, predicted = zip(*(row[1:3] for row in rows), strict=True)
                return cls(ACCURACY, true, [*map(eq, true, predicted)])
        except (ValueError, csv.Error) as error:
            problem = f"{run.folder / PREDICTIONS}: not what a run writes: {error}"
            raise DataError(problem) from None
        if run.state != "finished":
            run.check_has_result()
        raise ConfigError(f"{run.name} kept no predictions of a test set")

    def has_same_rows(self, other: "RowScores") -> bool:
        """Return whether the true classes or values of two test sets are the same, row by row."""
        if self.metric != other.metric or len(self.true) != len(other.true):
            return False
        if self.metric == ACCURACY:
            return self.true == other.true
        pairs = zip(map(float, self.true), map(float, other.true), strict=True)
        return all(abs(one - another) <= self.near for one, another in pairs)


@dataclass(frozen=True)
class PairedDifference:
    """Holds the difference of a run's test metric to a baseline's, from the rows in pairs.

    interval: the 95 % interval of the difference; None of a single value.
    won, lost: how many rows only the run, and only the baseline has right; None for values.
    p_value: of McNemar's test; None for values.
    """

    metric: str
    rows: int
    baseline: float
    value: float
    interval: tuple[float, float] | None
    won: int | None = None
    lost: int | None = None
    p_value: float | None = None

    @property
    def difference(self) -> float:
        """Return the run's metric minus the baseline's."""
        return stats.without_rounding(self.value - self.baseline, self.baseline)

    @property
    def verdict(self) -> str:
        """Return whether the run is better or worse than the baseline, or not clearly either."""
        low, high = self.interval or (-math.inf, math.inf)
        by_interval = not low <= 0 <= high
        if not (by_interval if self.p_value is None else self.p_value < LEVEL):
            return "no clear difference"
        return "better" if self.difference * metric_direction(self.metric) > 0 else "worse"


def paired_difference(run: RowScores, baseline: RowScores) -> PairedDifference:
    """Return the difference of a run to a baseline that predicts the same rows.

    Of classes the interval is that of paired proportions, of values that of the mean difference of
    the absolute errors.
    """
    rows = len(run.scores)
    means = fmean(baseline.scores), fmean(run.scores)
    if run.metric == MAE:
        ends = stats.mean_interval([*map(sub, run.scores, baseline.scores)])
        interval = None
        if ends is not None:
            low, high = (stats.without_rounding(end, means[0]) for end in ends)
            interval = low, high
        return PairedDifference(run.metric, rows, *means, interval)
    won = sum(map(gt, run.scores, baseline.scores))
    lost = sum(map(lt, run.scores, baseline.scores))
    around = stats.paired_difference_interval(won, lost, rows)
    p_value = stats.mcnemar_test(won, lost)
    return PairedDifference(run.metric, rows, *means, around, won, lost, p_value)


def compare_with_baseline(runs: Sequence[Run], baseline: Run) -> list[PairedDifference | str]:
    """Return each run's difference to the baseline, or a text that says why it has none.

    Two runs can be compared if they have the same data and the same true value in each test row.
    Raises DlrunError if the baseline itself has no predictions.
    """
    theirs = RowScores.of_run(baseline)
    compared: list[PairedDifference | str] = []
    for run in runs:
        try:
            own = RowScores.of_run(run)
        except ConfigError:
            compared.append("no predictions of a test set")
        except DlrunError as error:
            compared.append(error.message)
        else:
            if run.record.data != baseline.record.data:
                compared.append(f"other data: {run.record.data}")
            elif not own.has_same_rows(theirs):
                compared.append("other test rows")
            else:
                compared.append(paired_difference(own, theirs))
    return compared
