"""`dlrun predict`: predict new inputs, or the run's own test set, with a finished run."""

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from dlrun.commands import options as opt
from dlrun.config.yaml_loader import Values
from dlrun.data.photographs import find_images
from dlrun.data.text_files import DataWarnings, decode_bytes, open_csv_table, read_text_file
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.predictions import (
    PredictedClasses,
    Predictions,
    parse_predictions,
    read_predictions,
    to_plain_csv,
)
from dlrun.experiments.predictors import Prediction, Predictor
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.folder import PREDICTIONS, check_output_path
from dlrun.run_folder.recorded_metrics import format_metric
from dlrun.system.console import Screen, cut, pluralize, to_json
from dlrun.system.files import open_new_file, write_file_atomically

BATCH_INPUTS = 256
LINE_WIDTH = 80
INPUT_LENGTH = 200  # characters of a text that identify it in a JSON object
WAYS = "a text in quotes, a file, --csv FILE, --test, or - for the lines of standard input"
FILE_NAME = re.compile(r"\S+\.(txt|text|csv|tsv|jsonl?|html?|md|xml|gz|zip)", re.IGNORECASE)


# A name; the text, image file or row to predict, or a Prediction with the reason for none; and the
# columns that name the row: line and id, or path.
Input = tuple[str, str | Path | Mapping[str, str] | Prediction, dict[str, object]]


def predict_inputs(
    run: opt.Run,
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
    out: Annotated[Path | None, opt.option("Write a table of predictions.", "F.csv")] = None,
    force: opt.Replace = False,
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
) -> int:
    """Predict new texts, images or table rows with a finished run, read as its training data were.

    Exits with 1 if an input cannot be predicted, or a row of the run's own test set differs.

    Examples:
    dlrun predict imdb-dense/latest "A film to fall asleep in."
    dlrun predict latest --test
    dlrun predict hitters-lasso/latest --csv new.csv --out salaries.csv
    """
    inputs = inputs or []
    opened = Run.open(run, runs_dir)
    screen = Screen()
    if out is not None:
        # An input may be a text, which is no path.
        files = [name for name in (*inputs, csv) if name and os.path.exists(name)]  # noqa: PTH110
        if out.exists() and any(out.samefile(file) for file in files):
            raise ConfigError(f"--out {out}: it is an input", "choose another file")
        check_output_path("--out", out, force=force)
    if test:
        if inputs or csv:
            raise ConfigError("--test: only --out and --json go with it", "leave out the rest")
        return _predict_test_set(opened, data_dir, screen, out=out, json=json)
    read = _read_inputs(inputs, csv, column, opened)
    return _predict(opened, read, screen, out=out, json=json)


def _predict(
    run: Run, inputs: Iterator[Input], screen: Screen, *, out: Path | None, json: bool
) -> int:
    predictor = run.predictor
    row = failed = 0
    with open_new_file(out) if out is not None else contextlib.nullcontext() as table:
        while batch := list(itertools.islice(inputs, BATCH_INPUTS)):
            values = [value for _, value, _ in batch if not isinstance(value, Prediction)]
            predictions = iter(predictor.predict(values) if values else ())
            columns = _columns(predictor, batch[0][2])
            if table is not None and not row:
                table.write(to_plain_csv([columns]))
            for name, value, row_names in batch:
                prediction = value if isinstance(value, Prediction) else next(predictions)
                about = {"row": row, **row_names, **_describe(name, prediction)}
                if table is not None:
                    cells = {"predicted": about.get("label"), **about}
                    if name and predictor.reads == "text" and prediction.error:
                        cells["error"] = f"{name}: {prediction.error}"
                    table.write(to_plain_csv([[_cell(cells.get(column)) for column in columns]]))
                elif json:
                    screen.rows([to_json(about, indent=None).rstrip()])
                else:
                    has_place = prediction.error is not None and "line" in row_names
                    place = f"line {row_names['line']}: " if has_place else ""
                    screen.rows(_to_lines(f"{place}{name}", prediction, predictor.reads))
                failed += prediction.error is not None
                row += 1
    if out is not None:
        screen.note(f"table {out}: {pluralize(row - failed, predictor.reads)} predicted")
    if failed:
        screen.fail(f"{pluralize(failed, 'input')} could not be predicted")
    return 1 if failed else 0


def _read_inputs(
    inputs: Sequence[str], csv: Path | None, column: str | None, run: Run
) -> Iterator[Input]:
    """Return the inputs of the command. Raises ConfigError if one is missing."""
    reads = run.predictor.reads
    if reads == "row":
        if inputs or csv is None:
            raise ConfigError("this run reads rows of a table", "--csv FILE, or --test")
        return _read_table(csv, run.predictor.columns, run)
    if csv is not None:
        if reads == "image":
            raise ConfigError("--csv is not for this run, which reads images")
        if inputs:
            raise ConfigError("both texts and --csv: one of them", "dlrun predict --help")
        return _read_table(csv, [column or run.settings.get("data.text_column", "text")], run)
    if not inputs or inputs == ["-"]:
        if reads == "image" or sys.stdin is None or (not inputs and sys.stdin.isatty()):
            raise ConfigError("nothing to predict", WAYS)
        return _read_lines()
    if reads == "image":
        files = find_images(list(map(Path, inputs)))
        root = Path(inputs[0])
        below = root if len(inputs) == 1 and root.is_dir() else None
        paths = (file.relative_to(below) if below else file for file in files)
        pairs = zip(files, paths, strict=True)
        return ((str(file), file, {"path": path.as_posix()}) for file, path in pairs)
    for text in inputs:
        _check_text_or_file(text)
    return (
        _decode_text(text, read_text_file, Path(text)) if _exists(text) else (text, text, {})
        for text in inputs
    )


def _read_table(csv: Path, columns: Sequence[str], run: Run) -> Iterator[Input]:
    """Yield the rows of a table, or the texts in its only column."""
    is_text = run.predictor.reads == "text"
    id_column = run.settings.get("data.id")
    needed = {f"{'--column' if is_text else '--csv'} ({column})": column for column in columns}
    _, rows = open_csv_table(csv, needed, DataWarnings(), id_column)
    for row, place, problem in rows:
        names: dict[str, object] = {"line": place.line}
        if id_column:
            names["id"] = place.id
        name = row.get(columns[0], "") if is_text else ", ".join(row.values())
        error = Prediction(error=f"{place}: {problem}") if problem else None
        yield name, error or (name if is_text else row), names


def _check_text_or_file(text: str) -> None:
    if not _exists(text):
        if FILE_NAME.fullmatch(text):
            raise ConfigError(f"{text}: no such file", "a text has blanks in it, or no ending")
    elif Path(text).is_dir():
        raise ConfigError(f"{text} is a folder", f"name the files in it: {text}/*.txt")
    elif Path(text).suffix.lower() in (".csv", ".tsv"):
        raise ConfigError(f"{text} is a table", f"--csv {text} --column NAME")


def _exists(name: str) -> bool:
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):  # too long for a file's name, so it is a text
        return False


def _decode_text(name: str, decode: Callable[..., str], source: bytes | Path) -> Input:
    try:
        text = decode(source)
    except DataError as error:
        return name, Prediction(error=error.message), {}
    return name or text, text, {}


def _read_lines() -> Iterator[Input]:
    lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
    first = next(lines, None)
    if first is None:
        raise ConfigError("nothing to predict: standard input is empty", WAYS)
    return (_decode_text("", decode_bytes, line) for line in itertools.chain([first], lines))


def _to_lines(name: str, prediction: Prediction, reads: str) -> list[str]:
    """Return a prediction as lines for the screen: a text's class and unknown words."""
    if prediction.error is not None:
        name = _shorten(name, LINE_WIDTH) if reads == "row" else name
        return [f"error: {name}: {prediction.error}" if name else f"error: {prediction.error}"]
    if reads == "image":
        return [name, *(f"  {value:.4f}  {label}" for label, value in prediction.labels)]
    if prediction.value is not None:
        head = format_metric(prediction.value)
    else:
        head = f"{prediction.label}  {prediction.probability:.4f}"
    if prediction.unknown:
        head += f"  {prediction.unknown} of {pluralize(prediction.words or 0, 'word')} unknown"
    return [f"{head}  {_shorten(name, LINE_WIDTH - len(head) - 2)}"]


def _describe(name: str, prediction: Prediction) -> Values:
    """Return a prediction as an object, without the keys that it has no value for."""
    about: Values = {"input": _shorten(name, INPUT_LENGTH)}
    if prediction.labels:
        about |= {"label": prediction.label, "probability": prediction.probability}
        about["probabilities"] = dict(prediction.labels)
    about["predicted"] = prediction.value
    about |= {key: getattr(prediction, key) for key in ("words", "unknown", "error")}
    return {key: value for key, value in about.items() if value is not None}


def _columns(predictor: Predictor, row_names: Iterable[str]) -> list[str]:
    """Return the column names of the table of predictions, which differ by the kind of input."""
    classes = ["probability"] if predictor.labels else []
    words = ["words", "unknown"] if predictor.reads == "text" else []
    return ["row", *row_names, "predicted", *classes, *words, "error"]


def _cell(value: object) -> object:
    return f"{value:.9g}" if isinstance(value, float) else value


def _shorten(text: str, length: int) -> str:
    return cut(" ".join(text[: 4 * INPUT_LENGTH].split()), length)


def _predict_test_set(
    run: Run, data_dir: Path | None, screen: Screen, *, out: Path | None, json: bool
) -> int:
    """Predict the run's own test set again; return 1 if a prediction differs, else 0."""
    run.check_has_result()
    screen.note(f"predicting the test set of {run.name}")
    tested = run.test(data_dir, screen)
    table = tested.table()
    if out is not None:
        write_file_atomically(out, table)
        screen.note(f"table {out}")
    result: Values = {**tested.test_metrics, "test_rows": len(tested), "different_rows": None}
    names = tested.names if isinstance(tested, PredictedClasses) else ()
    earlier = read_predictions(run, names)
    repeated = parse_predictions(table, names)  # as the table has rounded them
    if earlier and repeated:
        result |= _compare(earlier, repeated)
    different = result["different_rows"]
    comparison = f"row for row as in the run's {PREDICTIONS}"
    if different is None:
        comparison = f"{run.name} kept no {PREDICTIONS} to compare with"
    elif different:
        used = run.record.accelerator.used if run.record.accelerator else "cpu"
        apart = f"up to {result['largest_difference']:.2g} apart (the run computed on {used})"
        rows = pluralize(different, "row")
        comparison = f"{rows} not as in the run's {PREDICTIONS}: {apart}"
    metrics = ", ".join(f"{name} {format_metric(value)}" for name, value in tested.metrics.items())
    lines = [f"test {metrics} ({pluralize(len(tested), 'row')})", comparison]
    screen.rows(to_json(result).splitlines() if json else lines)
    return 1 if different else 0


def _compare(kept: Predictions, tested: Predictions) -> Values:
    """Return how many new test predictions differ from those of the run, and by how much."""
    others = kept.true != tested.true
    classes = {}
    if isinstance(kept, PredictedClasses) and isinstance(tested, PredictedClasses):
        others |= kept.predicted != tested.predicted
        classes = {"different_classes": int(others.sum())}
        gaps = np.abs(kept.probability - tested.probability)
    else:
        gaps = np.abs(kept.predicted - tested.predicted)
    different = int((others | (gaps >= tested.near)).sum())
    return {"different_rows": different, **classes, "largest_difference": float(gaps.max())}
