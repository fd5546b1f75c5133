"""Define the interface of a model of a table's rows, and its fit with what it needs to predict."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dlrun.data.array_cache import Array
from dlrun.experiments.table_common import EncodedPart, EncodedTable, TableAssets
from dlrun.runs.predictions_csv import Predictions
from dlrun.system.console import Screen
from dlrun.tables.encoding import Matrix

FitArrays = dict[str, Array]  # what a run saves of a fit
FitIterator = Iterator[FitArrays]


class TableModel(Protocol):
    """Defines a model of table rows whose fitted state is arrays, so that a run can save it.

    The arrays of a linear model's fit:
    intercept: (outputs,) or ().
    coefficients: (outputs, columns) or (columns,), of the columns as they are.
    standardised: the coefficients of standardised columns; required if there are several fits.

    step_name: what a fit is called.
    recorded_numbers: single numbers of a fit that metrics.csv has too.
    chosen_by: the metric that chooses among several fits.
    """

    step_name: str
    recorded_numbers: tuple[str, ...] = ()
    chosen_by: str = ""

    def iterate_fits(self, table: EncodedTable, done: int, screen: Screen) -> FitIterator:
        """Yield the fits to the training rows after the first `done` ones."""

    def refit(self, table: EncodedTable, chosen: FitArrays, screen: Screen) -> FitArrays:
        """Fit as the chosen fit was, to a table whose training rows are those that validated too.

        chosen: has what was chosen, such as a penalty; a model of one fit has chosen nothing.
        """
        (arrays,) = self.iterate_fits(table, 0, screen)
        return arrays

    def predict(self, arrays: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes), for rows (n, columns)."""


@dataclass(frozen=True)
class FittedModel:
    """Holds a fitted model, and what it needs to encode new rows, such as categories and scales."""

    model: TableModel
    assets: TableAssets
    arrays: FitArrays

    @property
    def recorded_numbers(self) -> dict[str, float]:
        """The single numbers of the fit by their names, such as its penalty."""
        return {name: self.arrays[name].item() for name in self.model.recorded_numbers}

    def infer(self, rows: Matrix) -> Matrix:
        """Return class probabilities (n, classes), or values (n,) in the unit of the target."""
        outputs = self.model.predict(self.arrays, rows)
        return outputs if self.assets.labels else self.assets.centre + self.assets.scale * outputs

    def predict(self, part: EncodedPart) -> Predictions:
        """Return the predictions of a part of a table."""
        return self.assets.predictions(self.infer(part.X), part.targets, part.row_names)
