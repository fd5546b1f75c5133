"""Measure how much a model needs each column of a table, by shuffling the column's cells.

Breiman (2001), Random Forests, doi:10.1023/A:1010933404324, section 10.
"""

from collections.abc import Callable

import numpy as np

from dlrun.data.array_cache import Array
from dlrun.experiments.table_common import TableAssets
from dlrun.metrics import is_plottable
from dlrun.runs.folder import IMPORTANCE
from dlrun.runs.importance_csv import ColumnImportance, importance_table, parse_importance
from dlrun.runs.live_run import LiveRun
from dlrun.runs.predictions_csv import log_losses
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.stats import mean_interval, zero_if_rounding_error
from dlrun.tables.encoding import Matrix

REPEATS = 5
# Of more rows some are drawn by chance: 50 columns and 400 trees then take three seconds.
MOST_ROWS, LEAST_ROWS = 1000, 100
MOST_CELLS = 50_000
MOST_COLUMNS = 1000


def save_importance(
    run: LiveRun,
    assets: TableAssets,
    infer: Callable[[Matrix], Matrix],
    rows: Matrix,
    targets: Array,
) -> None:
    """Save by how much the loss of the test rows rises if a column is shuffled.

    Nothing is saved of a single row, which cannot be shuffled, or of a model that diverged.

    infer: matrix (n, columns) -> values (n,), or probabilities (n, classes).
    rows: the encoded test rows (n, columns). targets: class indices, or values (n,).
    """
    places = assets.encoder.places
    if len(rows) < 2 or not places:
        return
    if len(places) > MOST_COLUMNS:
        run.screen.note(f"no {IMPORTANCE}: the table has more than {MOST_COLUMNS:,} columns")
        return
    metric, losses = ("log_loss", log_losses) if assets.labels else ("mae", _absolute_errors)
    random = np.random.default_rng(run.config.seed)
    most_rows = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // len(places)))
    if len(rows) > most_rows:
        drawn = np.sort(random.choice(len(rows), most_rows, replace=False))
        rows = rows[drawn]
        targets = targets[drawn]
    shuffles = [random.permutation(len(rows)) for _ in range(REPEATS)]
    importances = []
    with run.phase("importance"):
        usual = float(losses(infer(rows), targets).mean())
        shuffled = rows.copy()
        for column, place in places.items():
            increases = []
            for shuffle in shuffles:
                shuffled[:, place] = rows[shuffle, place]
                loss = float(losses(infer(shuffled), targets).mean())
                if not is_plottable(loss):
                    return
                increases.append(zero_if_rounding_error(loss - usual, usual))
            shuffled[:, place] = rows[:, place]
            low, high = mean_interval(increases) or (0.0, 0.0)
            importances.append(
                ColumnImportance(column, metric, float(np.mean(increases)), low, high)
            )
    importances.sort(key=lambda one: -one.increase)
    run.keep(IMPORTANCE, importance_table(importances))


def _absolute_errors(predicted: Matrix, true: Array) -> Matrix:
    errors: Matrix = np.abs(true - predicted)
    return errors


def draw_importance(run: Run, *, title: str) -> DrawnFigures:
    """Draw the importance of the columns, if the run measured it."""
    from dlrun.plots import draw_column_importance  # slow: matplotlib

    content = run.read_if_written(IMPORTANCE)
    if content is None:
        return {}
    columns = parse_importance(content)
    loss = "log loss"
    if columns[0].metric == "mae":
        loss = f"mean absolute error of {TableAssets.of_run(run).target}"
    figure = draw_column_importance(
        [column.column for column in columns],
        np.array([(column.increase, column.low, column.high) for column in columns]),
        f"increase of the test set's {loss} if a column is shuffled",
        title=title,
    )
    return {"importance.png": figure}
