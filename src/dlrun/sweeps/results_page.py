"""Collect what the HTML report of a sweep shows."""

import shlex

from dlrun.metrics import PARTS
from dlrun.reports.notebook import sweep_as_html
from dlrun.reports.page import PageContent
from dlrun.reports.page_table import PageRow, PageTable
from dlrun.reports.svg_charts import Chart, DotPlot, label_of_data_part
from dlrun.sweeps.comparison_figure import comparison_rows
from dlrun.sweeps.key_charts import chart_of_key
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.results_table import results_columns, results_rows
from dlrun.sweeps.selection import Ranking, describe_config_result


def make_page_content(results: SweepResults) -> PageContent:
    """Collect what the HTML report shows: the runs, a note, warnings, charts of the keys."""
    plan = results.plan
    best = results.best
    begun_in_python = ", ".join(plan.experiment_names)
    command = shlex.join(["dlrun", *plan.command]) if plan.command else begun_in_python
    note = f"The sweep: {command}."
    finished = sum(run.is_finished for run in results.runs)
    if finished < plan.expected_runs:
        count = f"{finished} of {plan.expected_runs} points have finished"
        note += f" {count}"
        is_running = any(run.state == "running" for run in results.runs)
        note += "." if is_running else f"; {results.sweep.resume_command} runs the rest."
    shown: dict[str, str] = {}
    if best and best.label and best.validation_spread:
        shown["the best config by validation"] = describe_config_result(best)
    if comparison := results.describe_comparison():
        shown["the second config"] = comparison
    if test_comparison := results.describe_test_comparison():
        shown["on the test rows"] = test_comparison
    if results.use_of_metrics:
        shown["what each is for"] = results.use_of_metrics
    drawn: list[Chart] = []
    if results.ranking.are_on_same_rows:  # a chart would compare what was computed on others
        for name in plan.experiment_names:
            groups = [group for group in results.ranking.groups if group.record.experiment == name]
            title = f"{name}: " if plan.has_several_experiments else ""
            charts = [chart_of_key(groups, best, key, title) for key in plan.keys]
            drawn += [chart for chart in charts if chart is not None]
    return PageContent(
        results.runs,
        note,
        results.warnings,
        shown,
        configs=_table_of_configs(results.ranking) if plan.has_several_experiments else None,
        dots=_dot_plot(results.ranking),
        charts=drawn,
        title=f"Sweep {plan.name}",
    )


def results_as_html(results: SweepResults) -> str:
    """A notebook shows the results of a sweep so."""
    return sweep_as_html(
        make_page_content(results), _table_of_configs(results.ranking), results.failed
    )


def _table_of_configs(ranking: Ranking) -> PageTable:
    rows = [PageRow(row, is_quiet=False) for row in results_rows(ranking)]
    return PageTable.with_used_columns(results_columns(ranking), rows)


def _dot_plot(ranking: Ranking) -> DotPlot | None:
    metric, rows = comparison_rows(ranking)
    if not rows:
        return None
    record = ranking.groups[-1].record
    parts = [part for part in PARTS if any(part in values for _, values in rows)]
    labels = {part: label_of_data_part(part, record) for part in parts}
    return DotPlot(f"{metric} by config", metric, rows, labels)
