"""Keep and draw how much each column of a table matters to a model, measured on the test rows."""

from collections.abc import Callable

import numpy as np

from dlrun.data.array_cache import Array
from dlrun.experiments.table_common import TableAssets
from dlrun.runs.csv_tables import parse_csv, to_csv
from dlrun.runs.folder import IMPORTANCE
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.tables.encoding import Matrix
from dlrun.tables.importance import permutation_importance

LOSS_NAMES = {"log_loss": "log loss", "mae": "mean absolute error"}
SMALLEST_PROBABILITY = np.finfo(np.float64).eps  # as in scikit-learn's log_loss
MOST_COLUMNS = 1000
HEADER = ["column", "metric", "increase", "low", "high"]


def keep_importance(
    run: LiveRun,
    assets: TableAssets,
    infer: Callable[[Matrix], Matrix],
    rows: Matrix,
    targets: Array,
    seed: int,
) -> None:
    """Write importance.csv: by how much the loss of test rows rises if a column is shuffled.

    infer: matrix (n, columns) -> values (n,), or probabilities (n, classes).
    rows, targets: of the test, (n, columns) and (n,).
    """
    places = assets.encoder.places
    if len(rows) < 2:
        return
    if len(places) > MOST_COLUMNS:
        run.screen.note(f"no {IMPORTANCE}: the table has more than {MOST_COLUMNS:,} columns")
        return

    def log_loss(rows: Matrix, labels: Array) -> float:
        of_true = infer(rows)[np.arange(len(rows)), labels]
        return float(-np.log(np.maximum(of_true, SMALLEST_PROBABILITY)).mean())

    def mean_absolute_error(rows: Matrix, values: Array) -> float:
        return float(np.abs(infer(rows) - values).mean())

    metric, loss = ("log_loss", log_loss) if assets.labels else ("mae", mean_absolute_error)
    with run.phase("importance"):
        found = permutation_importance(loss, rows, targets, places, seed)
    lines = [(one.column, metric, one.increase, one.low, one.high) for one in found]
    run.keep(IMPORTANCE, to_csv([HEADER, *lines]))


def draw_importance(run: Run, *, title: str) -> DrawnFigures:
    """Draw importance.csv; a run of a single test row, or of very many columns, has none."""
    from dlrun.plots import draw_column_importance  # slow: matplotlib

    if not (run.folder / IMPORTANCE).is_file():
        return {}
    _, lines = parse_csv(run.read(IMPORTANCE))
    names = [name for name, *_ in lines]
    numbers = np.array([line[2:] for line in lines], np.float64)
    metric = lines[0][1]
    loss = LOSS_NAMES[metric]
    if metric == "mae":
        loss += f" of {TableAssets.of_run(run).target}"
    label = f"increase of the test set's {loss} if a column is shuffled"
    return {"importance.png": draw_column_importance(names, numbers, label, title=title)}
