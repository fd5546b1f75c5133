"""`dlrun predict`: predict new inputs, or the run's own test set, with a finished run."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from dlrun.cli import options as opt
from dlrun.cli.predict_by_word import check_out, show_text_by_word
from dlrun.cli.prediction_inputs import PredictionInput, is_existing_path, read_inputs
from dlrun.errors import ConfigError
from dlrun.experiments.predictors import (
    MOST_LABELS,
    Prediction,
    Predictor,
    describe_unknown_levels,
)
from dlrun.experiments.saved_runs import predictor_of, test_again
from dlrun.metrics import format_metric
from dlrun.runs.csv_tables import to_plain_csv
from dlrun.runs.folder import PREDICTIONS
from dlrun.runs.output_paths import check_output_path
from dlrun.runs.predictions_csv import (
    PredictedClasses,
    Predictions,
    parse_predictions,
    read_predictions,
)
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.files import open_new_file, write_file_atomically
from dlrun.system.json_text import to_json
from dlrun.system.text import LINE_WIDTH, cut, pluralize

BATCH_INPUTS = 256
INPUT_LENGTH = 200  # so many characters identify a text in a JSON object


def predict_inputs(
    run: opt.RunName,
    inputs: Annotated[
        list[str] | None,
        opt.argument(
            "Texts, files of one text, images or folders of them; -: lines of standard input.",
            "TEXT_OR_FILE",
        ),
    ] = None,
    csv: Annotated[Path | None, opt.option("A table of texts, or of rows.", "FILE")] = None,
    column: Annotated[str | None, opt.option("The column of the texts.", "NAME")] = None,
    test: Annotated[bool, opt.flag("Predict the run's own test set.", "--test")] = False,
    by_word: Annotated[
        bool, opt.flag("Show what each word of one text does to its prediction.", "--by-word")
    ] = False,
    out: Annotated[
        Path | None,
        opt.option("Write a table of predictions; of --by-word also a figure, F.png.", "F.csv"),
    ] = None,
    force: opt.Replace = False,
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
) -> int:
    """Predict new texts, images or table rows with a finished run, read as its training data were.

    Exits with 1 if an input cannot be predicted, or a row of the run's own test set differs.

    Examples:
    dlrun predict imdb-dense/latest "A film to fall asleep in."
    dlrun predict imdb-lstm/latest --by-word "A film to fall asleep in."
    dlrun predict latest --test
    dlrun predict hitters-lasso/latest --csv new.csv --out salaries.csv
    """
    inputs = inputs or []
    opened = Run.open(run, runs_dir)
    screen = Screen()
    if out is not None:
        check_output_path("--out", out, force=force)
        files = [name for name in (*inputs, str(csv or "")) if is_existing_path(name)]
        if out.exists() and any(out.samefile(file) for file in files):
            raise ConfigError(f"--out {out}: it is an input", "choose another file")
    if by_word:
        if len(inputs) != 1 or csv or column or test:
            problem = (
                "--by-word: one text, or a file of one; only --out, --force and --json go with it"
            )
            raise ConfigError(problem, "leave out the rest")
        if out is not None:
            check_out(out)
        predictor = predictor_of(opened)
        show_text_by_word(opened, predictor, inputs[0], screen, out=out, json=json)
        return 0
    if test:
        if inputs or csv or column:
            problem = "--test: only --out, --force and --json go with it"
            raise ConfigError(problem, "leave out the rest")
        return _predict_test_set(opened, data_dir, screen, out=out, json=json)
    predictor = predictor_of(opened)
    entries = read_inputs(inputs, csv, column, opened, predictor)
    return _predict_and_show(predictor, entries, screen, out=out, json=json)


def _predict_and_show(
    predictor: Predictor,
    entries: Iterator[PredictionInput],
    screen: Screen,
    *,
    out: Path | None,
    json: bool,
) -> int:
    """Predict inputs, and write each prediction to a table or the screen; return the exit code."""
    total = 0
    failed = 0
    columns: list[str] = []
    with open_new_file(out) if out is not None else contextlib.nullcontext() as table:
        for entry, prediction in _predict_in_batches(predictor, entries):
            fields = _to_object(total, entry, prediction)
            if table is not None:
                if total == 0:
                    columns = _table_columns(predictor, entry.row_names)
                    table.write(to_plain_csv([columns]))
                cells = _table_cells(fields, entry, prediction, predictor)
                table.write(to_plain_csv([[cells.get(column) for column in columns]]))
            if json:
                screen.print_lines([to_json(fields, indent=None).rstrip()])
            elif table is None:
                screen.print_lines(_to_lines(entry, prediction, predictor))
            failed += prediction.error is not None
            total += 1
    for warning in describe_unknown_levels(predictor):
        screen.warn(warning)
    if out is not None:
        screen.note(f"table {out}: {pluralize(total - failed, predictor.reads)} predicted")
    if failed:
        screen.fail(f"{pluralize(failed, 'input')} could not be predicted")
    return 1 if failed else 0


def _predict_in_batches(
    predictor: Predictor, entries: Iterator[PredictionInput]
) -> Iterator[tuple[PredictionInput, Prediction]]:
    """Yield each input with its prediction."""
    while batch := list(itertools.islice(entries, BATCH_INPUTS)):
        values = [entry.value for entry in batch if entry.error is None]
        predictions = iter(predictor.predict(values) if values else [])
        for entry in batch:
            if entry.error is None:
                yield entry, next(predictions)
            else:
                yield entry, Prediction(error=entry.error)


def _to_lines(entry: PredictionInput, prediction: Prediction, predictor: Predictor) -> list[str]:
    if prediction.error is not None:
        place = f"line {entry.row_names['line']}: " if "line" in entry.row_names else ""
        named = f"{place}{entry.name}"
        if predictor.reads == "row":
            named = _shorten_to_line(named, LINE_WIDTH)
        return [": ".join(filter(None, ("error", named, prediction.error)))]
    if predictor.reads == "image":
        ranked = prediction.labels[: predictor.shown or MOST_LABELS]
        return [entry.name, *(f"  {value:.4f}  {label}" for label, value in ranked)]
    if prediction.value is not None:
        head = format_metric(prediction.value)
    else:
        head = f"{prediction.label}  {prediction.probability:.4f}"
    if prediction.unknown:
        head += f"  {prediction.unknown} of {pluralize(prediction.words or 0, 'word')} unknown"
    return [f"{head}  {_shorten_to_line(entry.name, LINE_WIDTH - len(head) - 2)}"]


def _to_object(row: int, entry: PredictionInput, prediction: Prediction) -> dict[str, object]:
    """The object of the JSON output lacks the keys for which the prediction has no value."""
    fields: dict[str, object] = {"row": row, **entry.row_names}
    fields["input"] = _shorten_to_line(entry.name, INPUT_LENGTH)
    if prediction.labels:
        fields |= {"label": prediction.label, "probability": prediction.probability}
        fields["probabilities"] = dict(prediction.labels)
    fields["predicted"] = prediction.value
    fields |= {key: getattr(prediction, key) for key in ("words", "unknown", "error")}
    return {key: value for key, value in fields.items() if value is not None}


def _table_cells(
    fields: Mapping[str, object],
    entry: PredictionInput,
    prediction: Prediction,
    predictor: Predictor,
) -> dict[str, object]:
    """Floats have nine digits, and the error of a text names the text's file."""
    cells = {"predicted": fields.get("label"), **fields}  # a class is predicted, or a value
    probabilities = dict(prediction.labels)
    cells |= {column: probabilities.get(label) for label, column in predictor.class_columns.items()}
    if entry.name and predictor.reads == "text" and prediction.error:
        cells["error"] = f"{entry.name}: {prediction.error}"
    return {key: f"{cell:.9g}" if isinstance(cell, float) else cell for key, cell in cells.items()}


def _table_columns(predictor: Predictor, row_names: Iterable[str]) -> list[str]:
    """The kind of the inputs decides which columns the table has."""
    classes = ["probability", *predictor.class_columns.values()] if predictor.labels else []
    words = ["words", "unknown"] if predictor.reads == "text" else []
    return ["row", *row_names, "predicted", *classes, *words, "error"]


def _shorten_to_line(text: str, length: int) -> str:
    """A text of several lines becomes one line of at most `length` characters."""
    beginning = text[: 4 * INPUT_LENGTH]  # a whole novel is not split into words
    return cut(" ".join(beginning.split()), length)


def _predict_test_set(
    run: Run, data_dir: Path | None, screen: Screen, *, out: Path | None, json: bool
) -> int:
    """Predict the run's own test set again; return 1 if a prediction differs, else 0."""
    run.check_has_result()
    screen.note(f"predicting the test set of {run.name}")
    tested = test_again(run, data_dir, screen)
    table = tested.table()
    if out is not None:
        write_file_atomically(out, table)
        screen.note(f"table {out}")
    names = tested.names if isinstance(tested, PredictedClasses) else ()
    saved = read_predictions(run, names)
    repeated = parse_predictions(table, names)  # rounded, as those of the run are
    comparison = None
    if saved and repeated:
        comparison = _TestComparison.of_predictions(saved, repeated)
    if json:
        counts = {"different_rows": None} if comparison is None else comparison.as_object()
        values = {**tested.test_metrics, "test_rows": len(tested), **counts}
        screen.print_lines(to_json(values).splitlines())
    else:
        rows = pluralize(len(tested), "row")
        lines = [f"test {_describe_metrics(tested.main_metrics)} ({rows})"]
        if tested.further_metrics:
            lines.append(f"test {_describe_metrics(tested.further_metrics)}")
        screen.print_lines([*lines, _describe(comparison, run)])
    return 1 if comparison is not None and comparison.different_rows else 0


@dataclass(frozen=True)
class _TestComparison:
    """Says in how many rows repeated test predictions differ from a run's own, and by how much.

    different_classes: None if values are predicted. largest_difference: of probabilities or values.
    """

    different_rows: int
    different_classes: int | None
    largest_difference: float

    @classmethod
    def of_predictions(cls, saved: Predictions, repeated: Predictions) -> "_TestComparison":
        is_different = saved.true != repeated.true
        different_classes = None
        if isinstance(saved, PredictedClasses) and isinstance(repeated, PredictedClasses):
            is_different |= saved.predicted != repeated.predicted
            different_classes = int(is_different.sum())
            gaps = np.abs(saved.probability - repeated.probability)
            if saved.probabilities is not None and repeated.probabilities is not None:
                gaps = np.abs(saved.probabilities - repeated.probabilities).max(axis=1)
        else:
            gaps = np.abs(saved.predicted - repeated.predicted)
        different_rows = int((is_different | (gaps > repeated.near)).sum())
        return cls(different_rows, different_classes, float(gaps.max()))

    def as_object(self) -> dict[str, object]:
        """The object is a part of the JSON output."""
        return {key: value for key, value in vars(self).items() if value is not None}


def _describe_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {format_metric(value)}" for name, value in metrics.items())


def _describe(comparison: _TestComparison | None, run: Run) -> str:
    """comparison: None if the run kept no predictions."""
    if comparison is None:
        return f"{run.name} kept no {PREDICTIONS} to compare with"
    if not comparison.different_rows:
        return f"row for row as in the run's {PREDICTIONS}"
    used = run.record.accelerator.used if run.record.accelerator else "cpu"
    apart = f"up to {comparison.largest_difference:.2g} apart (the run computed on {used})"
    rows = pluralize(comparison.different_rows, "row")
    return f"{rows} not as in the run's {PREDICTIONS}: {apart}"
