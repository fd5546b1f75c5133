"""Define the base class of fits of a model to a table; the best is fitted again to all rows."""

import io
import math
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from dlrun.errors import DataError
from dlrun.estimators.table_model import FitArrays, FittedModel, TableModel
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.experiments.table_common import (
    EncodedPart,
    EncodedTable,
    TableAssets,
    TablePredictor,
    column_table,
    divide_rows,
    draw_predicted_and_true,
    encode_part,
    find_class_without_row,
    fingerprint_table,
    make_split_of_table,
    metric_names_of_table,
    straw_man_metrics,
    warn_of_perfect_fit,
)
from dlrun.experiments.table_importance import draw_importance, save_importance
from dlrun.experiments.tables import TableFitConfig
from dlrun.metrics import (
    CROSS_VALIDATED,
    TESTED,
    VALID,
    describe_metric,
    format_metric,
    without_stage,
)
from dlrun.runs.csv_tables import parse_csv, to_csv
from dlrun.runs.folder import COLUMNS, MODEL, PATH
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import SECONDS, newest_metrics
from dlrun.runs.predictions_csv import Predictions
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import ASSETS, Run
from dlrun.system.console import Screen
from dlrun.system.files import read_arrays
from dlrun.system.json_text import to_json
from dlrun.system.text import format_position, format_text_table
from dlrun.tables.table import Table

F = TypeVar("F", bound=TableFitConfig)


class TableFitImplementation(Implementation[F], Generic[F]):
    """Fits a model to a table, and keeps the fit that validates best.

    Where training rows were held out for validation, the model is fitted to all of them at last.

    for_trees: see `EncodedTable.fit`.
    """

    for_trees: ClassVar[bool] = False

    @abstractmethod
    def make_model(self, config: F) -> TableModel:
        """Return the model for a config, not fitted yet."""

    def run(self, config: F, run: LiveRun) -> Results:
        """Fit the model, choose the best fit, and write its coefficients and predictions."""
        accelerator = config.report_cpu(run.screen.warn)
        with run.phase("data"):
            table: Table = self.load_data(config, run.data_dir, run.screen)
            parts = divide_rows(config, table, run.screen)
            encoded = EncodedTable.fit(config, table, parts, for_trees=self.for_trees)
        with run.phase("fit"):
            fits = self._fit_all(config, run, encoded, fingerprint_table(table))
            best = self._best_step(run.rows, config)
            if len(fits) > 1:
                run.keep(PATH, to_csv(_table_of_path(fits)))
            best_fit = fits[best]
            if len(parts["train"]) < len(table.train):
                encoded, best_fit = self._refit(config, run, table, best_fit)
        columns = column_table(encoded.assets)
        run.keep(ASSETS, to_json(encoded.assets.values()).encode())
        run.keep(COLUMNS, to_csv(columns))
        run.keep(MODEL, _pack(best_fit.arrays))
        predictions = best_fit.predict(encoded.parts["test"])
        warn_of_perfect_fit(predictions, run.screen)
        save_test_predictions(run, config.predictions, predictions, table.describe)
        test = encoded.parts["test"]
        save_importance(run, encoded.assets, best_fit.infer, test.X, test.targets)
        _write_summary(run, table, encoded, columns, best_fit)
        extra: dict[str, object] = {"train_rows": len(encoded.parts["train"])}
        if "coefficients" in best_fit.arrays:
            sizes = [best_fit.arrays[name].size for name in ("intercept", "coefficients")]
            extra["parameters"] = sum(sizes)
        metrics = newest_metrics([run.rows[best] | best_fit.recorded_numbers])  # without NaN
        validated_parts = parts
        if any(name.startswith(VALID) for name in metrics):  # maybe by a cross-validation
            validated_parts = {"valid": parts["train"], **parts}
        metrics.pop("fit", None)  # a step so called is only a counter; "lambda" is a result
        return Results(
            metrics=metrics | predictions.test_metrics | straw_man_metrics(table, run.screen),
            accelerator=accelerator,
            origin=table.origin,
            split=make_split_of_table(config, table, validated_parts),
            test_rows=len(table.test),
            rows=table.counts,
            classes=predictions.summarise_classes(parts["train"].targets),
            extra=extra,
        )

    def _fit_all(
        self,
        config: F,
        run: LiveRun,
        table: EncodedTable,
        digest: str,
    ) -> list[FittedModel]:
        """Return all fits of the model, each a step; a resumed run begins after its saved fits."""
        model = self.make_model(config)
        assets = table.assets
        _check_classes(table)
        metric_names = metric_names_of_table(config, assets.labels)
        steps = run.begin_steps(None, digest)
        fits = [FittedModel(model, assets, read_arrays(content)) for content in steps.saved_parts]
        total = config.total_steps or 1
        if len(fits) == total:
            return fits
        with steps.progress_bar("fit", total, model.step_name):
            started = time.perf_counter()
            for arrays in model.iterate_fits(table, len(fits), run.screen):
                fits.append(FittedModel(model, assets, arrays))
                row = _row_of_fit(fits[-1], len(fits), table.parts, metric_names)
                row[SECONDS] = time.perf_counter() - started
                position = f"{model.step_name} {format_position(len(fits), total)}"
                line = f"{position}  {_shown_metrics(row)}"
                steps.finish(row, line, b"", _pack(arrays))
                started = time.perf_counter()
        return fits

    def _refit(
        self, config: F, run: LiveRun, table: Table, chosen: FittedModel
    ) -> tuple[EncodedTable, FittedModel]:
        """Return the fit to all training rows, with those that validated, and the encoded rows."""
        parts = {"train": table.train, "test": table.test}
        encoded = EncodedTable.fit(config, table, parts, for_trees=self.for_trees)
        arrays = chosen.model.refit(encoded, chosen.arrays, run.screen)
        return encoded, FittedModel(chosen.model, encoded.assets, arrays)

    def _best_step(self, rows: Sequence[dict[str, float]], config: F) -> int:
        """Return the index of the fit that validates best, or of the only one."""
        if len(rows) == 1:
            return 0
        name = self.make_model(config).chosen_by
        sign = describe_metric(name, {}).sign
        return max(range(len(rows)), key=lambda index: sign * rows[index][name])

    def test(self, run: Run, config: F, data_dir: Path, screen: Screen) -> Predictions:
        """Predict the test set again with the fit that was kept."""
        table: Table = self.load_data(config, data_dir, screen)
        run.check_data(fingerprint_table(table))
        fit = self._load_fit(run, config)
        return fit.predict(encode_part(table.test, fit.assets.encoder))

    def predictor(self, run: Run, config: F) -> TablePredictor:
        """Return a predictor for rows of a table."""
        fit = self._load_fit(run, config)
        return fit.assets.predictor(fit.infer)

    def _load_fit(self, run: Run, config: F) -> FittedModel:
        """Return the fit that a run kept."""
        arrays = read_arrays(run.read(MODEL))
        return FittedModel(self.make_model(config), TableAssets.of_run(run), arrays)

    def draw(self, run: Run, config: F) -> DrawnFigures:
        """Draw what a model predicts, what matters to it, and of a lasso its path."""
        labels = TableAssets.of_run(run).labels
        title = self.title(run)
        figures: DrawnFigures = {}
        if len(run.rows) > 1:
            figures |= self._draw_path(run, config)
        if labels:
            figures |= super().draw(run, config)
        elif len(run.rows) == 1:
            figures |= draw_predicted_and_true(run, title=title)
        return figures | draw_importance(run, title=title)

    def _draw_path(self, run: Run, config: F) -> DrawnFigures:
        """Draw errors and coefficients by penalty."""
        from dlrun.plots import draw_penalty_path  # slow: matplotlib

        metric = without_stage(self.make_model(config).chosen_by)
        (_, *names), fits = parse_csv(run.read(PATH))
        coefficients = np.array(fits, np.float64)[:, 1:]
        best = self._best_step(run.rows, config)
        title = self.title(run)
        figure = draw_penalty_path(run.table, metric, coefficients, names, best, title=title)
        return {"lasso_path.png": figure}


def _row_of_fit(
    fit: FittedModel, number: int, parts: Mapping[str, EncodedPart], metric_names: Sequence[str]
) -> dict[str, float]:
    """Return a fit's row of metrics.csv: number or penalty, and metrics by part."""
    row: dict[str, float] = {fit.model.step_name: number}
    row |= fit.recorded_numbers
    for part_name, part in parts.items():
        predictions = fit.predict(part)
        metrics = predictions.main_metrics | predictions.further_metrics
        row |= {f"{part_name}_{name}": metrics.get(name, math.nan) for name in metric_names}
    return row


def _shown_metrics(row: dict[str, float]) -> str:
    """Return the validation metrics as the text of a line, or those of the test without any.

    A model that validates is fitted again, so that its test metrics are still to come.
    """
    shown = [name for name in row if name.startswith((CROSS_VALIDATED, VALID))]
    shown = shown or [name for name in row if name.startswith(TESTED)]
    return "  ".join(f"{name} {format_metric(row[name])}" for name in shown)


def _check_classes(table: EncodedTable) -> None:
    """Raise DataError if a class has no row to fit."""
    missing = find_class_without_row(table.assets.labels, table.parts["train"].targets)
    if missing is not None:
        problem = f"column {table.assets.target!r}: no row of the class {missing!r} is left to fit"
        raise DataError(problem, "give more rows of it, or a smaller data.validation")


def _table_of_path(fits: Sequence[FittedModel]) -> list[Sequence[str | float]]:
    """Return the standardised coefficients of each fit of a path, with a header."""
    (step_name, *_) = fits[0].model.recorded_numbers
    columns = fits[0].assets.encoder.names
    classes = fits[0].assets.labels or [""]
    outputs = classes[-len(np.atleast_2d(fits[0].arrays["standardised"])) :]  # two classes have one
    names = [f"{column} {output}".strip() for output in outputs for column in columns]
    rows = [
        [fit.arrays[step_name].item(), *fit.arrays["standardised"].ravel().tolist()] for fit in fits
    ]
    return [[step_name, *names], *rows]


def _write_summary(
    run: LiveRun,
    table: Table,
    encoded: EncodedTable,
    columns: Sequence[Sequence[str]],
    fit: FittedModel,
) -> None:
    """Write a summary of the data, and a linear model's coefficients to it and to a CSV file."""
    counts = ", ".join(f"{len(part):,} {name}" for name, part in encoded.parts.items())
    lines = [f"data     {table.origin.text}", f"rows     {counts}"]
    lines += ["", *format_text_table(columns, left=range(4))]
    if "coefficients" in fit.arrays:
        header, *rows = _coefficient_table(fit)
        run.keep("coefficients.csv", to_csv([header, *rows]))
        lines.append("")
        for name, *row in rows:
            lines.append(" ".join([f"{name:<20}", *(f"{value:>14.6g}" for value in row)]))
    run.write_summary("\n".join(lines))


def _coefficient_table(fit: FittedModel) -> list[tuple[str | float, ...]]:
    """Return the header and the rows of coefficients.csv, with a column for each class."""
    intercepts = np.atleast_1d(fit.arrays["intercept"])
    table = np.column_stack([intercepts, np.atleast_2d(fit.arrays["coefficients"])]).T
    names = ["(intercept)", *fit.assets.encoder.names]
    outputs = (fit.assets.labels or ["coefficient"])[-len(table.T) :]  # two classes have one
    rows = [(name, *row) for name, row in zip(names, table.tolist(), strict=True)]
    return [("column", *outputs), *rows]


def _pack(arrays: FitArrays) -> bytes:
    """Return arrays as the bytes of an .npz file."""
    content = io.BytesIO()
    saved: dict[str, Any] = arrays  # savez's stubs take Any by keyword
    np.savez(content, **saved)
    return content.getvalue()
