"""Divide the table of an experiment, read rows to predict, and draw predicted and true values."""

import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from dlrun.config.data_sections import (
    VOLUME,
    DataExperimentConfig,
    TradingDaysDataConfig,
    ValidatedDataConfig,
)
from dlrun.data.split import Split
from dlrun.data.splits import make_split, split_off_validation
from dlrun.data.table_columns import TableColumns
from dlrun.data.tables import Matrix, Table, TablePart
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.predictors import RowPredictor
from dlrun.runs.checkpoint import fingerprint_data
from dlrun.runs.predictions_csv import PredictedValues, read_predictions
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.system.console import Screen

STRAW_MAN = "straw_man_r2"

TableParts = dict[str, TablePart]  # train, test, and valid if rows validate


class TableAssets(NetworkAssets, frozen=True):
    """Holds what a saved model needs to read a table's row: its columns, target and scale.

    centre, scale: a model's output for a value of the target is (value - centre) / scale.
    """

    columns: TableColumns
    target: str
    centre: float
    scale: float

    @classmethod
    def of_table(cls, table: Table) -> Self:
        """Return the assets of a run on a table."""
        centre, scale = table.target_moments
        return cls(
            labels=table.labels or [],
            columns=table.columns,
            target=table.target,
            centre=centre,
            scale=scale,
        )

    def predictor(self, infer: Callable[[Matrix], Matrix]) -> RowPredictor:
        """Return a predictor for rows of a table.

        infer: matrix (rows, columns) -> values (rows,), or probabilities (rows, classes).
        """
        columns = self.columns
        return RowPredictor(
            [*columns.levels], lambda row: np.array(columns.encode_row(row)), infer, self.labels
        )


def is_series(config: DataExperimentConfig) -> bool:
    """Return whether an experiment's table is a time series: trading days in their order."""
    return isinstance(config.data, TradingDaysDataConfig)


def metric_names_of_table(config: DataExperimentConfig, labels: Sequence[str]) -> tuple[str, str]:
    """Return the names of the metrics for classes, values or a series, the main one first."""
    if labels:
        return "accuracy", "macro_f1"
    return ("r2", "mae") if is_series(config) else ("mae", "r2")


def fingerprint_table(table: Table) -> str:
    """Return a hash of a table's data, equal whichever model is fitted to the same rows."""
    names = {"labels": table.labels, "columns": table.columns.levels, "target": table.target}
    return fingerprint_data(table.digest, table.origin.files_digest, names)


def divide_rows(config: DataExperimentConfig, table: Table, screen: Screen) -> TableParts:
    """Divide a table's rows into the parts train, valid (if the config asks for it) and test.

    A share or a number of training rows validates, of a series the last ones, or the test rows do.
    """
    train, test = table.train, table.test
    if not isinstance(config.data, ValidatedDataConfig):
        return {"train": train, "test": test}
    validation = config.data.validation
    if validation == "test":
        screen.note(f"{len(train):,} to fit, {len(test):,} for validation and the test")
        return {"train": train, "valid": test, "test": test}
    fitted, held_out = split_off_validation(
        validation, train, test, config.split_seed, screen, shuffle=not table.is_series
    )
    return {"train": train.take(fitted), "valid": train.take(held_out), "test": test}


def make_split_of_table(config: DataExperimentConfig, table: Table, parts: TableParts) -> Split:
    """Return which rows of a table a run tests, and which it trains and validates with.

    parts: those of `divide_rows`; in a cross-validation `valid` is the training part.
    """
    return make_split(
        config,
        table.origin,
        fitted=parts["train"].contents,
        validation=parts["valid"].contents if "valid" in parts else None,
        test=table.test.contents,
        is_series=table.is_series,
    )


def straw_man_metrics(table: Table, screen: Screen) -> dict[str, float]:
    """Return the test R² of predicting each trading day by the day before; empty for other tables.

    It is not defined for equal volumes, as that of a single day. A note says what the straw man is.
    """
    if not table.is_series:
        return {}
    centre, scale = table.target_moments
    before = centre + scale * table.test.X[:, table.columns.names.index(f"{VOLUME}_1")]
    straw_man_r2 = PredictedValues(table.test.targets, before).r2
    if math.isnan(straw_man_r2):
        return {}
    screen.note(f"{STRAW_MAN} is the test R² of yesterday's {VOLUME} as the prediction")
    return {STRAW_MAN: straw_man_r2}


def draw_predicted_and_true(run: Run, *, title: str) -> DrawnFigures:
    """Draw predicted against true test values of a table, or both as a series of days."""
    from dlrun.plots import draw_predicted_series, draw_true_and_predicted  # slow: matplotlib

    values = read_predictions(run)
    if not isinstance(values, PredictedValues):
        return {}
    target = TableAssets.of_run(run).target
    straw_man = run.record.metrics.get(STRAW_MAN)
    if straw_man is None:
        figure = draw_true_and_predicted(values.true, values.predicted, target, title=title)
        return {"true_and_predicted.png": figure}
    note = f"test R² {values.r2:.4f}; of the day before as the prediction {straw_man:.4f}"
    figure = draw_predicted_series(values.true, values.predicted, target, note, title=title)
    return {"test_period.png": figure}
