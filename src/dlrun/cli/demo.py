"""`dlrun demo`: run chapter 10 of the book ISLP in minutes, the slow part on generated data."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

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
MISSING = "The book's tables are missing; `pip install --no-deps islp` brings them."
NEXT = "`dlrun reproduce` runs all of it for real, and downloads the data."
GENERATED_DATA = "(generated): on data that dlrun made, which say nothing about the book."


Data = Literal["book", "generated", "generated_for_lack"]


@dataclass(frozen=True)
class _Fit:
    """Holds an experiment that the demo runs, or a variant of it.

    data: "generated_for_lack" if the fit would take seconds on the book's data, but these are not
    on the machine.
    """

    experiment: AnyExperiment
    variant: Values
    options: RunOptions
    data: Data

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
class _Broken:
    """Holds the name of an experiment whose package cannot be imported, and the error."""

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
        record = self.run.record
        metric, value, published = _shown_number(self.run, self.fit.data)
        note = ""
        if self.differs_from_book:
            note = " (*)"
        elif self.fit.data != "book" and record.source == GENERATED:
            note = " (generated)"
        numbers = [format_metric(published.get(edition)) for edition in EDITIONS]
        name = metric.removeprefix(TESTED)
        return [self.fit.first_cell, name, format_metric(value) + note, *numbers]

    @property
    def differs_from_book(self) -> str | None:
        """On generated data it is no news that the fit differs from the book's."""
        return self.run.record.reference_differs if self.fit.data == "book" else None


def _shown_number(run: Run, data: Data) -> tuple[str, float | None, Mapping[str, float]]:
    """Choose a run's metric for the table; the result is its name, its value, and the book's.

    The metric is the main one. On the book's data it is the first metric that the book has, if the
    book does not have the main one.
    """
    record = run.record
    metric = main_metric(record) or next(iter(record.metrics), "")
    rows = published_rows([run], {}) if data == "book" else []
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
    cells: list[list[str]] = []
    ended_fits: list[_EndedFit] = []
    with forbid_downloads():
        fits = [fit for experiment in found for fit in _plan_fits(experiment, options)]
        for number, fit in enumerate(fits, start=1):
            screen.note(f"[{format_position(number, len(fits))}] {fit.title}")
            ended = _execute(fit, screen)
            if ended is None:
                cells.append([fit.first_cell, "", "failed", "", ""])
            else:
                cells.append(ended.cells)
                ended_fits.append(ended)
    if not ended_fits:
        raise ConfigError("no experiment could be run")
    folder = resolve_runs_dir(runs_dir)
    page = folder / "demo.html"
    runs = [ended.run for ended in ended_fits]
    write_report_page(PageContent(runs, title="The chapter, by dlrun demo"), page)
    head, *lines = format_text_table([HEADS, *cells], left=(0, 1, 2), gap=1)
    for text in _remarks(ended_fits):
        lines += textwrap.wrap(printable(text), LINE_WIDTH, break_on_hyphens=False)
    screen.show(Text(f"\n{head}", style="bold"))
    screen.show(Text("\n".join(lines)))
    screen.show_labelled(("figure", f"{folder}/*/{LATEST}/*.png"), ("page", str(page)))
    return 0 if len(ended_fits) == len(fits) else 1


def _find_for_demo(name: str) -> AnyExperiment | _Broken:
    """Find an experiment that the demo is asked for.

    Raises ConfigError if the experiment is unknown, or needs data of the user's own.
    """
    try:
        experiment = find_experiment(name)
    except ConfigError:  # it is unknown
        raise
    except DlrunError as error:
        return _Broken(name, error)
    if issubclass(experiment.config, UserDataExperimentConfig):
        section: Any = experiment.config.model_fields["data"].annotation
        problem = f"demo: {name} is for data of your own"
        raise ConfigError(problem, f"name them, as in `dlrun {name} {section.example}`")
    return experiment


def _plan_fits(found: AnyExperiment | _Broken, options: RunOptions) -> Sequence[_Fit | _Broken]:
    """Plan the fits of an experiment and its variants.

    On generated data there is none without a small config.
    """
    if isinstance(found, _Broken):
        return [found]
    tasks = _find_real_data(found, options) if found.demo else []
    lacks_data = bool(tasks and tasks[0].missing)
    if tasks and not lacks_data:
        return [_real_fit(task) for task in tasks]
    overlays = found.shipped.overlays("smoke", "demo")
    if not overlays:
        return []
    small = replace(options, config=overlays)
    return [_Fit(found, {}, small, "generated_for_lack" if lacks_data else "generated")]


def _find_real_data(experiment: AnyExperiment, options: RunOptions) -> list[PreparedTask]:
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


def _real_fit(prepared: PreparedTask) -> _Fit:
    """On real data the demo may run fewer epochs than the book."""
    task = prepared.task
    options = prepared.run_options
    demo = task.experiment.demo
    if demo is not None and demo.epochs is not None:
        fewer = config_layer_from_setting(EPOCHS, demo.epochs, "demo")
        options = replace(options, values=[*options.values, fewer])
    return _Fit(task.experiment, task.variant, options, "book")


def _execute(fit: _Fit | _Broken, screen: Screen) -> _EndedFit | None:
    """Run a fit; if it fails, show the reason, and return None."""
    try:
        return fit.run()
    except Exception as error:  # also a bug, which hides no other experiment
        hint = "a bug; the run's log.txt has the traceback"
        shown = as_known_error(error) or DlrunError(name_and_first_line(error), hint)
        screen.fail(shown.message, shown.hint)
        return None


def _remarks(ended_fits: Sequence[_EndedFit]) -> list[str]:
    used_data = {ended.fit.data for ended in ended_fits}
    remarks = []
    if "book" in used_data:
        remarks.append(ABOUT_EDITIONS)
    if used_data != {"book"}:
        remarks.append(GENERATED_DATA)
    if "generated_for_lack" in used_data and not paths_in_installed_packages("ISLP"):
        remarks.append(MISSING)
    for ended in ended_fits:
        if ended.differs_from_book:
            remarks.append(f"(*) {ended.fit.title}: {ended.differs_from_book}.")
    return [*remarks, NEXT]
