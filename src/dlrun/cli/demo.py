"""`dlrun demo`: run chapter 10 of the book ISLP in minutes, the slow part on generated data."""

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.config.data_sections import UserDataExperimentConfig
from dlrun.config.sections import EPOCHS
from dlrun.config.yaml_loader import config_layer_from_setting
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.data.download import forbid_downloads, packaged_paths
from dlrun.errors import ConfigError, DlrunError, as_known_error, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment, Experiment
from dlrun.experiments.registry import (
    experiments_with_published_numbers,
    find_experiment,
    shipped_config,
)
from dlrun.experiments.running import run_experiment
from dlrun.experiments.shipped_config import ShippedConfig
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


@dataclass(frozen=True)
class _NamedExperiment:
    """Holds an experiment that the demo was asked for; `found` is an error if it is broken."""

    shipped: ShippedConfig
    found: AnyExperiment | DlrunError

    @classmethod
    def of_name(cls, name: str) -> "_NamedExperiment":
        """Raise ConfigError for an unknown experiment, and for one on the user's own data."""
        shipped = shipped_config(name)
        try:
            experiment = find_experiment(name)
        except DlrunError as error:  # its package is broken, as its run will say
            return cls(shipped, error)
        if issubclass(experiment.config, UserDataExperimentConfig):
            section: Any = experiment.config.model_fields["data"].annotation
            problem = f"demo: {name} is for data of your own"
            raise ConfigError(problem, f"name them, as in `dlrun {name} {section.example}`")
        return cls(shipped, experiment)


@dataclass(frozen=True)
class _Fit:
    """Holds an experiment or a variant that the demo runs."""

    named: _NamedExperiment
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
        name = self.fit.named.shipped.name
        variant = self.fit.title.removeprefix(name)
        title = f" {variant}" if variant else name
        if self.run is None:
            return [title, "", "failed", "", ""]
        record = self.run.record
        metric = main_metric(record) or next(iter(record.metrics), "")
        value = record.metrics.get(metric)
        published: Mapping[str, float] = {}
        if self.fit.is_real and (rows := published_rows([self.run], {})):
            row = next((row for row in rows if row.metric == metric), rows[0])
            metric = row.metric
            value = row.mean
            published = row.published
        note = " (*)" if self.fit.is_real and record.reference_differs else ""
        if not self.fit.is_real and record.source == GENERATED:
            note = " (generated)"
        numbers = [format_metric(published.get(edition)) for edition in EDITIONS]
        return [title, metric.removeprefix(TESTED), format_metric(value) + note, *numbers]


def _execute(fit: _Fit, screen: Screen) -> _EndedFit:
    """Run a fit; if it fails, show the reason."""
    try:
        if isinstance(fit.named.found, DlrunError):
            raise fit.named.found
        _, folder = run_experiment(fit.named.found, fit.options)
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
    named = [_NamedExperiment.of_name(name) for name in names]
    with forbid_downloads():
        fits = [fit for experiment in named for fit in _plan_fits(experiment, options, muted)]
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


def _plan_fits(named: _NamedExperiment, options: RunOptions, screen: Screen) -> list[_Fit]:
    """Plan the fits of an experiment and its variants.

    On generated data there is none without a small config.
    """
    tasks: list[PreparedTask] = []
    if isinstance(named.found, Experiment) and named.found.real_in_demo:
        data = DataSearch(options, screen)
        with contextlib.suppress(DlrunError):  # its package is broken, as its run will say
            tasks = [data.prepare(task) for task in tasks_of_experiment(named.found, [0], options)]
    lacks_data = bool(tasks and tasks[0].missing)
    if tasks and not lacks_data:
        return [_real_fit(named, task) for task in tasks]
    overlays = named.shipped.overlays("smoke", "demo")
    if not overlays:
        return []
    small = replace(options, config=overlays)
    return [_Fit(named, named.shipped.name, small, is_real=False, lacks_data=lacks_data)]


def _real_fit(named: _NamedExperiment, prepared: PreparedTask) -> _Fit:
    """On real data the demo may run fewer epochs than the book."""
    options = prepared.run_options
    if epochs := prepared.task.experiment.epochs_in_demo:
        fewer = config_layer_from_setting(EPOCHS, epochs, "demo")
        options = replace(options, values=[*options.values, fewer])
    return _Fit(named, prepared.task.title, options, is_real=True)


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
