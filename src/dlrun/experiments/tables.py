"""Load tables, fit models to them, predict rows of other tables, and draw test values."""

import io
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import VOLUME, TradingDaysDataConfig
from dlrun.config.sections import CpuOnlyConfig, ExperimentConfig
from dlrun.data.archives import Array
from dlrun.data.sources import dataset_of
from dlrun.data.splits import split_off_validation
from dlrun.data.tables import Table, TableColumns, TablePart
from dlrun.data.trading_days import make_days
from dlrun.errors import DataError
from dlrun.experiments import predictions
from dlrun.experiments.base import (
    Experiment,
    Network,
    NetworkAssets,
    NetworkToExport,
    linear_network,
    load_data,
)
from dlrun.experiments.predictions import PredictedClasses, PredictedValues, Predictions
from dlrun.experiments.predictors import RowPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.metrics import VALID, describe_metric
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import to_csv
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, newest_metrics
from dlrun.system.console import Screen, format_position, to_json

Matrix = NDArray[np.float64]
Arrays = dict[str, Array]
Parts = dict[str, TablePart]  # train, valid, test
MODEL = "model.npz"  # the arrays of all fits of a run
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
        return cls(
            labels=table.labels,
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
            [*columns.levels], lambda row: np.array(columns.encode(row)), infer, self.labels or ()
        )


def fingerprint_table(table: Table) -> str:
    """Return a fingerprint of a table, equal for all models of the same rows."""
    names = {"labels": table.labels, "columns": table.columns.levels, "target": table.target}
    return fingerprint_data(table.digest, names)


def load_configured_table(config: ExperimentConfig, context: RunContext) -> Table:
    """Return the table of an experiment, without NYSE's weekday if the model does not read it."""
    data = config.data_section
    if not isinstance(data, TradingDaysDataConfig):
        table: Table = load_data(config, context)
        return table
    days = dataset_of(data).find(data, context.data_dir, config.split_seed, context.screen)
    return make_days(days, weekday=getattr(getattr(config, "model", None), "day_of_week", False))


def divide_rows(config: ExperimentConfig, table: Table, screen: Screen) -> Parts:
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
    screen.note(f"{STRAW_MAN} is the test R² of yesterday's {VOLUME} as the prediction")
    centre, scale = table.target_scale
    before = centre + scale * table.test.X[:, table.columns.names.index(f"{VOLUME}_1")]
    return {STRAW_MAN: PredictedValues(table.test.targets, before).r2}


def draw_test_values(run: Run, *, title: str) -> DrawnFigures:
    """Draw the values in predictions.csv, if the run wrote it; those of NYSE as a series."""
    from dlrun.plots import draw_series, draw_true_and_predicted  # slow: matplotlib

    values = predictions.read_predictions(run)
    if not isinstance(values, PredictedValues):
        return {}
    target = TableAssets.of_run(run).target
    straw_man = run.record.metrics.get(STRAW_MAN)
    if straw_man is None:
        figure = draw_true_and_predicted(values.true, values.predicted, target, title=title)
        return {"true_and_predicted.png": figure}
    note = f"test R² {values.r2:.4f}; of the day before as the prediction {straw_man:.4f}"
    figure = draw_series(values.true, values.predicted, target, note, title=title)
    return {"test_period.png": figure}


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
        super().__init__(name)
        self.make = make
        self.metrics = metrics

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
            fits = self._fit_all(context, model, config.total_steps or 1, table, parts)
        rows = context.steps.rows
        valid = f"{VALID}{self._metrics(assets)[0]}"
        sign = describe_metric(valid, {}).sign
        best = max(range(len(rows)), key=lambda index: sign * rows[index].get(valid, 0))
        arrays = {name: np.stack([fit[name] for fit in fits]) for name in fits[best]}
        context.keep(MODEL, _pack(arrays))
        predicted = _predict_part(model, assets, fits[best], table.test)
        predictions.keep_test_predictions(context, config.predictions, predicted, table.describe)
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
            metrics=metrics | predicted.test_metrics | straw_man_metrics(table, context.screen),
            accelerator=accelerator,
            origin=table.origin,
            test_rows=len(table.test),
            classes=predicted.classes,
            extra=extra,
        )

    def _metrics(self, assets: TableAssets) -> tuple[str, str]:
        return ("accuracy", "macro_f1") if assets.labels else self.metrics

    def _fit_all(
        self, context: RunContext, model: TableModel, total: int, table: Table, parts: Parts
    ) -> list[Arrays]:
        """Return the arrays of all fits; each fit is a step of the run."""
        steps = context.steps
        train = parts["train"]
        assets = TableAssets.of(table)
        _check_classes(assets, train)
        targets = train.targets
        if not assets.labels:
            targets = (targets - assets.centre) / assets.scale
        names = self._metrics(assets)
        metrics = [f"{part}_{name}" for part in parts for name in names]
        shown = [*model.columns[1:2], *(name for name in metrics if not name.startswith("train_"))]
        columns = list(dict.fromkeys([model.step, *model.columns, *metrics, SECONDS]))
        checkpoint = steps.begin(columns, fingerprint_table(table))
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
        network = self.network(run, config)
        weight = next(network.parameters())  # (outputs, columns)
        return NetworkToExport(
            network,
            "rows",
            lambda rows: weight.new_empty(rows, weight.shape[1]).normal_(),
            run.assets,
        )

    def test(self, run: Run, config: CpuOnlyConfig, context: RunContext) -> Predictions:
        """Predict the test set again with the fit that was kept."""
        table = load_configured_table(config, context)
        run.check_data(fingerprint_table(table))
        assets = TableAssets.of_run(run)
        return _predict_part(self.make(config), assets, _read_fit(run), table.test)

    def predictor(self, run: Run, config: CpuOnlyConfig) -> RowPredictor:
        """Return a predictor for rows of a table."""
        model = self.make(config)
        assets = TableAssets.of_run(run)
        fit = _read_fit(run)
        return assets.predictor(lambda rows: _predict(model, assets, fit, rows))

    def draw(self, run: Run, config: CpuOnlyConfig) -> DrawnFigures:
        """Draw errors and coefficients by penalty, or of one fit the predictions of values."""
        from dlrun.plots import draw_penalty_path  # slow: matplotlib

        assets = TableAssets.of_run(run)
        title = self.title(run)
        if len(run.rows) == 1:
            return {} if assets.labels else draw_test_values(run, title=title)
        columns = assets.columns.names
        metric = self._metrics(assets)[0]
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
        return PredictedValues(part.targets, outputs, row_names=part.names)
    return PredictedClasses(
        part.targets, outputs.argmax(1), outputs.max(1), assets.labels, row_names=part.names
    )


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
    content = io.BytesIO()
    saved: dict[str, Any] = arrays  # numpy's types want it so
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
