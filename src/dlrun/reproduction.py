"""Reproduce ISLP's published numbers: a sweep over seeds per experiment, and one report."""

import contextlib
import re
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import BaselineExperiment, PublishedVariant, Reference
from dlrun.config.yaml_loader import (
    Values,
    flatten_keys_except,
    format_override,
    format_settings_briefly,
)
from dlrun.errors import ConfigError, DlrunError, Stopped
from dlrun.execution.checks import load_experiment_config
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.groups import Group, group_runs
from dlrun.paired_comparison import Comparison, compare_groups
from dlrun.reports.group_rows import group_row, published_values
from dlrun.reports.page import OURS, PageContent, write_report_page
from dlrun.reports.run_files import count_labels_as_in_book
from dlrun.reports.run_section import RunSection
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import PLAN, SWEEP_LOCK, SWEEPS, RunFolder
from dlrun.run_folder.output_paths import check_output_path
from dlrun.run_tables import RANGE_OF_RUNS, Column, number, table_lines
from dlrun.sweeps.child_processes import preload_fork_server
from dlrun.sweeps.plan_file import SweepPlan, SweepPoint, read_sweep_plan
from dlrun.sweeps.planner import make_sweep_plan
from dlrun.sweeps.runner import run_sweep_points
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, parse_seeds
from dlrun.sweeps.sweep_folder import Sweep
from dlrun.system.console import Screen, pluralize, printable

SCREEN_WIDTH = 80
# On 80 columns: published numbers are rounded as ours, and the page has the standard deviation.
COLUMNS = [
    *(Column("metric"), number("book"), Column("book_is", "it is"), number("notebook")),
    *(Column("notebook_is", "it is"), number("mean", "here"), RANGE_OF_RUNS),
]
MISSING_HINT = "`pip install --no-deps islp` brings tables and photographs; see --data-dir"
LEGEND = """\
Here: the mean over n seeds. Range of runs: 95 % of single runs here lie in it \
(Student's t). The book's number, as it is rounded, is within, above or below it, \
or equal to a fit that depends on no seed; with fewer than 5 seeds nothing is said \
(--seeds 10). Seconds: the median run's; runs go beside each other, unless with \
--jobs 1."""


@dataclass
class ExperimentToReproduce:
    """Holds an experiment, or a variant of it, to reproduce, and the runs of its sweep.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. settings: all values that differ from the shipped config. missing: why it
    cannot be run. baseline: the simpler experiment that it should beat. runs: the finished ones, in
    the order of the seeds. failed: the errors of the others, by seed. damaged: sentences on
    damaged runs, whose seeds run again.
    """

    name: str
    options: RunSettings
    seeds: list[int]
    variant: Settings = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    missing: str = ""
    baseline: BaselineExperiment | None = None
    runs: list[Run] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return the name of the experiment, and the values of its variant."""
        return f"{self.name} {format_settings_briefly(self.variant)}".rstrip()

    @property
    def overrides(self) -> list[str]:
        """Return the `--set` texts of the experiment's runs."""
        settings = (format_override(key, value) for key, value in self.settings.items())
        return [*self.options.overrides, *settings]

    def make_plan(self, screen: Screen) -> SweepPlan:
        """Return the plan of the experiment's sweep. Raises ConfigError with every error."""
        slug = re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")
        options = replace(self.options, overrides=self.overrides)
        search = SearchSpace(seeds="".join(f"{seed}," for seed in self.seeds))
        return make_sweep_plan(f"reproduce-{slug}", self.name, options, search, screen)

    def run(self, plan: SweepPlan, screen: Screen, jobs: int | None) -> None:
        """Run the seeds without a finished run; if all have finished, nothing is written."""
        runs_dir = run_context.resolve_runs_dir(self.options.runs_dir)
        folder = runs_dir / SWEEPS / plan.name
        is_new = not (folder / PLAN).exists()
        if not is_new:
            plan = _with_earlier_points(plan, folder, screen)
        sweep = Sweep(plan, folder, self.options.data_dir)
        self.damaged = sweep.describe_damaged()
        by_seed = {point.settings[SEED]: point for point in plan.points}
        points = [by_seed[seed] for seed in self.seeds]
        if self._find_runs(sweep, points):
            return
        if is_new:
            RunFolder.claim_sweep(runs_dir, plan.name)
        with RunFolder(folder).locked(SWEEP_LOCK):
            sweep.write_plan()
            try:
                state = run_sweep_points(sweep, screen, points=points, jobs=jobs)
            finally:  # also the seeds that ended before an error
                self._find_runs(sweep, points)
        failed = [point for point in points if point.number in state.failed]
        self.failed = {point.settings[SEED]: state.failed[point.number] for point in failed}

    def _find_runs(self, sweep: Sweep, points: Sequence[SweepPoint]) -> bool:
        """Set `runs` and `failed` by the records; return whether all planned runs have finished."""
        by_point = sweep.find_runs()
        self.runs = []
        self.failed = {}
        for point in points:
            run = by_point.get(point.number)
            if run is not None and run.is_finished:
                self.runs.append(run)
            elif run is not None and run.record.status == "failed":
                self.failed[point.settings[SEED]] = run.record.error or ""
        return len(self.runs) == len(points)

    @property
    def seconds(self) -> float | None:
        """Return the median duration of the runs in seconds; None without runs."""
        seconds = [run.record.seconds.get("total", 0.0) for run in self.runs]
        return statistics.median(seconds) if seconds else None

    @property
    def not_comparable(self) -> str:
        """Return why the published numbers cannot be compared with the runs; empty if they can."""
        return (self.runs[0].record.reference_differs or "") if self.runs else ""

    @property
    def notes(self) -> list[str]:
        """Return remarks for the reader: why numbers are not comparable, or missing."""
        left = len(self.seeds) - len(self.runs) - len(self.failed)
        notes = []
        if self.not_comparable:
            notes.append(f"Not compared: {self.title}: {self.not_comparable}")
        if self.missing:
            notes.append(f"Not run: {self.title}: {self.missing}")
        elif left:
            notes.append(f"Not yet run: {self.title}: {left} of {len(self.seeds)} runs")
        failed = (f"{self.title}, seed {seed}: {why}" for seed, why in self.failed.items())
        return [*notes, *self.damaged, *(f"Failed: {text}" for text in failed)]

    @property
    def groups(self) -> list[Group]:
        """Return the runs by config and data, with published numbers of other data too."""
        groups = group_runs(self.runs, with_published=True)
        return [replace(group, settings=self.variant) for group in groups]

    @property
    def rows(self) -> list[Values]:
        """Return a row for each published metric that all runs have; none without runs."""
        rows = [
            group_row(group, spread)
            for group in self.groups
            for spread in sorted(
                group.spreads.values(), key=lambda spread: spread is not group.main_spread
            )
            if published_values(group, spread.metric.name)
        ]
        return rows or self._rows_of_photographs()

    def _rows_of_photographs(self) -> list[Values]:
        """Return a row with the number of photographs whose most probable label is the book's."""
        for run in self.runs[:1]:
            section = RunSection(1, run, 1, with_published=True)
            if counts := count_labels_as_in_book(section.photographs):
                row = {"metric": f"first labels of {counts['photographs']}", "count": 1}
                return [row | counts]
        return []

    def compare_with_baseline(self, fits: "Fits") -> Comparison | None:
        """Compare the runs with those of the baseline in `fits`; None without such runs."""
        if self.baseline is None or not self.runs:
            return None
        wanted = self.baseline.experiment, self.baseline.set
        for fit in fits:
            if (fit.name, fit.variant) == wanted and fit.runs:
                return compare_groups(self.groups[0], fit.groups[0], self.baseline.metric)
        return None

    def describe_baseline(self, fits: "Fits") -> str:
        """Return whether the runs are better than those of the baseline; empty without one."""
        if self.baseline is None or not self.runs:
            return ""
        other = f"{self.baseline.experiment} {format_settings_briefly(self.baseline.set)}".rstrip()
        comparison = self.compare_with_baseline(fits)
        if comparison is None:
            return f"{self.title}: not compared with {other}, which has no such runs here"
        return comparison.describe(self.title, other)


Fits = Sequence[ExperimentToReproduce]


def _with_earlier_points(new: SweepPlan, folder: Path, screen: Screen) -> SweepPlan:
    """Return the plan in a folder with missing seeds added, or the new plan if they conflict."""
    try:
        earlier = read_sweep_plan(folder)
        bases = [flatten_keys_except(plan.base, {SEED}) for plan in (earlier, new)]
        is_same_config = bases[0] == bases[1]
        varied = {key for point in earlier.points for key in point.settings}
        if not is_same_config or earlier.data != new.data or varied != {SEED}:
            raise DlrunError(f"{folder}: its data or config have changed")
    except DlrunError as error:  # also if damaged, or if code or packages have changed
        screen.note(f"all seeds are run again: {error.message}")
        return new
    known = {point.settings[SEED] for point in earlier.points}
    earlier.add_points(point.settings for point in new.points if point.settings[SEED] not in known)
    return earlier


def reproduce_published_numbers(
    names: Sequence[str],
    seeds: str | None,
    jobs: int | None,
    out: Path,
    options: RunSettings,
    command: str,
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. A seed
    that was run before, with the same config, code, packages and data, is not run again.

    names: the experiments; if empty, all that have published numbers. seeds: if None, as many as
    the experiment's `reference` says. out: the page. command: the command that continues the
    reproduction.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    numbers = None if seeds is None else parse_seeds(seeds)
    chosen = _choose_experiments(names)
    check_output_path("--out", out, force=options.force, ours=OURS)
    fits = prepare_reproduction(chosen, numbers, options, screen)
    runnable = [fit for fit in fits if not fit.missing]
    for fit in fits:
        if fit.missing:
            screen.warn(f"not run: {fit.title}: {fit.missing}")
    if not runnable:
        raise DlrunError("no experiment could be run", MISSING_HINT)
    plans = [fit.make_plan(screen) for fit in runnable]  # every config is checked first
    preload_fork_server(fit.name for fit in runnable)
    try:
        for number, (fit, plan) in enumerate(zip(runnable, plans, strict=True), start=1):
            runs = pluralize(len(fit.seeds), "run")
            screen.note(f"[{number}/{len(runnable)}] {fit.title}: {runs}")
            fit.run(plan, screen, jobs)
            _write(fits, out, command)
    except (Stopped, DlrunError):
        screen.warn(f"not done; continue with: {command}")
        if any(fit.runs for fit in fits):
            _write(fits, out, command)
        raise
    failed = any(fit.failed for fit in fits)
    if options.json:
        _print_json(fits, out, command, "failed" if failed else "finished", screen)
    else:
        _show(fits, out, run_context.resolve_data_dir(options.data_dir), screen)
    return 1 if failed or (names and len(runnable) < len(fits)) else 0


def _choose_experiments(names: Sequence[str]) -> list[str]:
    """Return the named experiments, each once; without names all with published numbers."""
    published = registry.experiments_with_published_numbers()
    for name in names:
        if not registry.experiment_entry(name).has_published_numbers:
            hint = f"`dlrun sweep {name} --seeds 5` runs it with several seeds"
            raise ConfigError(f"{name}: the book has no numbers for it", hint)
    return [*dict.fromkeys(names)] or published


def prepare_reproduction(
    names: Sequence[str], seeds: Sequence[int] | None, options: RunSettings, screen: Screen
) -> list[ExperimentToReproduce]:
    """Prepare experiments for a reproduction of ISLP, and download missing data sets.

    If the download fails, `missing` says why; each data set is tried once. The variants of an
    experiment follow it.
    """
    fits = []
    failures = dict[str, str]()  # of each data set why it is missing
    data_dir = run_context.resolve_data_dir(options.data_dir)
    for name in names:
        fit = ExperimentToReproduce(name, options, list(seeds or [0]))
        source = name
        variants: list[PublishedVariant] = []
        try:
            experiment = registry.load_experiment(name)
            config = load_experiment_config(name, options)
            if isinstance(reference := config.reference_section, Reference):
                fit.baseline = reference.baseline
                variants = reference.variants
                if seeds is None:
                    fit.seeds = [*range(reference.seeds)]
            if not config.depends_on_seed:
                fit.seeds = [config.seed]
            if (dataset := registry.experiment_dataset(name)) is not None:
                source = dataset.name
            if source not in failures:
                screen.note(f"data of {name}")
                fit.settings = experiment.lab_setup(config, data_dir, screen)
        except OSError as error:
            failures[source] = f"its data: {error.strerror}"
        except DlrunError as error:
            failures[source] = error.message
        fit.missing = failures.get(source, "")
        fits.append(fit)
        for values in (variant.set for variant in variants):
            settings = fit.settings | values
            fits.append(replace(fit, variant=values, settings=settings, baseline=None))
    return fits


def _write(fits: Fits, out: Path, command: str) -> None:
    """Write the page about the runs. Raises OSError if it cannot be written."""
    content = PageContent(
        [run for fit in fits for run in fit.runs],
        note=f"`{command}` does it again, or goes on.",
        warnings=[note for fit in fits for note in fit.notes] + _compare_with_baselines(fits),
        title="The lab, reproduced",
        with_published=True,
    )
    write_report_page(content, out)


def _compare_with_baselines(fits: Fits) -> list[str]:
    """Return in words whether each experiment with a baseline is better than the baseline."""
    return [text for fit in fits if (text := fit.describe_baseline(fits))]


def _show(fits: Fits, out: Path, data_dir: Path, screen: Screen) -> None:
    """Print the comparison, the experiments that were not run, and the paths of the files."""
    rows_of_parts = [fit.rows for fit in fits]
    head, *lines = table_lines(COLUMNS, [row for rows in rows_of_parts for row in rows], screen)
    shown: list[str] = []
    for fit, rows in zip(fits, rows_of_parts, strict=True):
        if rows:
            note = f"; {rows[0]['note']}" if rows[0].get("note") else ""
            runs = pluralize(len(fit.runs), "run")
            shown.append(f"{fit.title}, {runs} of {fit.seconds:.1f} s{note}")
        shown += [lines.pop(0) for _ in rows]
    notes = (note for fit in fits for note in fit.notes)
    for text in (LEGEND, *_compare_with_baselines(fits), *notes):
        shown += textwrap.wrap(
            printable(text), SCREEN_WIDTH, subsequent_indent="  ", break_long_words=False
        )
    if any(fit.missing for fit in fits):
        shown.append(f"put what is missing into {data_dir}, and run the same command")
    screen.show(Text(head, style="bold"))
    screen.show(Text("\n".join(shown)))
    screen.labelled(("page", str(out)))


def _print_json(fits: Fits, out: Path, command: str, status: str, screen: Screen) -> None:
    experiments = []
    for fit in fits:
        comparison = fit.compare_with_baseline(fits)
        experiments.append(
            {
                "experiment": fit.name,
                "variant": fit.variant,
                "seeds": fit.seeds,
                "not_run": fit.missing or None,
                "failed": fit.failed,
                "runs": [str(run.folder) for run in fit.runs],
                "not_comparable": fit.not_comparable or None,
                "seconds": fit.seconds,
                "rows": fit.rows,
                "baseline": comparison and comparison.as_object(),
            }
        )
    about = {"status": status, "command": command, "page": str(out)}
    with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
        screen.print_json(about | {"experiments": experiments})
