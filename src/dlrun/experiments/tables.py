"""Load tables, predict rows of other tables, and draw test values, for Hitters and NYSE."""

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import TradingDaysDataConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.data.sources import dataset_of
from dlrun.data.splits import split_off_validation
from dlrun.data.tables import VOLUME, Table, TableColumns, TablePart, make_days
from dlrun.experiments.base import NetworkAssets
from dlrun.experiments.predictions import DescribeRow, PredictedValues, read_predictions
from dlrun.experiments.predictors import RowPredictor
from dlrun.experiments.saved_run import DrawnFigures, Run
from dlrun.run_context import RunContext
from dlrun.system.console import Screen

Matrix = NDArray[np.float64]
STRAW_MAN = "straw_man_r2"


class TableAssets(NetworkAssets, frozen=True):
    """Holds the columns with which a model reads a row, and the target that it predicts.

    centre, scale: a model's output for a value of the target is (value - centre) / scale.
    """

    columns: TableColumns
    target: str
    centre: float
    scale: float

    @classmethod
    def of(cls, table: Table) -> Self:
        """Return the assets of a run on a table."""
        centre, scale = table.target_scale
        columns, labels = table.columns, table.labels
        return cls(labels=labels, columns=columns, target=table.target, centre=centre, scale=scale)


def load_configured_table(config: ExperimentConfig, context: RunContext) -> Table:
    """Return the table of an experiment, without NYSE's weekday if the model does not read it."""
    data = config.data_section
    dataset = dataset_of(data)
    found = dataset.find(data, context.data_dir, config.split_seed, context.screen)
    if isinstance(data, TradingDaysDataConfig):
        model = getattr(config, "model", None)
        return make_days(found, weekday=getattr(model, "day_of_week", False))
    table: Table = dataset.make(found)
    return table


def divide_rows(config: ExperimentConfig, table: Table, screen: Screen) -> dict[str, TablePart]:
    """Return the rows of the training, of the validation if there is one, and of the test.

    A share or a number of training rows validates, of a series the last ones, or the test rows do.
    """
    train, test = table.train, table.test
    validation = getattr(config.data_section, "validation", None)
    if validation is None:
        return {"train": train, "test": test}
    if validation == "test":
        screen.note(f"{len(train):,} to fit, {len(test):,} for validation and the test")
        return {"train": train, "valid": test, "test": test}
    fitted, held_out = split_off_validation(
        validation, train, test, config.split_seed, screen, shuffle=not table.is_series
    )
    return {"train": train.rows(fitted), "valid": train.rows(held_out), "test": test}


def straw_man_metrics(table: Table, screen: Screen) -> dict[str, float]:
    """Return the test R² of predicting each day by the day before; none for other tables.

    It is not defined for a single day. A note says what the straw man is.
    """
    if not table.is_series or len(table.test) < 2:
        return {}
    (centre, scale), yesterday = table.target_scale, f"{VOLUME}_1"
    screen.note(f"{STRAW_MAN} is the test R² of yesterday's {VOLUME} as the prediction")
    before = centre + scale * table.test.X[:, table.columns.names.index(yesterday)]
    return {STRAW_MAN: PredictedValues(table.test.targets, before).r2}


def row_describer(table: Table) -> DescribeRow:
    """Return a function that shows a test row as its columns and cells."""

    def describe(row: int) -> dict[str, str]:
        cells = table.test.cells[row]
        return {"text": ", ".join(f"{name} {cells[name]}" for name in table.columns.levels)}

    return describe


def draw_test_values(run: Run, *, title: str) -> DrawnFigures:
    """Draw the values in predictions.csv, if the run wrote it; those of NYSE as a series."""
    from dlrun.plots.run import draw_series, draw_true_and_predicted  # slow: matplotlib

    values = read_predictions(run)
    if not isinstance(values, PredictedValues):
        return {}
    target, straw_man = TableAssets.of_run(run).target, run.record.metrics.get(STRAW_MAN)
    if straw_man is None:
        figure = draw_true_and_predicted(values.true, values.predicted, target, title=title)
        return {"true_and_predicted.png": figure}
    note = f"test R² {values.r2:.4f}; of the day before as the prediction {straw_man:.4f}"
    figure = draw_series(values.true, values.predicted, target, note, title=title)
    return {"test_period.png": figure}


def row_predictor(assets: TableAssets, infer: Callable[[Matrix], Matrix]) -> RowPredictor:
    """Return a predictor for rows of a table.

    infer: matrix (rows, columns) -> values (rows,), or probabilities (rows, classes).
    """
    columns = assets.columns
    return RowPredictor(
        [*columns.levels], lambda row: np.array(columns.encode(row)), infer, assets.labels or ()
    )
