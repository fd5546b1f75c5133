"""Read the inputs of `dlrun predict`: texts, files, folders of images, rows of tables, stdin."""

import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlrun.data.photographs import find_images
from dlrun.data.tables_of_islp import find_table
from dlrun.data.text_files import DataWarnings, decode_bytes, open_csv_table, read_text_file
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.predictors import Predictor
from dlrun.runs.run import Run

WAYS = "a text in quotes, a file, --csv FILE, --test, or - for the lines of standard input"
FILE_NAME = re.compile(r"\S+\.(txt|text|csv|tsv|jsonl?|html?|md|xml|gz|zip)", re.IGNORECASE)


class PredictionInput(NamedTuple):
    """Holds an input of `dlrun predict`, and the name under which its prediction is shown.

    value: a text, an image file or a row of a table; None if it cannot be read.
    row_names: columns that name its row: line and id, or path.
    error: the reason why it cannot be read.
    """

    name: str
    value: str | Path | Mapping[Any, object] | None
    row_names: dict[str, object]
    error: str | None = None


def read_inputs(
    inputs: Sequence[str], csv: Path | None, column: str | None, run: Run, predictor: Predictor
) -> Iterator[PredictionInput]:
    """Raise ConfigError if there is no input, or one that the run cannot read."""
    reads = predictor.reads
    if reads == "row":
        if inputs or csv is None:
            raise ConfigError("this run reads rows of a table", "--csv FILE, or --test")
        return _read_rows(csv, predictor.columns, run)
    if csv is not None:
        if reads == "image":
            raise ConfigError("--csv is not for this run, which reads images")
        if inputs:
            raise ConfigError("both texts and --csv: one of them", "dlrun predict --help")
        columns = [column or run.settings.get("data.text_column", "text")]
        return _read_texts(csv, columns[0], run)
    if not inputs or inputs == ["-"]:
        if reads == "image" or sys.stdin is None or (not inputs and sys.stdin.isatty()):
            raise ConfigError("nothing to predict", WAYS)
        return _read_lines()
    if reads == "image":
        return _find_images([Path(name) for name in inputs])
    for text in inputs:
        _check_text_or_file(text)
    return (
        _decode_text(text, read_text_file, Path(text))
        if is_existing_path(text)
        else PredictionInput(text, text, {})
        for text in inputs
    )


def _find_images(paths: Sequence[Path]) -> Iterator[PredictionInput]:
    """Yield the images of files and folders; in a single folder, by their path below it."""
    is_single_folder = len(paths) == 1 and paths[0].is_dir()
    for file in find_images(paths):
        path = file.relative_to(paths[0]) if is_single_folder else file
        yield PredictionInput(str(file), file, {"path": path.as_posix()})


def _read_rows(path: Path, columns: Sequence[str], run: Run) -> Iterator[PredictionInput]:
    """Yield the rows of a table, read as the run's table was."""
    from dlrun.tables.read_table import read_table  # slow: pandas

    id_column = run.settings.get("data.id")
    warnings = DataWarnings()
    file = find_table(path, "--csv")
    table = read_table(file, {f"--csv ({column})": column for column in columns}, warnings)
    for line, row in zip(table.lines.tolist(), table.frame.to_dict("records"), strict=True):
        names: dict[str, object] = {"line": line}
        if id_column:
            names["id"] = row.get(id_column)
        name = ", ".join(map(str, row.values()))
        yield PredictionInput(name, row, names)


def _read_texts(csv: Path, column: str, run: Run) -> Iterator[PredictionInput]:
    """Yield the texts in a column of a table."""
    id_column = run.settings.get("data.id")
    _, rows = open_csv_table(csv, {f"--column ({column})": column}, DataWarnings(), id_column)
    for row, place in rows:
        names: dict[str, object] = {"line": place.line}
        if id_column:
            names["id"] = place.id
        yield PredictionInput(row[column], row[column], names)


def _check_text_or_file(text: str) -> None:
    """Raise ConfigError if a text is rather the name of a missing file, a folder or a table."""
    if not is_existing_path(text):
        if FILE_NAME.fullmatch(text):
            raise ConfigError(f"{text}: no such file", "a text has blanks in it, or no ending")
    elif Path(text).is_dir():
        raise ConfigError(f"{text} is a folder", f"name the files in it: {shlex.quote(text)}/*.txt")
    elif Path(text).suffix.lower() in (".csv", ".tsv"):
        raise ConfigError(f"{text} is a table", f"--csv {shlex.quote(text)} --column NAME")


def is_existing_path(name: str) -> bool:
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):  # too long for a file's name, so it is a text
        return False


def _decode_text(name: str, decode: Callable[..., str], source: bytes | Path) -> PredictionInput:
    """Decode a text of a file or a line. Without `name` the text is its own name."""
    try:
        text = decode(source)
    except DataError as error:
        return PredictionInput(name, None, {}, error.message)
    return PredictionInput(name or text, text, {})


def _read_lines() -> Iterator[PredictionInput]:
    """Read the lines of standard input as texts. Raises ConfigError if there is none."""
    lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
    first = next(lines, None)
    if first is None:
        raise ConfigError("nothing to predict: standard input is empty", WAYS)
    return (_decode_text("", decode_bytes, line) for line in itertools.chain([first], lines))
