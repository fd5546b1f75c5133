"""Define experiments that fit a model to a table: the model says how, the rest is here."""

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from dlrun.config.sections import CpuOnlyConfig
from dlrun.data.archives import Array
from dlrun.data.tables import TablePart
from dlrun.errors import DataError
from dlrun.experiments.base import Experiment, Network, NetworkToExport, linear_network
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
    load_configured_table,
    row_describer,
    row_predictor,
    straw_man_metrics,
)
from dlrun.metrics import VALID, describe_metric
from dlrun.plots.run import draw_penalty_path
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import to_csv
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, newest_metrics
from dlrun.system.console import Screen, format_position, to_json

Arrays = dict[str, Array]
MODEL = "model.npz"  # the arrays of all fits of a run


class TableModel(Protocol):
    """Defines a model of the rows of a table, whose fit is arrays: they are what a run saves.

    step: what a fit is called. columns: the single numbers of a fit that metrics.csv has too.
    """

    step: str
    columns: tuple[str, ...]

    def fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> Iterator[Arrays]:
        """Yield the fits after the first `done` ones; that which validates best is kept.

        rows: (n, columns). targets: values (n,), or the indices of classes.
        """

    def predict(self, fit: Arrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes), for rows (n, columns)."""


class TableExperiment(Experiment[CpuOnlyConfig]):
    """Fits a model to a table, and keeps the fit that validates best.

    make: returns the model for a config. metrics: of values, the main one first.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Any], TableModel],
        metrics: tuple[str, str] = ("mae", "r2"),
    ) -> None:
        self.name, self.make, self.metrics = name, make, metrics

    def run(self, config: CpuOnlyConfig, context: RunContext) -> Results:
        """Fit the model, choose the best fit, and write coefficients and predictions."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            table = load_configured_table(config, context)
            parts = divide_rows(config, table, context.screen)
            assets = TableAssets.of(table)
            context.keep(ASSETS, to_json(assets.values()).encode())
        model = self.make(config)
        with context.phase("fit"):
            fits = self._fit_all(config, context, model, parts, assets, table.fingerprint())
        rows, valid = context.steps.rows, f"{VALID}{self._metrics(assets)[0]}"
        sign = describe_metric(valid, {}).sign
        best = max(range(len(rows)), key=lambda index: sign * rows[index].get(valid, 0))
        arrays = {name: np.stack([fit[name] for fit in fits]) for name in fits[best]}
        context.keep(MODEL, _pack(arrays))
        predictions = _predict_part(model, assets, fits[best], table.test)
        keep_test_predictions(context, config.predictions, predictions, row_describer(table))
        counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
        lines = [f"data     {table.origin.text}", f"rows     {counts}"]
        lines += [f"columns  {len(assets.columns.names)}"]
        extra: dict[str, object] = {"best_index": best, "train_rows": len(parts["train"])}
        if "coefficients" in fits[best]:
            extra["parameters"] = fits[best]["intercept"].size + fits[best]["coefficients"].size
            lines += ["", *_keep_coefficients(context, assets, fits[best])]
        context.write_summary("\n".join(lines))
        metrics = newest_metrics([rows[best]])  # without R² of a single row, which is NaN
        metrics.pop("fit", None)
        return Results(
            metrics=metrics | straw_man_metrics(table, context.screen),
            accelerator=accelerator,
            origin=table.origin,
            test_rows=len(table.test),
            classes=predictions.classes,
            reference=config.reference_section.model_dump() if config.reference_section else {},
            extra=extra,
        )

    def _metrics(self, assets: TableAssets) -> tuple[str, str]:
        return ("accuracy", "macro_f1") if assets.labels else self.metrics

    def _fit_all(
        self,
        config: CpuOnlyConfig,
        context: RunContext,
        model: TableModel,
        parts: Mapping[str, TablePart],
        assets: TableAssets,
        digest: str,
    ) -> list[Arrays]:
        """Return the arrays of all fits; each fit is a step of the run."""
        steps, total, train = context.steps, config.total_steps or 1, parts["train"]
        _check_classes(assets, train)
        targets = train.targets
        if not assets.labels:
            targets = (targets - assets.centre) / assets.scale
        names = self._metrics(assets)
        metrics = [f"{part}_{name}" for part in parts for name in names]
        shown = [*model.columns[1:2], *(name for name in metrics if not name.startswith("train_"))]
        columns = list(dict.fromkeys([model.step, *model.columns, *metrics, SECONDS]))
        checkpoint = steps.begin(columns, fingerprint_data(digest, assets.values()))
        fits = [_unpack(part) for part in checkpoint.parts] if checkpoint else []
        with steps.progress("fit", total, model.step):
            started = time.perf_counter()
            for fit in model.fits(train.X, targets, len(fits), context.screen):
                fits.append(fit)
                row = {model.step: len(fits)} | {name: float(fit[name]) for name in model.columns}
                for part, rows in parts.items():
                    values = _predict_part(model, assets, fit, rows).metrics
                    row |= {f"{part}_{name}": values.get(name, math.nan) for name in names}
                line = "  ".join(f"{name} {format_metric(row[name])}" for name in shown)
                row |= {SECONDS: time.perf_counter() - started}
                position = format_position(len(fits), total)
                steps.finish(row, f"{model.step} {position}  {line}", b"", _pack(fit))
                context.stop.after_step()
                started = time.perf_counter()
        return fits

    def network(self, run: Run, config: CpuOnlyConfig) -> Network:
        """Return a linear model: matrix (rows, columns) -> outputs (rows, ...), see TableAssets."""
        fit = _read_fit(run)
        if "coefficients" not in fit:
            return super().network(run, config)
        return linear_network(fit["coefficients"], fit["intercept"])

    def exported(self, run: Run, config: CpuOnlyConfig) -> NetworkToExport:
        """Return a linear model for export, with random numbers as inputs."""
        network, columns = self.network(run, config), len(TableAssets.of_run(run).columns.names)
        weight = next(network.parameters())
        return NetworkToExport(
            network, "rows", lambda rows: weight.new_empty(rows, columns).normal_(), run.assets
        )

    def test(self, run: Run, config: CpuOnlyConfig, context: RunContext) -> Predictions:
        """Predict the test set again with the fit that was kept."""
        table, assets = load_configured_table(config, context), TableAssets.of_run(run)
        run.check_data(fingerprint_data(table.fingerprint(), assets.values()))
        return _predict_part(self.make(config), assets, _read_fit(run), table.test)

    def predictor(self, run: Run, config: CpuOnlyConfig) -> RowPredictor:
        """Return a predictor for rows of a table."""
        model, assets, fit = self.make(config), TableAssets.of_run(run), _read_fit(run)
        return row_predictor(assets, lambda rows: _predict(model, assets, fit, rows))

    def draw(self, run: Run, config: CpuOnlyConfig) -> DrawnFigures:
        """Draw errors and coefficients by penalty, or of one fit the predictions of values."""
        assets, title = TableAssets.of_run(run), self.title(run)
        if len(run.rows) == 1:
            return {} if assets.labels else draw_test_values(run, title=title)
        columns, metric = assets.columns.names, self._metrics(assets)[0]
        lines = _read_arrays(run)["standardised"].reshape(len(run.rows), -1)
        outputs = (assets.labels or [""])[-(lines.shape[1] // len(columns)) :]
        names = [f"{column} {output}".strip() for output in outputs for column in columns]
        best = run.results["best_index"]
        figure = draw_penalty_path(run.table, metric, lines, names, best, title=title)
        return {"lasso_path.png": figure}


def _predict(model: TableModel, assets: TableAssets, fit: Arrays, rows: Matrix) -> Matrix:
    """Return class probabilities (n, classes), or values (n,) in the unit of the target."""
    outputs = model.predict(fit, rows)
    return outputs if assets.labels else assets.centre + assets.scale * outputs


def _predict_part(
    model: TableModel, assets: TableAssets, fit: Arrays, part: TablePart
) -> Predictions:
    outputs = _predict(model, assets, fit, part.X)
    if not assets.labels:
        return PredictedValues(part.targets, outputs)
    predicted, probability = outputs.argmax(1), outputs.max(1)
    return PredictedClasses(part.targets, predicted, probability, assets.labels)


def _check_classes(assets: TableAssets, train: TablePart) -> None:
    """Raise DataError if no row of a class is left to fit."""
    for index, name in enumerate(assets.labels or ()):
        if index not in train.targets:
            problem = f"column {assets.target!r}: no row of the class {name!r} is left to fit"
            raise DataError(problem, "give more rows of it, or a smaller data.validation")


def _keep_coefficients(context: RunContext, assets: TableAssets, fit: Arrays) -> list[str]:
    """Write coefficients.csv, with a column for each class; return its rows as lines of text."""
    table = np.column_stack([np.atleast_1d(fit["intercept"]), np.atleast_2d(fit["coefficients"])]).T
    names = ["(intercept)", *assets.columns.names]
    outputs = (assets.labels or ["coefficient"])[-len(table.T) :]
    rows = [(name, *row) for name, row in zip(names, table.tolist(), strict=True)]
    context.keep("coefficients.csv", to_csv([("column", *outputs), *rows]))
    return [" ".join([f"{name:<20}", *(f"{value:>14.6g}" for value in row)]) for name, *row in rows]


def _pack(arrays: Arrays) -> bytes:
    content, saved = io.BytesIO(), dict[str, Any](arrays)  # numpy's types want it so
    np.savez(content, **saved)
    return content.getvalue()


def _unpack(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def _read_arrays(run: Run) -> Arrays:
    """Return the arrays of all fits of a run (fits, ...)."""
    return _unpack(run.read(MODEL))


def _read_fit(run: Run) -> Arrays:
    """Return the arrays of the fit that a run kept."""
    return {name: fits[run.results["best_index"]] for name, fits in _read_arrays(run).items()}
