"""`dlrun demo`: run chapter 10 of the book ISLP in minutes, the slow part on generated data."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.config.data_sections import UserDataExperimentConfig
from dlrun.config.sections import EPOCHS
from dlrun.config.yaml_loader import (
    Values,
    config_layer_from_setting,
    format_settings_briefly,
    name_with_settings,
)
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.data.download import forbid_downloads, paths_in_installed_packages
from dlrun.errors import ConfigError, DlrunError, as_known_error, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment
from dlrun.experiments.registry import experiments_with_published_numbers, find_experiment
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
from dlrun.system.console import Screen
from dlrun.system.text import LINE_WIDTH, format_position, format_text_table, printable

HEADS = ["fit", "metric", "here", *EDITIONS]
TABLES_MISSING = "The book's tables are missing; `pip install --no-deps islp` brings them."
NEXT_COMMAND = "`dlrun reproduce` runs all of it for real, and downloads the data."
ABOUT_GENERATED = "(generated): on data that dlrun made, which say nothing about the book."


@dataclass(frozen=True)
class _Fit:
    """Holds an experiment that the demo runs, or a variant of it.

    on_book_data: whether the fit is on the book's data, in place of generated data.
    lacks_book_data: whether the fit would be on the book's data, if they were on the machine.
    """

    experiment: AnyExperiment
    variant: Values
    options: RunOptions
    on_book_data: bool
    lacks_book_data: bool

    @property
    def title(self) -> str:
        return name_with_settings(self.experiment.name, self.variant)

    @property
    def first_cell(self) -> str:
        """A variant stands indented below its experiment."""
        return f"  {format_settings_briefly(self.variant)}" if self.variant else self.title

    def run(self) -> "_EndedFit":
        _, folder = run_experiment(self.experiment, self.options)
        assert folder is not None  # not a dry run
        return _EndedFit(self, Run.open(folder))


@dataclass(frozen=True)
class _BrokenExperiment:
    """Stands in place of the fits of an experiment whose package cannot be imported.

    error: why it cannot; `run` raises it, so that the experiment fails in its turn.
    """

    title: str
    error: DlrunError

    @property
    def first_cell(self) -> str:
        return self.title

    def run(self) -> NoReturn:
        raise self.error


@dataclass(frozen=True)
class _EndedFit:
    """Holds a fit that has ended, and its run."""

    fit: _Fit
    run: Run

    @property
    def cells(self) -> list[str]:
        metric, value, published = self._shown_number()
        note = ""
        if self.differs_from_book:
            note = " (*)"
        elif not self.fit.on_book_data and self.run.record.source == GENERATED:
            note = " (generated)"
        numbers = [format_metric(published.get(edition)) for edition in EDITIONS]
        name = metric.removeprefix(TESTED)
        return [self.fit.first_cell, name, format_metric(value) + note, *numbers]

    @property
    def differs_from_book(self) -> str | None:
        """On generated data it is no news that the fit differs from the book's."""
        return self.run.record.reference_differs if self.fit.on_book_data else None

    def _shown_number(self) -> tuple[str, float | None, Mapping[str, float]]:
        """Choose the run's metric for the table; return its name, its value, and the book's.

        The metric is the main one. On the book's data it is the first metric that the book has, if
        the book does not have the main one.
        """
        record = self.run.record
        metric = main_metric(record) or next(iter(record.metrics), "")
        rows = published_rows([self.run], {}) if self.fit.on_book_data else []
        if not rows:
            return metric, record.metrics.get(metric), {}
        row = {row.metric: row for row in rows}.get(metric, rows[0])
        return row.metric, row.mean, row.published


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
    # What a fit shows as its results is a row of the demo's table; its warnings are shown.
    fit_screen = Screen(quiet=True, shows_results=False)
    options = RunOptions(runs_dir=runs_dir, data_dir=data_dir, screen=fit_screen)
    names = experiments or experiments_with_published_numbers()
    found = [_find_for_demo(name) for name in names]
    with forbid_downloads():
        fits = [fit for experiment in found for fit in _plan_fits(experiment, options)]
        outcomes = _run_all(fits, screen)
    ended_fits = [outcome for outcome in outcomes if outcome is not None]
    if not ended_fits:
        raise ConfigError("no experiment could be run")
    folder = resolve_runs_dir(runs_dir)
    page = folder / "demo.html"
    runs = [ended.run for ended in ended_fits]
    write_report_page(PageContent(runs, title="The chapter, by dlrun demo"), page)
    rows = [
        [fit.first_cell, "", "failed", "", ""] if outcome is None else outcome.cells
        for fit, outcome in zip(fits, outcomes, strict=True)
    ]
    _show_table(rows, _remarks(ended_fits), screen)
    screen.show_labelled(("figure", f"{folder}/*/{LATEST}/*.png"), ("page", str(page)))
    return 0 if len(ended_fits) == len(fits) else 1


def _find_for_demo(name: str) -> AnyExperiment | _BrokenExperiment:
    """Find an experiment that the demo is asked for.

    Raises ConfigError if the experiment is unknown, or needs data of the user's own.
    """
    try:
        experiment = find_experiment(name)
    except ConfigError:  # it is unknown
        raise
    except DlrunError as error:
        return _BrokenExperiment(name, error)
    if issubclass(experiment.config, UserDataExperimentConfig):
        section: Any = experiment.config.model_fields["data"].annotation
        problem = f"demo: {name} is for data of your own"
        raise ConfigError(problem, f"name them, as in `dlrun {name} {section.example}`")
    return experiment


def _plan_fits(
    found: AnyExperiment | _BrokenExperiment, options: RunOptions
) -> Sequence[_Fit | _BrokenExperiment]:
    """Plan the fits of an experiment and its variants.

    An experiment that would be on generated data has no fit without a small config.
    """
    if isinstance(found, _BrokenExperiment):
        return [found]
    tasks = _find_book_data(found, options) if found.demo else []
    lacks_data = bool(tasks and tasks[0].missing)
    if tasks and not lacks_data:
        return [_book_fit(task) for task in tasks]
    overlays = found.shipped.overlays("smoke", "demo")
    if not overlays:
        return []
    small = replace(options, config=overlays)
    return [_Fit(found, {}, small, on_book_data=False, lacks_book_data=lacks_data)]


def _find_book_data(experiment: AnyExperiment, options: RunOptions) -> list[PreparedTask]:
    """Look for the book's data of an experiment and its variants.

    What is missing is no error here: a remark below the demo's table says so.
    """
    silent = Screen()
    silent.err.quiet = True
    data = DataSearch(options, silent)
    try:
        return [data.prepare(task) for task in tasks_of_experiment(experiment, [0], options)]
    except DlrunError:  # its package is broken, as its run will say
        return []


def _book_fit(prepared: PreparedTask) -> _Fit:
    """On the book's data the demo may run fewer epochs than the book."""
    task = prepared.task
    options = prepared.run_options
    demo = task.experiment.demo
    if demo is not None and demo.epochs is not None:
        fewer = config_layer_from_setting(EPOCHS, demo.epochs, "demo")
        options = replace(options, values=[*options.values, fewer])
    return _Fit(task.experiment, task.variant, options, on_book_data=True, lacks_book_data=False)


def _run_all(fits: Sequence[_Fit | _BrokenExperiment], screen: Screen) -> list[_EndedFit | None]:
    """Run all fits; the outcome of one that fails is None."""
    outcomes: list[_EndedFit | None] = []
    for number, fit in enumerate(fits, start=1):
        screen.note(f"[{format_position(number, len(fits))}] {fit.title}")
        outcomes.append(_run_or_show_error(fit, screen))
    return outcomes


def _run_or_show_error(fit: _Fit | _BrokenExperiment, screen: Screen) -> _EndedFit | None:
    try:
        return fit.run()
    except Exception as error:  # also a bug, which hides no other experiment
        hint = "a bug; the run's log.txt has the traceback"
        shown = as_known_error(error) or DlrunError(name_and_first_line(error), hint)
        screen.fail(shown.message, shown.hint)
        return None


def _remarks(ended_fits: Sequence[_EndedFit]) -> list[str]:
    remarks = []
    if any(ended.fit.on_book_data for ended in ended_fits):
        remarks.append(ABOUT_EDITIONS)
    if not all(ended.fit.on_book_data for ended in ended_fits):
        remarks.append(ABOUT_GENERATED)
    lacks_data = any(ended.fit.lacks_book_data for ended in ended_fits)
    if lacks_data and not paths_in_installed_packages("ISLP"):
        remarks.append(TABLES_MISSING)
    for ended in ended_fits:
        if ended.differs_from_book:
            remarks.append(f"(*) {ended.fit.title}: {ended.differs_from_book}.")
    return [*remarks, NEXT_COMMAND]


def _show_table(rows: Sequence[list[str]], remarks: Sequence[str], screen: Screen) -> None:
    """Show the demo's table, and below it the remarks, broken into lines."""
    head, *lines = format_text_table([HEADS, *rows], left=(0, 1, 2), gap=1)
    for remark in remarks:
        lines += textwrap.wrap(printable(remark), LINE_WIDTH, break_on_hyphens=False)
    screen.show(Text(f"\n{head}", style="bold"))
    screen.show(Text("\n".join(lines)))
