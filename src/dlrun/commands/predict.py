"""`dlrun predict`: a finished run's predictions of new inputs, or of its own test set."""

import contextlib
import csv as csv_module
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from rich.text import Text

from dlrun.commands.prediction_output import PredictionTable, to_lines, to_object
from dlrun.data.text_files import NotTextError, csv_column, decode_bytes, lines, read_text
from dlrun.errors import ConfigError
from dlrun.experiments.predictor import Prediction
from dlrun.experiments.run import Run
from dlrun.run_folder.folder import PREDICTIONS, to_json
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import check_output_path, new_file, write_atomically

BATCH_INPUTS, BATCH_CHARACTERS = 256, 1 << 20
UNCOUNTED = 20  # predictions that a reader counts without help
FIGURE_TEXTS = 6
MAX_FILE_NAME = 4096  # characters; what is longer is a text
NEAR = 1e-5  # difference of probabilities that another machine may cause
_FILE_LIKE = re.compile(r"\S+\.(txt|text|csv|tsv|jsonl?|html?|md|xml|gz|zip)", re.IGNORECASE)


@dataclass(frozen=True)
class Input:
    """An input: a name to show, and a text or an image's file; or an error."""

    name: str
    value: str | Path = ""
    error: str | None = None


def predict(
    run: str,
    inputs: Sequence[str] = (),
    *,
    csv: Path | None = None,
    column: str = "text",
    test: bool = False,
    words: bool = False,
    figure: Path | None = None,
    out: Path | None = None,
    force: bool = False,
    json: bool = False,
    runs_dir: Path | None = None,
    data_dir: Path | None = None,
) -> int:
    """Predict inputs, print each prediction as it is found, and return the exit code.

    The code is 1 if an input could not be predicted, or if a row of the run's own test set differs.
    Raises ConfigError if an input is missing or an option invalid, DlrunError if the run cannot
    predict.
    """
    opened, screen = Run.open(run, runs_dir), Screen()
    read = [Path(one) for one in inputs if "\0" not in one and len(one) < MAX_FILE_NAME]
    for option, file in (("--out", out), ("--figure", figure)):
        if file is not None:
            read_files = [*read, csv] if csv else read
            check_output_path(option, file, force=force, inputs=read_files)
    try:
        if test:
            if inputs or csv or words or figure:
                raise ConfigError("--test: only --out and --json go with it", "leave out the rest")
            return _predict_test_set(opened, data_dir, screen, out=out, json=json)
        _check(inputs, csv, opened.predictor.reads, words=words, figure=figure)
        is_named = bool(inputs) and list(inputs) != ["-"]
        batches = read_inputs(inputs, csv, column, opened.predictor.reads)
        words = words or is_named or figure is not None
        return _predict(opened, batches, screen, words=words, figure=figure, out=out, json=json)
    except BrokenPipeError:  # the reader of the output has seen enough
        with contextlib.suppress(OSError, ValueError):  # nothing more is flushed into the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), screen.out.file.fileno())
        return 0


def _check(
    inputs: Sequence[str], csv: Path | None, reads: str, *, words: bool, figure: Path | None
) -> None:
    """Raise ConfigError if the options do not go together."""
    if csv is not None and inputs:
        raise ConfigError("both texts and --csv: one of them", "dlrun predict --help")
    if csv is not None and reads != "text":
        raise ConfigError("--csv: this run reads images, not texts", "name the images")
    if (figure is not None or words) and reads != "text":
        raise ConfigError("--words and --figure are for texts: this run reads images")
    if figure is not None and figure.suffix.lower() != ".png":
        raise ConfigError(f"--figure {figure}: a figure is a PNG", "--figure words.png")
    if not inputs and csv is None and (sys.stdin is None or sys.stdin.isatty()):
        raise ConfigError(
            "nothing to predict",
            "a text in quotes, a file, --csv FILE, --test, or - to type them (dlrun predict -h)",
        )


def _predict(
    run: Run,
    batches: Iterable[Sequence[Input]],
    screen: Screen,
    *,
    words: bool,
    figure: Path | None,
    out: Path | None,
    json: bool,
) -> int:
    predictor = run.predictor
    table = PredictionTable(predictor.reads, predictor.labels)
    labels, row, drawn = Counter[str](), 0, list[tuple[str, Prediction]]()
    with new_file(out) if out is not None else contextlib.nullcontext() as stream:
        if stream is not None:
            stream.write(table.header)
        for batch in batches:
            values = [one.value for one in batch if one.error is None]
            found = iter(predictor.predict(values, words=words) if values else ())
            texts: list[str] = []
            for one in batch:
                prediction = Prediction(error=one.error) if one.error is not None else next(found)
                if stream is not None:
                    stream.write(table.rows(row, one.name, prediction))
                elif json:
                    texts.append(
                        to_json(to_object(row, one.name, prediction), indent=None).rstrip()
                    )
                else:
                    texts += to_lines(one.name, prediction)
                row += 1
                if prediction.error is None:
                    labels[prediction.label] += 1
                if prediction.after and len(drawn) < FIGURE_TEXTS:
                    drawn.append((one.name, prediction))
            screen.rows(texts)
    if figure is not None:
        _draw(run, drawn, figure)
        screen.note(f"figure {figure}")
    if out is not None:
        screen.note(f"table {out}")
    if out is not None or row > UNCOUNTED:
        what = ", ".join(f"{number:,} {label}" for label, number in labels.most_common(5))
        screen.note(f"{pluralize(labels.total(), predictor.reads)}: {what or 'none'}")
    if failed := row - labels.total():
        screen.fail(f"{pluralize(failed, 'input')} could not be predicted")
    return 1 if failed else 0


def _draw(run: Run, drawn: Sequence[tuple[str, Prediction]], file: Path) -> None:
    from dlrun.plots import curves, style  # slow: matplotlib

    if not drawn:
        raise ConfigError(
            f"--figure: {run.record.experiment} does not read its texts word by word",
            "leave out --figure; --words shows the words that count most",
        )
    panels = [(name, one.label, one.towards, one.after) for name, one in drawn]
    picture = curves.after_each_word(panels, title=run.experiment.title(run))
    write_atomically(file, style.to_png(picture))


def read_inputs(
    inputs: Sequence[str], csv: Path | None, column: str, reads: str
) -> Iterator[list[Input]]:
    """Return the inputs in their order, in batches. Raises ConfigError if one is missing."""
    if csv is not None:
        return _batches(Input(text, text, error) for text, error in csv_column(csv, column))
    if not inputs or list(inputs) == ["-"]:
        return _read_lines(reads)
    if "-" in inputs:
        raise ConfigError("-: standard input cannot be mixed with others", "dlrun predict --help")
    if reads == "image":
        from dlrun.data.images import find_images  # slow: Pillow

        return _batches(Input(str(file), file) for file in find_images(list(map(Path, inputs))))
    for one in inputs:
        _check_text(one)
    return _batches(map(_read_text, inputs))


def _check_text(one: str) -> None:
    """Raise ConfigError if an input names something that is neither a text nor a text file."""
    if not _exists(one):
        if _FILE_LIKE.fullmatch(one):
            raise ConfigError(f"{one}: no such file", "a text has blanks in it, or no ending")
    elif Path(one).is_dir():
        raise ConfigError(f"{one} is a folder", f"name the files in it: {one}/*.txt")
    elif Path(one).suffix.lower() in (".csv", ".tsv"):
        raise ConfigError(f"{one} is a table", f"--csv {one} --column NAME")


def _exists(name: str) -> bool:
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):  # too long for a file's name, so it is a text
        return False


def _read_text(one: str) -> Input:
    try:
        return Input(one, read_text(Path(one)) if _exists(one) else one)
    except NotTextError as error:
        return Input(one, error=error.message)


def _read_lines(reads: str) -> Iterator[list[Input]]:
    """Yield the lines of standard input as soon as they are there."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed", "name texts or files")
    for number, block in enumerate(lines(sys.stdin.buffer)):
        if number == 0:
            block[0] = block[0].removeprefix(b"\xef\xbb\xbf")
        yield from _batches(_read_line(line, reads) for line in block)


def _read_line(line: bytes, reads: str) -> Input:
    try:
        text = decode_bytes(line)
    except NotTextError as error:
        return Input("", error=error.message)
    return Input(text, Path(text) if reads == "image" else text)


def _batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    batch, characters = list[Input](), 0
    for one in inputs:
        batch.append(one)
        characters += len(one.value) if isinstance(one.value, str) else 0
        if len(batch) == BATCH_INPUTS or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class Differences:
    """How new predictions of the test set differ from the run's predictions.csv.

    Args:
        different_rows: rows with another class, or with a probability that is not near.
        different_classes: rows with another class.
        largest_difference: between two probabilities.
    """

    different_rows: int
    different_classes: int
    largest_difference: float


def _predict_test_set(
    run: Run, data_dir: Path | None, screen: Screen, *, out: Path | None, json: bool
) -> int:
    """Predict the run's own test set; the exit code is 1 if a row differs from the run's."""
    screen.note(f"predicting the test set of {run.name}")
    found = run.test(data_dir, screen)
    if out is not None:
        write_atomically(out, found.table())
        screen.note(f"table {out}")
    kept = run.read(PREDICTIONS) if PREDICTIONS in run.record.files else None
    differences = None if kept is None else _compare_tables(kept, found.table())
    if json:
        result = {"test_accuracy": found.accuracy, "test_rows": len(found.labels)}
        different = asdict(differences) if differences else {"different_rows": None}
        screen.rows(to_json(result | different).splitlines())
    else:
        correct = int((found.labels == found.predicted).sum())
        rows = f"{correct:,} of {pluralize(len(found.labels), 'row')}"
        screen.show(Text(f"test accuracy {found.accuracy:.4f} ({rows})"))
        screen.show(Text(_describe(differences, run)))
    return 1 if differences and differences.different_rows else 0


def _compare_tables(kept: bytes, found: bytes) -> Differences:
    tables = [csv_module.reader(io.StringIO(one.decode())) for one in (kept, found)]
    different = [_compare_rows(*pair) for pair in zip_longest(*tables) if pair[0] != pair[1]]
    return Differences(
        sum(other_class or difference >= NEAR for other_class, difference in different),
        sum(other_class for other_class, _ in different),
        max((difference for _, difference in different), default=0.0),
    )


def _compare_rows(kept: list[str] | None, found: list[str] | None) -> tuple[bool, float]:
    """Return whether two rows name different classes, and the difference of probabilities."""
    if kept is None or found is None:  # one table is longer
        return True, 1.0
    return kept[:-1] != found[:-1], abs(float(kept[-1]) - float(found[-1]))


def _describe(differences: Differences | None, run: Run) -> str:
    if differences is None:
        return f"{run.name} kept no {PREDICTIONS} to compare with"
    if not differences.different_rows:
        return f"row for row as in the run's {PREDICTIONS}"
    used = run.record.accelerator.used if run.record.accelerator else "cpu"
    return (
        f"{pluralize(differences.different_rows, 'row')} not as in the run's {PREDICTIONS}: "
        f"{differences.different_classes:,} of another class, probabilities up to "
        f"{differences.largest_difference:.2g} apart"
        + (f" (the run computed on {used}, this on the CPU)" if used != "cpu" else "")
    )
