"""A run's own test set predicted again, row for row beside what the run kept of it."""

import csv
import io
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from rich.text import Text

from dlrun.data.photograph_predictions import PREDICTIONS
from dlrun.data.test_predictions import TestPredictions
from dlrun.run_folder.folder import to_json
from dlrun.runs.run import Run
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import write_atomically

NEAR = 1e-5  # by which other machines' probabilities may differ


@dataclass(frozen=True)
class Differences:
    """How a second test differs from the run's predictions.csv.

    different_rows: with another class, or a probability that is not near. different_classes: those
    with another class. largest_difference: of two probabilities.
    """

    different_rows: int
    different_classes: int
    largest_difference: float


def test(run: Run, data_dir: Path | None, screen: Screen, *, out: Path | None, json: bool) -> int:
    """Predict it; the exit code: 1 where a row is another than in the run's predictions.csv."""
    screen.note(f"predicting the test set of {run.name}")
    found = run.test(data_dir, screen)
    if out is not None:
        write_atomically(out, found.table())
        screen.note(f"table {out}")
    kept = run.read(PREDICTIONS) if PREDICTIONS in run.record.files else None
    differences = None if kept is None else _differences(kept, found)
    right = int((found.labels == found.predicted).sum())
    if json:
        about = {"test_accuracy": found.accuracy, "test_rows": len(found.labels)}
        different = asdict(differences) if differences else {"different_rows": None}
        screen.rows(to_json(about | different).splitlines())
    else:
        rows = f"{right:,} of {pluralize(len(found.labels), 'row')}"
        screen.show(Text(f"test accuracy {found.accuracy:.4f} ({rows})"))
        screen.show(Text(_in_words(differences, run)))
    return 1 if differences and differences.different_rows else 0


def _in_words(differences: Differences | None, run: Run) -> str:
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


def _differences(kept: bytes, found: TestPredictions) -> Differences:
    tables = [csv.reader(io.StringIO(one.decode())) for one in (kept, found.table())]
    gaps = [_gap(*pair) for pair in zip_longest(*tables) if pair[0] != pair[1]]
    return Differences(
        sum(other_class or gap >= NEAR for other_class, gap in gaps),
        sum(other_class for other_class, _ in gaps),
        max((gap for _, gap in gaps), default=0.0),
    )


def _gap(kept: list[str] | None, found: list[str] | None) -> tuple[bool, float]:
    """Return if two rows name different classes, and how far their probabilities are apart."""
    if kept is None or found is None:  # one table is longer
        return True, 1.0
    return kept[:-1] != found[:-1], abs(float(kept[-1]) - float(found[-1]))
