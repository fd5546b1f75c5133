"""Divide and encode the table of an experiment, and draw predicted and true values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from dlrun.config.data_sections import (
    VOLUME,
    DataExperimentConfig,
    TradingDaysDataConfig,
    UserTableDataConfig,
    ValidatedDataConfig,
)
from dlrun.data.array_cache import Array
from dlrun.data.scaling import mean_and_scale
from dlrun.data.split import Split
from dlrun.data.splits import make_split, split_off_validation
from dlrun.data.text_files import RowNames
from dlrun.errors import DataError
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.predictors import Prediction, Predictor
from dlrun.runs.checkpoint import fingerprint_data
from dlrun.runs.predictions_csv import (
    PredictedClasses,
    PredictedValues,
    Predictions,
    read_predictions,
)
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.tables.column_kinds import Column, convert_columns
from dlrun.tables.encoding import Matrix, TableEncoder, describe_columns
from dlrun.tables.table import Table, TablePart

STRAW_MAN = "straw_man_r2"
PERFECT_R2 = 0.9999  # no model of what is measured predicts its test rows so

TableParts = dict[str, TablePart]  # train, test, and valid if rows validate


class TableAssets(NetworkAssets, frozen=True):
    """Holds what a saved model needs to read a table's row: its columns, target and scale.

    columns: what the columns of the table are. encoder: how they become the columns of a matrix.
    centre, scale: a model's output for a value of the target is (value - centre) / scale.
    """

    columns: list[Column]
    encoder: TableEncoder
    target: str
    centre: float
    scale: float

    def predictor(self, infer: Callable[[Matrix], Matrix]) -> "TablePredictor":
        """Return a predictor for rows of a table.

        infer: matrix (rows, columns) -> values (rows,), or probabilities (rows, classes).
        """
        return TablePredictor(self, infer)

    def predictions(self, outputs: Matrix, targets: Array, row_names: RowNames) -> Predictions:
        """Return the predictions of rows with known targets.

        outputs: values (rows,), or probabilities (rows, classes).
        """
        if not self.labels:
            return PredictedValues(targets, outputs, row_names=row_names)
        return PredictedClasses.of_probabilities(
            targets, outputs.argmax(1), outputs, self.labels, row_names=row_names
        )


class TablePredictor(Predictor):
    """Predicts the classes or the values of table rows, read as those that trained the model."""

    reads = "row"

    def __init__(self, assets: TableAssets, infer: Callable[[Matrix], Matrix]) -> None:
        self.columns = [column.name for column in assets.columns if not column.left_out]
        self.labels = assets.labels
        self.unknown_levels: dict[str, set[str]] = {}
        self._assets = assets
        self._infer = infer

    def predict(self, inputs: Sequence[Mapping[str, object]]) -> list[Prediction]:
        """Predict each row. A row that cannot be predicted gets its error."""
        missing = [next((name for name in self.columns if name not in row), None) for row in inputs]
        complete = [row for row, name in zip(inputs, missing, strict=True) if name is None]
        cells = {name: [row[name] for row in complete] for name in self.columns}
        frame = pd.DataFrame(cells, dtype=object)
        rows, errors = convert_rows(frame, self._assets.columns)
        for name, levels in self._assets.encoder.unknown_levels(rows).items():
            self.unknown_levels.setdefault(name, set()).update(levels)
        outputs = self._infer(self._assets.encoder.encode(rows)) if len(rows) else np.empty(0)
        predicted = iter(map(self._to_prediction, outputs))
        of_complete = iter(
            [Prediction(error=error) if error else next(predicted) for error in errors]
        )
        return [
            next(of_complete) if name is None else Prediction(error=f"no column {name!r}")
            for name in missing
        ]

    def _to_prediction(self, output: Matrix) -> Prediction:
        if not np.isfinite(output).all():
            return Prediction(error="no finite prediction: a value is too large")
        if self.labels:
            return Prediction(self.ranked(output))
        return Prediction(value=float(output))


@dataclass(frozen=True)
class EncodedPart:
    """Holds encoded rows: X (n, columns), their targets (n,), names and groups (n,)."""

    X: Matrix
    targets: Array
    row_names: RowNames
    groups: Array | None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class EncodedTable:
    """Holds the parts of a table as matrices, encoded by what the training rows show.

    parts: train, test, and valid if rows validate.
    is_series: whether the rows are in the order of time.
    """

    parts: dict[str, EncodedPart]
    assets: TableAssets
    is_series: bool

    @classmethod
    def fit(
        cls,
        config: DataExperimentConfig,
        table: Table,
        parts: TableParts,
        *,
        for_trees: bool = False,
    ) -> Self:
        """Fit an encoder to the training part, and encode all parts by it.

        for_trees: gaps stay NaN, and a category is the number of its level.
        """
        train = parts["train"]
        standardise = isinstance(config.data, UserTableDataConfig) and config.data.standardise
        encoder = table.encoder or TableEncoder.fit(
            table.columns, train.inputs, standardise=standardise, for_trees=for_trees
        )
        centre, scale = table.target_moments or (0.0, 1.0)
        if standardise and table.labels is None:
            means, scales = mean_and_scale(train.targets[:, None])
            centre, scale = means.item(), scales.item()
        assets = TableAssets(
            labels=table.labels or [],
            columns=table.columns,
            encoder=encoder,
            target=table.target,
            centre=centre,
            scale=scale,
        )
        encoded = {name: encode_part(part, encoder) for name, part in parts.items()}
        return cls(encoded, assets, table.is_series)

    def targets_of(self, part_name: str) -> Array:
        """Return what models predict of a part's rows (n,): class indices, or scaled values."""
        targets = self.parts[part_name].targets
        if self.assets.labels:
            return targets
        scaled: Array = (targets - self.assets.centre) / self.assets.scale
        return scaled


def find_class_without_row(labels: Sequence[str], targets: Array) -> str | None:
    """Return the name of the first class that has no row, by the class indices of rows (n,)."""
    return next((name for index, name in enumerate(labels) if index not in targets), None)


def encode_part(part: TablePart, encoder: TableEncoder) -> EncodedPart:
    """Encode the rows of a part of a table as a matrix."""
    return EncodedPart(encoder.encode(part.inputs), part.targets, part.row_names, part.groups)


def convert_rows(
    rows: pd.DataFrame, columns: Sequence[Column]
) -> tuple[pd.DataFrame, list[str | None]]:
    """Convert the rows without a fault, and return what is wrong with each row, or None."""
    try:
        return convert_columns(rows, columns), [None] * len(rows)
    except DataError:
        faults = faults_of_rows(rows, columns)
        is_right = np.array([fault is None for fault in faults], bool)
        return convert_columns(rows[is_right], columns), faults


def faults_of_rows(rows: pd.DataFrame, columns: Sequence[Column]) -> list[str | None]:
    """Return what is wrong with each row; None if all its cells have the kinds of the columns."""
    try:
        convert_columns(rows, columns)
    except DataError as error:
        if len(rows) == 1:
            return [error.message]
        half = len(rows) // 2
        return [*faults_of_rows(rows[:half], columns), *faults_of_rows(rows[half:], columns)]
    return [None] * len(rows)


def column_table(assets: TableAssets) -> list[list[str]]:
    """Return what is made of each column: a header, and a row for each column."""
    rows = [["column", "kind", "gaps", "read as"]]
    for use in describe_columns(assets.columns, assets.encoder):
        rows.append([use.column, use.kind, str(use.gaps or ""), use.use])
    return rows


def is_trading_days(config: DataExperimentConfig) -> bool:
    """Return whether an experiment's table is NYSE's trading days."""
    return isinstance(config.data, TradingDaysDataConfig)


def metric_names_of_table(config: DataExperimentConfig, labels: Sequence[str]) -> list[str]:
    """Return the names of the metrics for classes, values or a series, the main one first."""
    if labels:
        return ["accuracy", "macro_f1", "roc_auc", "log_loss"]
    return ["r2", "mae"] if is_trading_days(config) else ["mae", "r2"]


def fingerprint_table(table: Table) -> str:
    """Return a hash of a table's data, equal whichever model is fitted to the same rows."""
    columns = [column.model_dump() for column in table.columns]
    names = {"labels": table.labels, "columns": columns, "target": table.target}
    return fingerprint_data(table.digest, table.origin.files_digest, names)


def divide_rows(config: DataExperimentConfig, table: Table, screen: Screen) -> TableParts:
    """Divide a table's rows into the parts train, valid (if the config asks for it) and test.

    A share or a number of training rows validates, of classes a share of each, of a series the last
    ones; or the test rows do.
    """
    train, test = table.train, table.test
    if not isinstance(config.data, ValidatedDataConfig):
        return {"train": train, "test": test}
    validation = config.data.validation
    if validation == "test":
        screen.note(f"{len(train):,} to fit, {len(test):,} for validation and the test")
        return {"train": train, "valid": test, "test": test}
    fitted, held_out = split_off_validation(
        validation,
        train,
        test,
        config.split_seed,
        screen,
        shuffle=not table.is_series,
        groups=train.groups,
        labels=train.targets if table.labels else None,
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
    if table.encoder is None:  # only that of trading days is given
        return {}
    before = table.test.inputs[f"{VOLUME}_1"].to_numpy(np.float64)
    straw_man_r2 = PredictedValues(table.test.targets, before).r2
    if math.isnan(straw_man_r2):
        return {}
    screen.note(f"{STRAW_MAN} is the test R² of yesterday's {VOLUME} as the prediction")
    return {STRAW_MAN: straw_man_r2}


def warn_of_perfect_fit(predictions: Predictions, screen: Screen) -> None:
    """Warn if values of the test are predicted without an error: columns may contain the target."""
    if isinstance(predictions, PredictedValues) and predictions.r2 > PERFECT_R2:
        why = "the test rows are predicted nearly without an error"
        doubt = "do columns contain the target, as its parts or another unit?"
        screen.warn(f"{why}: {doubt} `data.ignore` leaves them out")


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
