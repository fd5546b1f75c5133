"""Define the split of a run's data: which rows were tested, and which trained and validated."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from dlrun.metrics import TESTED, VALID


class Division(NamedTuple):
    """Says what divides the same rows in the same way: a seed, and the fold of so many folds."""

    seed: int
    fold: int | None
    folds: int | None


class RowCounts(BaseModel):
    """Counts the rows of a user's table: those in its files, those used, those left out and why."""

    model_config = ConfigDict(frozen=True, extra="allow")
    in_files: int
    used: int
    left_out: dict[str, int] = {}  # by the reason

    @property
    def reasons(self) -> str:
        """The reasons why rows are left out, each with the number of rows."""
        return ", ".join(f"{number:,} {reason}" for reason, number in self.left_out.items())


class Split(BaseModel):
    """Says which rows a run tested, validated and trained with.

    Test metrics of runs may be compared if the runs have the same `test_digest`, and validation
    metrics if they have the same `validation_digest`, whatever the runs read of the rows.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    seed: int  # it divided or generated the rows, if chance did
    fold: int | None = None  # the number of the fold of a cross-validation, from 1
    folds: int | None = None
    is_series: bool = False  # whether the rows are in the order of time, so that neighbours agree
    group: str | None = None  # the column whose groups were kept together
    time: str | None = None  # the column by which the last rows were tested
    rows_digest: str  # of all rows with their targets, however they are divided
    test_digest: str  # of the tested rows with their targets
    validation_digest: str | None = None  # of the rows that validated, if any did
    train_digest: str  # of the rows to which the model was fitted

    def digest_for(self, metric: str) -> str | None:
        """Give the digest of the rows on which the metric of this name was computed."""
        if metric.startswith(TESTED):
            return self.test_digest
        return self.validation_digest if metric.startswith(VALID) else self.train_digest

    @property
    def division(self) -> Division:
        return Division(self.seed, self.fold, self.folds)
