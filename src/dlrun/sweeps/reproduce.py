"""Reproduce the book ISLP's published numbers: a sweep over seeds per experiment, and a report."""

import contextlib
import itertools
import re
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.text import Text

from dlrun.config.sections import BaselineExperiment, ExperimentConfig, PublishedVariant, Reference
from dlrun.config.yaml_loader import (
    Values,
    config_layers_from_settings,
    flatten_keys_except,
    format_settings_briefly,
)
from dlrun.errors import ConfigError, DataError, DlrunError, Stopped
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.reports.group_rows import group_row, published_values
from dlrun.reports.highlights import count_labels_as_in_book
from dlrun.reports.page import OURS, PageContent, write_report_page
from dlrun.reports.report_section import ReportSection
from dlrun.runs.compare import Comparison, compare_groups, why_not_comparable
from dlrun.runs.folder import PLAN, SWEEP_LOCK, SWEEPS, RunFolder
from dlrun.runs.groups import Group, group_runs
from dlrun.runs.options import RunOptions, resolve_data_dir, resolve_runs_dir
from dlrun.runs.output_paths import check_output_path
from dlrun.runs.published import ABOUT_EDITIONS
from dlrun.runs.run import Run
from dlrun.runs.tables import RANGE_OF_RUNS, Column, table_lines
from dlrun.sweeps.child_processes import preload_fork_server
from dlrun.sweeps.execute import execute_sweep
from dlrun.sweeps.planner import make_sweep_plan
from dlrun.sweeps.processes import Processes
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, parse_seeds
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.sweeps.sweep_plan import SweepPlan, SweepPoint, read_sweep_plan
from dlrun.system.console import LINE_WIDTH, Screen, pluralize, printable

# On 80 columns: published numbers are rounded as ours, and the page has the standard deviation.
COLUMNS = [
    *(Column("metric"), Column.number("book"), Column("book_is", "it is")),
    *(Column.number("notebook"), Column("notebook_is", "it is")),
    *(Column.number("mean", "here"), RANGE_OF_RUNS),
]
MISSING_HINT = "`pip install --no-deps islp` brings tables and photographs; see --data-dir"
LEGEND = f"""\
{ABOUT_EDITIONS} Here: the mean over n seeds. Range of runs: 95 % of single runs here lie in it \
(Student's t). A published number, as it is rounded, is within, above or below it, \
or equal to a fit that depends on no seed; with fewer than 5 seeds nothing is said \
(--seeds 10). Seconds: the median run's; runs go beside each other, unless with \
--jobs 1."""


@dataclass
class Reproduction:
    """Holds an experiment, or a variant of it, to reproduce, and the runs of its sweep.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. settings: all values that differ from the shipped config. missing: why it
    cannot be run. baseline: the simpler experiment that it should beat. runs: the finished ones, in
    the order of the seeds. failed: the errors of the others, by seed. damaged: sentences on
    damaged runs, whose seeds run again.
    """

    name: str
    options: RunOptions
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
    def run_options(self) -> RunOptions:
        """Return the options of the experiment's runs, with the values of `settings`."""
        layers = config_layers_from_settings(self.settings)
        return replace(self.options, values=[*self.options.values, *layers])

    def make_plan(self, screen: Screen) -> SweepPlan:
        """Return the plan of the experiment's sweep. Raises ConfigError with every error."""
        slug = re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")
        search = SearchSpace(seeds=self.seeds)
        return make_sweep_plan(f"reproduce-{slug}", self.name, self.run_options, search, screen)

    def run(self, plan: SweepPlan, screen: Screen, jobs: int | None) -> None:
        """Run the seeds without a finished run; if all have finished, nothing is written."""
        runs_dir = resolve_runs_dir(self.options.runs_dir)
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
            of_other_seeds = {point.number for point in plan.points if point not in points}
            state = SweepState(sweep.find_runs(), taken=of_other_seeds)
            try:
                execute_sweep(sweep, state, Processes(sweep, state, screen, jobs), screen)
            finally:  # also the seeds that ended before an error
                self._find_runs(sweep, points)
        # Also the runs without a record of the error, such as those whose process was killed.
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
        if not self.runs:
            return []
        section = ReportSection(1, self.runs[0], 1, with_published=True)
        if counts := count_labels_as_in_book(section.photographs):
            return [{"metric": f"first labels of {counts['photographs']}", "count": 1, **counts}]
        return []

    def compare_with_baseline(self, reproductions: "Sequence[Reproduction]") -> Comparison | None:
        """Compare the runs with those of the baseline among `reproductions`, or return None."""
        other = self._find_baseline(reproductions)
        if self.baseline is None or not self.runs or other is None:
            return None
        return compare_groups(self.groups[0], other, self.baseline.metric)

    def _find_baseline(self, reproductions: "Sequence[Reproduction]") -> Group | None:
        """Return the runs of the baseline among `reproductions`; None if there are none."""
        if self.baseline is None:
            return None
        wanted = self.baseline.experiment, self.baseline.set
        for reproduction in reproductions:
            if (reproduction.name, reproduction.variant) == wanted and reproduction.runs:
                return reproduction.groups[0]
        return None

    def describe_baseline(self, reproductions: "Sequence[Reproduction]") -> str:
        """Return whether the runs are better than those of the baseline; empty without one."""
        if self.baseline is None or not self.runs:
            return ""
        other = f"{self.baseline.experiment} {format_settings_briefly(self.baseline.set)}".rstrip()
        baseline = self._find_baseline(reproductions)
        if baseline is None:
            return f"{self.title}: not compared with {other}, which has no such runs here"
        comparison = self.compare_with_baseline(reproductions)
        if comparison is None:
            why = why_not_comparable(self.groups[0], baseline, self.baseline.metric)
            return f"{self.title}: not compared with {other}: {why}"
        return comparison.describe(self.title, other)

    def as_object(self, reproductions: "Sequence[Reproduction]") -> dict[str, object]:
        """Return the experiment and its rows as an object for the JSON output."""
        comparison = self.compare_with_baseline(reproductions)
        return {
            "experiment": self.name,
            "variant": self.variant,
            "seeds": self.seeds,
            "not_run": self.missing or None,
            "failed": self.failed,
            "runs": [str(run.folder) for run in self.runs],
            "not_comparable": self.not_comparable or None,
            "seconds": self.seconds,
            "rows": self.rows,
            "baseline": comparison and comparison.as_object(),
        }


def _with_earlier_points(new: SweepPlan, folder: Path, screen: Screen) -> SweepPlan:
    """Return the new plan with the points and the id of the plan in a folder before its own.

    If the plans conflict, the new plan is returned as it is.
    """
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
    plan = new.model_copy(update={"id": earlier.id, "points": list(earlier.points)})
    plan.add_points(point.settings for point in new.points if point.settings[SEED] not in known)
    return plan


def reproduce_published_numbers(
    names: Sequence[str],
    seeds: str | None,
    jobs: int | None,
    out: Path,
    options: RunOptions,
    command: str,
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. A seed
    that was run before, with the same config, code, packages and data, is not run again.

    names: the experiments; if empty, all that have published numbers. seeds: if None, as many as
    the experiment's `reference` says. out: the page. command: the command that continues the
    reproduction.
    """
    screen = Screen(quiet=options.quiet, shows_results=not options.json)
    given_seeds = None if seeds is None else parse_seeds(seeds)
    chosen = _choose_experiments(names)
    check_output_path("--out", out, force=options.force, ours=OURS)
    reproductions = prepare_reproductions(chosen, given_seeds, options, screen)
    runnable = [reproduction for reproduction in reproductions if not reproduction.missing]
    for reproduction in reproductions:
        if reproduction.missing:
            screen.warn(f"not run: {reproduction.title}: {reproduction.missing}")
    if not runnable:
        raise DlrunError("no experiment could be run", MISSING_HINT)
    # Every config is checked before the first run.
    plans = [reproduction.make_plan(screen) for reproduction in runnable]
    preload_fork_server(reproduction.name for reproduction in runnable)
    try:
        for number, (reproduction, plan) in enumerate(zip(runnable, plans, strict=True), start=1):
            runs = pluralize(len(reproduction.seeds), "run")
            screen.note(f"[{number}/{len(runnable)}] {reproduction.title}: {runs}")
            reproduction.run(plan, screen, jobs)
            _write(reproductions, out, command)
    except (Stopped, DlrunError):
        screen.warn(f"not done; continue with: {command}")
        if any(reproduction.runs for reproduction in reproductions):
            _write(reproductions, out, command)
        raise
    failed = any(reproduction.failed for reproduction in reproductions)
    if options.json:
        _print_json(reproductions, out, command, "failed" if failed else "finished", screen)
    else:
        _show(reproductions, out, resolve_data_dir(options.data_dir), screen)
    return 1 if failed or (names and len(runnable) < len(reproductions)) else 0


def _choose_experiments(names: Sequence[str]) -> list[str]:
    """Return the named experiments, each once; without names all with published numbers."""
    published = registry.experiments_with_published_numbers()
    for name in names:
        if not registry.experiment_entry(name).has_published_numbers:
            hint = f"`dlrun sweep {name} --seeds 5` runs it with several seeds"
            raise ConfigError(f"{name}: the book has no numbers for it", hint)
    return [*dict.fromkeys(names)] or published


def prepare_reproductions(
    names: Sequence[str], seeds: Sequence[int] | None, options: RunOptions, screen: Screen
) -> list[Reproduction]:
    """Prepare the experiments that reproduce the book ISLP's numbers; download their missing data.

    If the download fails, `missing` says why; each data set is tried once. The variants of an
    experiment follow it. Raises ConfigError if a config is invalid, DlrunError if an experiment
    cannot be loaded.
    """
    reproductions = []
    failures: dict[str, str] = {}  # of each data set why it is missing
    data_dir = resolve_data_dir(options.data_dir)
    for name in names:
        experiment = registry.load_experiment(name)
        config = load_experiment_config(name, options)
        reproduction = Reproduction(name, options, _choose_seeds(config, seeds))
        variants: list[PublishedVariant] = []
        if isinstance(reference := config.reference_section, Reference):
            reproduction.baseline = reference.baseline
            variants = reference.variants
        dataset = registry.experiment_dataset(name)
        data_name = name if dataset is None else dataset.name
        if data_name not in failures:
            screen.note(f"data of {name}")
            try:
                reproduction.settings = experiment.lab_setup(config, data_dir, screen)
            except OSError as error:
                failures[data_name] = f"its data: {error.strerror}"
            except DataError as error:
                failures[data_name] = error.message
        missing = failures.get(data_name, "")
        reproduction.missing = missing
        reproductions.append(reproduction)
        for values in (published.set for published in variants):
            settings = reproduction.settings | values
            variant = Reproduction(name, options, reproduction.seeds, values, settings, missing)
            reproductions.append(variant)
    return reproductions


def _choose_seeds(config: ExperimentConfig, seeds: Sequence[int] | None) -> list[int]:
    """Return an experiment's seeds: those given, or else as many as its `reference` says."""
    if not config.depends_on_seed:
        return [config.seed]
    if seeds is None and isinstance(config.reference_section, Reference):
        return [*range(config.reference_section.seeds)]
    return list(seeds or [0])


def _write(reproductions: Sequence[Reproduction], out: Path, command: str) -> None:
    """Write the page about the runs. Raises OSError if it cannot be written."""
    notes = [note for reproduction in reproductions for note in reproduction.notes]
    content = PageContent(
        [run for reproduction in reproductions for run in reproduction.runs],
        note=f"`{command}` does it again, or goes on.",
        warnings=notes + _baseline_sentences(reproductions),
        title="The lab, reproduced",
        with_published=True,
    )
    write_report_page(content, out)


def _baseline_sentences(reproductions: Sequence[Reproduction]) -> list[str]:
    """Return in words whether each experiment with a baseline is better than the baseline."""
    sentences = (reproduction.describe_baseline(reproductions) for reproduction in reproductions)
    return [*filter(None, sentences)]


def _show(reproductions: Sequence[Reproduction], out: Path, data_dir: Path, screen: Screen) -> None:
    """Print the comparison, the experiments that were not run, and the paths of the files."""
    with_rows = [(reproduction, reproduction.rows) for reproduction in reproductions]
    head, *lines = table_lines(COLUMNS, [row for _, rows in with_rows for row in rows], screen)
    next_lines = iter(lines)
    shown: list[str] = []
    for reproduction, rows in with_rows:
        if rows:
            note = f"; {rows[0]['note']}" if rows[0].get("note") else ""
            runs = pluralize(len(reproduction.runs), "run")
            shown.append(f"{reproduction.title}, {runs} of {reproduction.seconds:.1f} s{note}")
        shown += itertools.islice(next_lines, len(rows))
    notes = (note for reproduction in reproductions for note in reproduction.notes)
    for text in (LEGEND, *_baseline_sentences(reproductions), *notes):
        shown += textwrap.wrap(
            printable(text), LINE_WIDTH, subsequent_indent="  ", break_long_words=False
        )
    if any(reproduction.missing for reproduction in reproductions):
        shown.append(f"put what is missing into {data_dir}, and run the same command")
    screen.show(Text(head, style="bold"))
    screen.show(Text("\n".join(shown)))
    screen.show_labelled(("page", str(out)))


def _print_json(
    reproductions: Sequence[Reproduction], out: Path, command: str, status: str, screen: Screen
) -> None:
    experiments = [reproduction.as_object(reproductions) for reproduction in reproductions]
    about = {"status": status, "command": command, "page": str(out)}
    with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
        screen.print_json(about | {"experiments": experiments})
