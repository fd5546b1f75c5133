"""`dlrun demo`: run chapter 10 of the book ISLP in minutes, the slow part on generated data."""

import contextlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.config.data_sections import UserDataExperimentConfig
from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.yaml_loader import ConfigLayer, Values, config_layer_from_setting
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.data.download import forbid_downloads, packaged_paths
from dlrun.errors import ConfigError, DlrunError, as_known_error, name_and_first_line
from dlrun.experiments.registry import (
    experiments_with_published_numbers,
    find_experiment,
    shipped_config,
)
from dlrun.experiments.running import run_experiment
from dlrun.metrics import TESTED, format_metric
from dlrun.reports.page import PageContent, write_report_page
from dlrun.reports.published_rows import published_rows
from dlrun.runs.folder import LATEST
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.published import ABOUT_EDITIONS, EDITIONS
from dlrun.runs.ranked_metrics import main_metric
from dlrun.runs.run import Run
from dlrun.sweeps.reproduction.preparation import DataSearch, PreparedTask
from dlrun.sweeps.reproduction.tasks import tasks_of_experiment
from dlrun.system.console import LINE_WIDTH, Screen, format_position, format_text_table, printable

HEADS = ["fit", "metric", "here", *EDITIONS]
MISSING = "The book's tables are missing; `pip install --no-deps islp` brings them."
NEXT = "`dlrun reproduce` runs all of it for real, and downloads the data."
GENERATED_DATA = "(generated): on data that dlrun made, which say nothing about the book."


@dataclass(frozen=True)
class _Fit:
    """Holds an experiment or a variant that the demo runs."""

    name: str
    title: str
    options: RunOptions
    is_real: bool
    lacks_data: bool = False  # on generated data, though the real ones would take seconds


@dataclass(frozen=True)
class _EndedFit:
    """Holds a fit that the demo has run, and its run; None if that has failed."""

    fit: _Fit
    run: Run | None

    @property
    def cells(self) -> list[str]:
        """Published numbers stand only beside real data."""
        name = self.fit.name
        variant = self.fit.title.removeprefix(name)
        title = f" {variant}" if variant else name
        if self.run is None:
            return [title, "", "failed", "", ""]
        record = self.run.record
        metric = main_metric(record) or next(iter(record.metrics), "")
        row: Values = {"metric": metric, "mean": record.metrics.get(metric)}
        if self.fit.is_real:
            rows = published_rows([self.run], {})
            row = next((other for other in rows if other["metric"] == metric), (rows or [row])[0])
        note = " (*)" if self.fit.is_real and record.reference_differs else ""
        if not self.fit.is_real and record.source == GENERATED:
            note = " (generated)"
        published = [format_metric(row.get(edition)) for edition in EDITIONS]
        here = format_metric(row["mean"]) + note
        return [title, row["metric"].removeprefix(TESTED), here, *published]


def _execute(fit: _Fit, screen: Screen) -> _EndedFit:
    """Run a fit; if it fails, show the reason."""
    try:
        _, folder = run_experiment(find_experiment(fit.name), fit.options)
        assert folder is not None  # not a dry run
        return _EndedFit(fit, Run.open(folder))
    except Exception as error:  # also a bug, which hides no other experiment
        hint = "a bug; the run's log.txt has the traceback"
        shown = as_known_error(error) or DlrunError(name_and_first_line(error), hint)
        screen.fail(shown.message, shown.hint)
        return _EndedFit(fit, None)


def run_demo(
    experiments: opt.ExperimentNames = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
) -> int:
    """Run ISLP's chapter 10 in one to three minutes, without a download, beside the book's numbers.

    What takes seconds is run on the book's data, if they are on the machine; the rest on generated
    data. Exits with 1 if an experiment could not be run; the others are run anyway.

    Examples:
    dlrun demo
    dlrun demo hitters-lasso nyse-rnn --runs-dir demo-runs
    """
    screen = Screen()
    muted = Screen()
    muted.err.quiet = True
    options = RunOptions(
        runs_dir=runs_dir,
        data_dir=data_dir,
        screen=Screen(quiet=True, shows_results=False),
    )
    names = experiments or experiments_with_published_numbers()
    for name in names:
        _check_is_not_on_own_data(name)
    with forbid_downloads():
        fits = [fit for name in names for fit in _plan_fits(name, options, muted)]
        ended_fits: list[_EndedFit] = []
        for number, fit in enumerate(fits, start=1):
            screen.note(f"[{format_position(number, len(fits))}] {fit.title}")
            ended_fits.append(_execute(fit, screen))
    runs = [ended.run for ended in ended_fits if ended.run is not None]
    if not runs:
        raise ConfigError("no experiment could be run")
    folder = resolve_runs_dir(runs_dir)
    page = folder / "demo.html"
    write_report_page(PageContent(runs, title="The chapter, by dlrun demo"), page)
    table = [HEADS, *(ended.cells for ended in ended_fits)]
    head, *lines = format_text_table(table, left=(0, 1, 2), gap=1)
    for text in _remarks(ended_fits):
        lines += textwrap.wrap(printable(text), LINE_WIDTH, break_on_hyphens=False)
    screen.show(Text(f"\n{head}", style="bold"))
    screen.show(Text("\n".join(lines)))
    screen.show_labelled(("figure", f"{folder}/*/{LATEST}/*.png"), ("page", str(page)))
    return 0 if len(runs) == len(fits) else 1


def _check_is_not_on_own_data(name: str) -> None:
    """Raise ConfigError for an experiment on the user's own data, of which the demo has none."""
    schema: type[ExperimentConfig] = ExperimentConfig
    with contextlib.suppress(DlrunError):  # its package is broken, as its run will say
        schema = find_experiment(name).config
    if issubclass(schema, UserDataExperimentConfig):
        section: Any = schema.model_fields["data"].annotation
        example = section.example
        problem = f"demo: {name} is for data of your own"
        raise ConfigError(problem, f"name them, as in `dlrun {name} {example}`")


def _plan_fits(name: str, options: RunOptions, screen: Screen) -> list[_Fit]:
    """An experiment on generated data has no fit if no small config is shipped with it."""
    prepared_tasks: list[PreparedTask] = []
    epochs: list[ConfigLayer] = []
    with contextlib.suppress(DlrunError):  # its package is broken, as its run will say
        experiment = find_experiment(name)
        if experiment.real_in_demo:
            data = DataSearch(options, screen)
            prepared_tasks = [
                data.prepare(task) for task in tasks_of_experiment(experiment, [0], options)
            ]
            if experiment.epochs_in_demo:
                epochs = [config_layer_from_setting(EPOCHS, experiment.epochs_in_demo, "demo")]
    if prepared_tasks and not prepared_tasks[0].missing:
        fits = []
        for prepared in prepared_tasks:
            values = [*prepared.run_options.values, *epochs]
            run_options = replace(prepared.run_options, values=values)
            fits.append(_Fit(name, prepared.task.title, run_options, is_real=True))
        return fits
    overlays = shipped_config(name).overlays("smoke", "demo")
    small = replace(options, config=overlays)
    lacks_data = bool(prepared_tasks and prepared_tasks[0].missing)
    return [_Fit(name, name, small, is_real=False, lacks_data=lacks_data)] if overlays else []


def _remarks(ended_fits: Sequence[_EndedFit]) -> list[str]:
    fits = [ended.fit for ended in ended_fits]
    remarks = [ABOUT_EDITIONS] if any(fit.is_real for fit in fits) else []
    if not all(fit.is_real for fit in fits):
        remarks.append(GENERATED_DATA)
    if any(fit.lacks_data for fit in fits) and not packaged_paths("ISLP"):
        remarks.append(MISSING)
    for ended in ended_fits:
        if ended.fit.is_real and ended.run and ended.run.record.reference_differs:
            remarks.append(f"(*) {ended.fit.title}: {ended.run.record.reference_differs}.")
    return [*remarks, NEXT]
