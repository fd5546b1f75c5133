"""Fit models to a table: the model's protocol, and the experiment that keeps the best fit."""

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dlrun.config.sections import CpuOnlyConfig
from dlrun.data.tables import Table, TablePart
from dlrun.data.untrusted_files import Array
from dlrun.errors import DataError
from dlrun.experiments.base import Experiment, load_data
from dlrun.experiments.predictions import (
    PredictedClasses,
    PredictedValues,
    Predictions,
    keep_test_predictions,
)
from dlrun.experiments.predictors import RowPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.experiments.tables import (
    Matrix,
    TableAssets,
    divide_rows,
    draw_test_values,
    fingerprint_table,
    metrics_of_table,
    straw_man_metrics,
)
from dlrun.metrics import VALID, describe_metric
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.folder import to_csv
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, newest_metrics
from dlrun.system.console import Screen, format_position, to_json

FitArrays = dict[str, Array]  # what a run saves of a fit
FitIterator = Iterator[FitArrays]
Parts = dict[str, TablePart]  # train, test, and valid if rows validate
MODEL = "model.npz"  # the arrays of all fits of a run


class TableModel(Protocol):
    """Defines a model of the rows of a table, whose fit is arrays: they are what a run saves.

    The arrays of a linear model's fit:
    intercept: (outputs,) or ().
    coefficients: (outputs, columns) or (columns,), of the columns as they are.
    standardised: the coefficients of standardised columns; required if there are several fits.
    """

    step: str  # what a fit is called
    recorded_numbers: tuple[str, ...] = ()  # single numbers of a fit that metrics.csv has too
    shown_number: str = ""  # which of them is shown at each step; empty: none

    def iterate_fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> FitIterator:
        """Yield the fits after the first `done` ones; that which validates best is kept.

        rows: (n, columns). targets: values (n,), or the indices of classes.
        """

    def predict(self, fit: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes), for rows (n, columns)."""


@dataclass(frozen=True)
class FittedModel:
    """Holds a fit of a model, and the assets with which it reads rows."""

    model: TableModel
    assets: TableAssets
    arrays: FitArrays

    def infer(self, rows: Matrix) -> Matrix:
        """Return class probabilities (n, classes), or values (n,) in the unit of the target."""
        outputs = self.model.predict(self.arrays, rows)
        return outputs if self.assets.labels else self.assets.centre + self.assets.scale * outputs

    def predict(self, part: TablePart) -> Predictions:
        """Return the predictions of a part of a table."""
        outputs = self.infer(part.X)
        labels = self.assets.labels
        if not labels:
            return PredictedValues(part.targets, outputs, row_names=part.names)
        classes = outputs.argmax(1)
        return PredictedClasses(part.targets, classes, outputs.max(1), labels, row_names=part.names)


class TableExperiment(Experiment[CpuOnlyConfig]):
    """Fits a model to a table, and keeps the fit that validates best.

    make_model: returns the model for a config.
    """

    def __init__(self, make_model: Callable[[Any], TableModel]) -> None:
        self.make_model = make_model

    def run(self, config: CpuOnlyConfig, context: RunContext) -> Results:
        """Fit the model, choose the best fit, and write coefficients and predictions."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            table: Table = load_data(config, context)
            parts = divide_rows(config, table, context.screen)
            assets = TableAssets.of(table)
            context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            fitted_models = self._fit_all(table, assets, parts, config, context)
        best = _best_step(context.steps.rows, metrics_of_table(config, assets.labels)[0])
        fitted = fitted_models[best]
        all_arrays = [fitted_model.arrays for fitted_model in fitted_models]
        stacked = {
            name: np.stack([arrays[name] for arrays in all_arrays]) for name in all_arrays[0]
        }
        context.keep(MODEL, _pack(stacked))
        predictions = fitted.predict(table.test)
        keep_test_predictions(context, config.predictions, predictions, table.describe)
        extra: dict[str, object] = {"best_index": best, "train_rows": len(parts["train"])}
        if "coefficients" in fitted.arrays:
            sizes = [fitted.arrays[name].size for name in ("intercept", "coefficients")]
            extra["parameters"] = sum(sizes)
        _summarise(context, table, parts, fitted)
        metrics = newest_metrics([context.steps.rows[best]])  # drops R² of one row: it is NaN
        metrics.pop("fit", None)  # a step so called is only a counter; "alpha" is a result
        return Results(
            metrics=metrics | predictions.test_metrics | straw_man_metrics(table, context.screen),
            accelerator=accelerator,
            origin=table.origin,
            test_rows=len(table.test),
            classes=predictions.classes,
            extra=extra,
        )

    def _fit_all(
        self,
        table: Table,
        assets: TableAssets,
        parts: Parts,
        config: CpuOnlyConfig,
        context: RunContext,
    ) -> list[FittedModel]:
        """Return all fits of the model; each fit is a step of the run."""
        model = self.make_model(config)
        steps = context.steps
        total = config.total_steps or 1
        targets = _targets_to_fit(assets, parts["train"])
        names = metrics_of_table(config, assets.labels)
        metrics = [f"{part_name}_{name}" for part_name in parts for name in names]
        shown = [name for name in metrics if not name.startswith("train_")]
        if model.shown_number:
            shown.insert(0, model.shown_number)
        csv_columns = dict.fromkeys([model.step, *model.recorded_numbers, *metrics, SECONDS])
        checkpoint = steps.begin([*csv_columns], fingerprint_table(table))
        saved = [_unpack(content) for content in checkpoint.parts] if checkpoint else []
        fitted_models = [FittedModel(model, assets, arrays) for arrays in saved]
        if len(fitted_models) == total:
            return fitted_models
        with steps.progress("fit", total, model.step):
            started = time.perf_counter()
            done = len(fitted_models)
            for arrays in model.iterate_fits(parts["train"].X, targets, done, context.screen):
                fitted = FittedModel(model, assets, arrays)
                fitted_models.append(fitted)
                row = {model.step: len(fitted_models)} | _row_of_fit(fitted, parts, names)
                line = "  ".join(f"{name} {format_metric(row[name])}" for name in shown)
                row[SECONDS] = time.perf_counter() - started
                position = format_position(len(fitted_models), total)
                steps.finish(row, f"{model.step} {position}  {line}", b"", _pack(arrays))
                context.stop.raise_if_received()
                started = time.perf_counter()
        return fitted_models

    def test(self, run: Run, config: CpuOnlyConfig, context: RunContext) -> Predictions:
        """Predict the test set again with the fit that was kept."""
        table: Table = load_data(config, context)
        run.check_data(fingerprint_table(table))
        return self._load_best(run, config).predict(table.test)

    def predictor(self, run: Run, config: CpuOnlyConfig) -> RowPredictor:
        """Return a predictor for rows of a table."""
        fitted = self._load_best(run, config)
        return fitted.assets.predictor(fitted.infer)

    def _load_best(self, run: Run, config: CpuOnlyConfig) -> FittedModel:
        """Return the fit that a run kept."""
        best = run.results["best_index"]
        arrays = {name: stacked[best] for name, stacked in _unpack(run.read(MODEL)).items()}
        return FittedModel(self.make_model(config), TableAssets.of_run(run), arrays)

    def draw(self, run: Run, config: CpuOnlyConfig) -> DrawnFigures:
        """Draw errors and coefficients by penalty, or of one fit the predicted and true values."""
        from dlrun.plots import draw_penalty_path  # slow: matplotlib

        assets = TableAssets.of_run(run)
        title = self.title(run)
        if len(run.rows) == 1:
            return {} if assets.labels else draw_test_values(run, title=title)
        table_columns = assets.columns.names
        metric, _ = metrics_of_table(config, assets.labels)
        # (fits, lines): a line for each output and column; two classes have one output.
        coefficient_paths = _unpack(run.read(MODEL))["standardised"].reshape(len(run.rows), -1)
        outputs = (assets.labels or [""])[-(coefficient_paths.shape[1] // len(table_columns)) :]
        names = [f"{column} {output}".strip() for output in outputs for column in table_columns]
        best = run.results["best_index"]
        figure = draw_penalty_path(run.table, metric, coefficient_paths, names, best, title=title)
        return {"lasso_path.png": figure}


def _row_of_fit(fitted: FittedModel, parts: Parts, names: Sequence[str]) -> dict[str, float]:
    """Return the single numbers of a fit and its metrics of these names, by part of the table."""
    row = {name: fitted.arrays[name].item() for name in fitted.model.recorded_numbers}
    for part_name, part in parts.items():
        values = fitted.predict(part).metrics
        row |= {f"{part_name}_{name}": values.get(name, math.nan) for name in names}
    return row


def _best_step(rows: list[dict[str, float]], metric: str) -> int:
    """Return the index of the step that validates best; without validation, of the only one."""
    valid = f"{VALID}{metric}"
    sign = describe_metric(valid, {}).sign
    return max(range(len(rows)), key=lambda index: sign * rows[index].get(valid, 0))


def _targets_to_fit(assets: TableAssets, train: TablePart) -> Array:
    """Return class indices, or standardised values. Raises DataError if a class has no row."""
    if not assets.labels:
        return (train.targets - assets.centre) / assets.scale
    for index, name in enumerate(assets.labels):
        if index not in train.targets:
            problem = f"column {assets.target!r}: no row of the class {name!r} is left to fit"
            raise DataError(problem, "give more rows of it, or a smaller data.validation")
    return train.targets


def _summarise(context: RunContext, table: Table, parts: Parts, fitted: FittedModel) -> None:
    """Write the summary of the data and, of a linear model, of the coefficients."""
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    summary = [f"data     {table.origin.text}", f"rows     {counts}"]
    summary += [f"columns  {len(table.columns.names)}"]
    if "coefficients" in fitted.arrays:
        summary += ["", *_keep_coefficients(context, fitted)]
    context.write_summary("\n".join(summary))


def _keep_coefficients(context: RunContext, fitted: FittedModel) -> list[str]:
    """Write coefficients.csv, with a column for each class; return its rows as lines of text."""
    intercepts = np.atleast_1d(fitted.arrays["intercept"])
    table = np.column_stack([intercepts, np.atleast_2d(fitted.arrays["coefficients"])]).T
    names = ["(intercept)", *fitted.assets.columns.names]
    outputs = (fitted.assets.labels or ["coefficient"])[-len(table.T) :]  # two classes have one
    rows = [(name, *row) for name, row in zip(names, table.tolist(), strict=True)]
    context.keep("coefficients.csv", to_csv([("column", *outputs), *rows]))
    return [" ".join([f"{name:<20}", *(f"{value:>14.6g}" for value in row)]) for name, *row in rows]


def _pack(arrays: FitArrays) -> bytes:
    content = io.BytesIO()
    saved: dict[str, Any] = arrays  # savez's stubs take Any by keyword
    np.savez(content, **saved)
    return content.getvalue()


def _unpack(content: bytes) -> FitArrays:
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)
