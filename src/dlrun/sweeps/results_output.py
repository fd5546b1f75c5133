"""Write and show the results of a sweep: its table, its page, lines on the screen, or JSON."""

import textwrap
from collections.abc import Mapping

from rich.text import Text

from dlrun.errors import os_error_remedy
from dlrun.reports.page import write_report_page
from dlrun.runs.folder import OutputFolder
from dlrun.runs.run_tables import table_csv
from dlrun.sweeps.comparison_figure import draw_comparison
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.results_page import make_page_content
from dlrun.sweeps.results_table import results_table_lines
from dlrun.sweeps.selection import describe_config_result
from dlrun.system.console import LABEL_WIDTH, Screen
from dlrun.system.text import LINE_WIDTH, printable

TABLE = "table.csv"
PAGE = "report.html"
FIGURE = "comparison.png"
# Columns of table.csv after the experiment and the keys that vary.
RESULT_COLUMNS = (
    *("metric", "count", "mean", "sd", "min", "max", "interval_of_mean", "range_of_runs", "book"),
    *("seconds", "difference", "interval_of_difference", "is_best"),
)


def write_results(results: SweepResults, screen: Screen) -> dict[str, str]:
    """Write the table and the report, and return the paths of those that were written.

    An error is shown: the results, which need no disk, follow.
    """
    folder = OutputFolder(results.sweep.folder)
    files: dict[str, str] = {}
    try:
        columns = ["experiment", *results.plan.keys, *RESULT_COLUMNS]
        folder.write(TABLE, table_csv(columns, results.rows))
        files["table"] = str(folder.path / TABLE)
        if not results.state.runs:
            return files
        if figure := draw_comparison(results):
            folder.write(FIGURE, figure)
            files["figure"] = str(folder.path / FIGURE)
        _, problems = write_report_page(make_page_content(results), folder.path / PAGE)
        files["report"] = str(folder.path / PAGE)
        for problem in problems:
            screen.warn(problem)
    except OSError as error:
        screen.fail(f"{folder.path}: {error.strerror}", os_error_remedy(error))
    return files


def show_sweep_results(results: SweepResults, files: Mapping[str, str], screen: Screen) -> None:
    """Print the configs, the failed runs, the paths of the files, the best config."""
    screen.show("\n".join(results_table_lines(results.ranking, screen)))
    failed = results.state.failed
    for point, why in sorted(failed.items()):
        label = results.plan.label(results.plan.points[point - 1])
        screen.show(Text(f"failed point {point} ({label}): {printable(why)}"))
    labelled = {"again": results.sweep.resume_command} if failed or "table" not in files else {}
    labelled |= files
    if results.best is not None:
        label = "best" if results.best.label else "mean"
        labelled[label] = describe_config_result(results.best)
    screen.show_labelled(*((label, printable(text)) for label, text in labelled.items()))
    comparisons = {
        "second": results.describe_comparison(),
        "test": results.describe_test_comparison(),
    }
    for label, text in comparisons.items():
        if text:
            lines = textwrap.wrap(printable(text), LINE_WIDTH - LABEL_WIDTH)
            screen.show_labelled((label, f"\n{' ' * LABEL_WIDTH}".join(lines)))
    if results.use_of_metrics:
        screen.note(results.use_of_metrics)
        screen.note(f"`{results.compare_command}` compares all configs")
    for warning in results.warnings:
        screen.warn(warning)


def print_results_as_json(
    results: SweepResults, status: str, files: Mapping[str, str], screen: Screen
) -> None:
    """Print the state and results of the sweep. Raises OSError if stdout was closed."""
    plan = results.plan
    points = []
    for point in plan.points:
        run = results.state.runs.get(point.number)
        points.append(
            {
                "point": point.number,
                "experiment": point.experiment.name,
                "settings": point.settings,
                "state": run and run.state,
                "run": run and str(run.folder),
                "metrics": run.record.metrics if run else {},
                "error": results.state.failed.get(point.number),
            }
        )
    second = results.ranking.second
    best = results.best and {
        "experiment": results.best.record.experiment,
        "settings": results.best.settings,
        "folds": results.best.fold_count or None,
        "runs": [str(run.folder) for run in results.best.counted.values()],
    }
    screen.print_json(
        {
            "sweep": plan.name,
            "status": status,
            "folder": str(results.sweep.folder),
            "points": points,
            "rows": results.rows,
            "best": best,
            "second": second
            and {"experiment": second.record.experiment, "settings": second.settings},
            "comparison": results.comparison and results.comparison.as_object(),
            "test_comparison": results.test_comparison and results.test_comparison.as_object(),
            "warnings": results.warnings,
            "files": files,
        }
    )
