"""A run's own test set predicted again, row for row beside what the run kept of it."""

from itertools import zip_longest
from pathlib import Path

from rich.text import Text

from dlrun.data.classified import Classified
from dlrun.data.predictions import PREDICTIONS
from dlrun.disk import write_whole
from dlrun.runs.run import Run
from dlrun.screen import Screen, counted
from dlrun.store.folder import to_json

NEAR = 1e-5  # by which other machines' probabilities may differ


def test(run: Run, data_dir: Path | None, screen: Screen, *, out: Path | None, json: bool) -> int:
    """Predict it; the exit code: 1 where a row is another than in the run's predictions.csv."""
    screen.note(f"predicting the test set of {run.name}")
    found = run.test(data_dir, screen)
    if out is not None:
        write_whole(out, found.table())
        screen.note(f"table {out}")
    kept = run.read(PREDICTIONS) if PREDICTIONS in run.record.files else None
    different = None if kept is None else _different(kept, found)
    right = int((found.labels == found.predicted).sum())
    if json:
        about = {"test_accuracy": found.accuracy, "test_rows": len(found.labels)}
        screen.rows(to_json(about | {"different_rows": different}).splitlines())
    else:
        rows = f"{right:,} of {counted(len(found.labels), 'row')}"
        screen.show(Text(f"test accuracy {found.accuracy:.4f} ({rows})"))
        screen.show(Text(_in_words(different, run)))
    return 1 if different else 0


def _in_words(different: int | None, run: Run) -> str:
    if different is None:
        return f"{run.name} kept no {PREDICTIONS} to compare with"
    if different:
        return f"{counted(different, 'row')} not as in the run's {PREDICTIONS}"
    return f"row for row as in the run's {PREDICTIONS}"


def _different(kept: bytes, found: Classified) -> int:
    """How many rows are others: another class, or a probability that is not near."""
    if kept == found.table():
        return 0
    pairs = zip_longest(kept.decode().splitlines(), found.table().decode().splitlines())
    return sum(not _is_near(*pair) for pair in pairs)


def _is_near(kept: str | None, found: str | None) -> bool:
    if kept is None or found is None or kept == found:
        return kept == found
    (names, _, value), (others, _, other) = kept.rpartition(","), found.rpartition(",")
    return names == others and abs(float(value) - float(other)) < NEAR
