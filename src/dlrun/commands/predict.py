"""What a finished run makes of new input, or of its own test set."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlrun.commands.prediction_inputs import asked
from dlrun.commands.prediction_writer import Lines, Objects, Sink, Table
from dlrun.commands.retest import test
from dlrun.errors import ConfigError
from dlrun.experiments.predictor import Prediction
from dlrun.runs.run import Run
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import write_atomically
from dlrun.system.output_file import check_output_path

FEW = 20  # answers that a reader counts without help
DRAWN = 6  # texts in a figure
LONGEST_NAME = 4096  # characters: what is longer is a text


@dataclass(frozen=True)
class PredictRequest:
    """What is predicted, and where the answers go: the command's options."""

    inputs: list[str]
    csv: Path | None = None
    column: str = "text"
    test: bool = False
    words: bool = False
    figure: Path | None = None
    out: Path | None = None
    force: bool = False
    json: bool = False


def predict(run: str, wanted: PredictRequest, runs_dir: Path | None, data_dir: Path | None) -> int:
    """Predict, and say what was found as it is found; the exit code: 1 where an input had none.

    Raises ConfigError for inputs that are not there, DlrunError where the run predicts nothing.
    """
    opened, screen = Run.open(run, runs_dir), Screen()
    _check_files(wanted)
    try:
        if wanted.test:
            _check_test(wanted)
            return test(opened, data_dir, screen, out=wanted.out, json=wanted.json)
        return _predict(opened, wanted, screen)
    except BrokenPipeError:  # whoever read the answers has seen enough
        with contextlib.suppress(OSError, ValueError):  # nothing more is flushed into it at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), screen.out.file.fileno())
        return 0


def _predict(run: Run, wanted: PredictRequest, screen: Screen) -> int:
    predictor = run.predictor
    _check(wanted, predictor.reads)
    named = bool(wanted.inputs) and wanted.inputs != ["-"]
    words = wanted.words or named or wanted.figure is not None
    labels, drawn = Counter[str](), list[tuple[str, Prediction]]()
    with _sink(wanted, predictor.reads, predictor.labels, screen) as sink:
        for batch in asked(wanted.inputs, wanted.csv, wanted.column, predictor.reads):
            values = [one.value for one in batch if one.error is None]
            found = iter(predictor.predict(values, words=words) if values else ())
            answers = [
                (one, next(found) if one.error is None else Prediction(error=one.error))
                for one in batch
            ]
            sink.add(answers)
            for one, answer in answers:
                labels[answer.label if answer.error is None else ""] += 1
                if answer.after and len(drawn) < DRAWN:
                    drawn.append((one.name, answer))
    if wanted.figure is not None:
        _draw(run, drawn, wanted.figure)
        screen.note(f"figure {wanted.figure}")
    if wanted.out is not None:
        screen.note(f"table {wanted.out}")
    failed = labels.pop("", 0)
    if wanted.out is not None or labels.total() + failed > FEW:
        what = ", ".join(f"{number:,} {label}" for label, number in labels.most_common(5))
        screen.note(f"{pluralize(labels.total(), predictor.reads)}: {what or 'none'}")
    if failed:
        screen.fail(f"{pluralize(failed, 'input')} could not be predicted")
    return 1 if failed else 0


def _check_files(wanted: PredictRequest) -> None:
    read = [Path(one) for one in wanted.inputs if "\0" not in one and len(one) < LONGEST_NAME]
    read += [wanted.csv] if wanted.csv else []
    for option, file in (("--out", wanted.out), ("--figure", wanted.figure)):
        if file is not None:
            check_output_path(option, file, force=wanted.force, inputs=read)


def _check_test(wanted: PredictRequest) -> None:
    if wanted.inputs or wanted.csv or wanted.words or wanted.figure:
        raise ConfigError("--test is about the run's own test set: it takes --out and --json alone")


def _check(wanted: PredictRequest, reads: str) -> None:
    if wanted.csv is not None and wanted.inputs:
        raise ConfigError("both texts and --csv: one of them", "dlrun predict --help")
    if wanted.csv is not None and reads != "text":
        raise ConfigError("--csv: this run reads images, not texts", "name the images")
    if (wanted.figure is not None or wanted.words) and reads != "text":
        raise ConfigError("--words and --figure are about texts: this run reads images")
    if wanted.figure is not None and wanted.figure.suffix.lower() != ".png":
        raise ConfigError(f"--figure {wanted.figure}: a figure is a PNG", "--figure words.png")
    if not wanted.inputs and wanted.csv is None and (sys.stdin is None or sys.stdin.isatty()):
        raise ConfigError(
            "nothing to predict",
            "a text in quotes, a file, --csv FILE, --test, or - to type them (dlrun predict -h)",
        )


def _draw(run: Run, drawn: Sequence[tuple[str, Prediction]], file: Path) -> None:
    from dlrun.plots.curves import after_each_word
    from dlrun.plots.style import to_png  # slow: matplotlib

    if not drawn:
        raise ConfigError(
            f"--figure: {run.record.experiment} does not read its texts word by word",
            "the words that moved a text stand below it",
        )
    panels = [(name, one.label, one.towards, one.after) for name, one in drawn]
    write_atomically(file, to_png(after_each_word(panels, title=run.experiment.title(run))))


def _sink(wanted: PredictRequest, reads: str, labels: Sequence[str], screen: Screen) -> Sink:
    if wanted.out is not None:
        return Table(wanted.out, reads, labels)
    return Objects(screen) if wanted.json else Lines(screen)
