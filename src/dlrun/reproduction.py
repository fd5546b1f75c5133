"""Reproduce published numbers: a sweep over seeds for each experiment, and one page about them."""

import contextlib
import re
import shlex
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from html import escape
from importlib import metadata
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import Baseline, Reference, Variant
from dlrun.config.yaml_loader import flatten_keys, format_override, format_settings_briefly
from dlrun.errors import ConfigError, DlrunError, Stopped, mark_as_printed, os_error_remedy
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.reports.page import OURS, PageContent, write_report_page
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import Interval, PairedComparison, RunGroup, compare_pairs
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import PLAN, SWEEP_LOCK, SWEEPS, RunFolder, check_output_path
from dlrun.run_folder.recorded_metrics import (
    EDITIONS,
    format_interval,
    format_metric,
)
from dlrun.runs.checks import load_experiment_config
from dlrun.runs.distributed import find_process_group
from dlrun.sweeps.plan import (
    Sweep,
    SweepPlan,
    SweepPoint,
    is_run_complete,
    make_sweep_plan,
    read_sweep_plan,
)
from dlrun.sweeps.processes import preload_fork_server
from dlrun.sweeps.runner import run_sweep_points
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, format_seeds, parse_seeds
from dlrun.system.console import Screen, format_text_table, pluralize, printable
from dlrun.system.files import file_digest, write_file_atomically

TABLE_MARK = "<!-- dlrun reproduce"  # such a table may be overwritten
SCREEN_WIDTH = 80
COLUMNS = {
    "what": "experiment, metric",
    "book": "book",
    "book in range": "in range?",
    "notebook": "notebook",
    "notebook in range": "in range?",
    "here": "here",
    "sd": "sd",
    "n": "n",
    "interval": "95 % of runs",
    "seconds": "seconds a run",
    "command": "command",
}
ON_SCREEN = ("book", "book in range", "notebook", "notebook in range", "here", "sd", "interval")
COMPARED = ("metric", "pairs", "value", "baseline", "interval", "verdict")  # in the JSON
MACHINE = ("processor", "threads", "platform", "python", "torch", "scikit-learn", "dlrun")
MISSING_HINT = (
    "put what is missing into the data folder; `pip install --no-deps islp` brings tables and "
    "photographs; `dlrun demo` runs the lab on generated data"
)
LEGEND = """\
Here: the mean over n seeds. 95 % of runs: where one more run here would lie \
(Student's t). In range? yes: the published number, as it is rounded, lies \
there too; above, below: it lies outside. With few seeds a yes says little: \
--seeds 10 says more. Equal: a fit that depends on no seed gives the published \
number, rounded to its digits. First labels: photographs whose most probable \
label is the book's. Seconds: the median run's, beside other runs."""


@dataclass(frozen=True)
class PublishedRow:
    """Holds a published number beside the numbers of the runs on this machine, as the JSON has it.

    published: the number by edition of the book. reruns: values of the authors' other runs, by
    source. interval: where 95 % of runs lie. in_range: where the number of each edition lies; empty
    or None if it is not judged.
    """

    metric: str
    published: Mapping[str, float | None]
    values: Sequence[float]
    mean: float
    sd: float | None = None
    interval: Interval | None = None
    direction: str = ""
    reruns: Mapping[str, float] = field(default_factory=dict)
    in_range: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def cells(self) -> dict[str, str]:
        """Return the texts of a table's cells by column, the published numbers for a screen."""
        cells = {edition: format_metric(value) for edition, value in self.published.items()}
        cells |= {f"{edition} in range": self.in_range.get(edition) or "" for edition in EDITIONS}
        return cells | {
            "here": format_metric(self.mean),
            "sd": format_metric(self.sd),
            "n": str(len(self.values)),
            "interval": format_interval(self.interval) if self.interval else "",
        }


@dataclass
class ReproducedExperiment:
    """Holds an experiment of a reproduction, or a variant of it, with its runs of one sweep.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. settings: all values that differ from the shipped config. data: SHA-256 of
    its files. missing: why it cannot be run. stochastic: whether numbers depend on the seed.
    baseline: the simpler experiment that it should beat. runs: the finished ones, in the order of
    the seeds. failed: the errors of the others, by seed. damaged: sentences on damaged runs.
    """

    name: str
    options: RunSettings
    seeds: list[int]
    variant: Settings = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    stochastic: bool = True
    baseline: Baseline | None = None
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
        search = SearchSpace(seeds=format_seeds(self.seeds))
        plan = make_sweep_plan(f"reproduce-{slug}", self.name, options, search, screen)
        return plan.model_copy(update={"data": dict(self.data)})

    def run(self, plan: SweepPlan, screen: Screen, jobs: int | None) -> None:
        """Run the seeds without a finished run, at most `jobs` of them in parallel.

        If all have finished, nothing is written.
        Raises DlrunError if another process is running them; Interrupted or Terminated once the
        current runs have ended.
        """
        runs_dir = run_context.resolve_runs_dir(self.options.runs_dir)
        folder = runs_dir / SWEEPS / plan.name
        is_new = not (folder / PLAN).exists()
        if not is_new:
            plan = _with_earlier_points(plan, folder, screen)
        sweep = Sweep(plan, folder, self.options.data_dir)
        self.damaged = sweep.describe_damaged()
        points = {
            point.settings[SEED]: point
            for point in plan.points
            if point.settings[SEED] in self.seeds
        }
        if self._find_runs(sweep, points):
            return
        if is_new:
            RunFolder.claim_sweep(runs_dir, plan.name)
        with RunFolder(folder).locked(SWEEP_LOCK):
            sweep.write_plan()
            try:
                state = run_sweep_points(sweep, screen, points=[*points.values()], jobs=jobs)
            finally:  # also the seeds that finished before an error
                self._find_runs(sweep, points)
        seeds = {point.number: seed for seed, point in points.items()}
        self.failed = {seeds[number]: why for number, why in state.failed.items()}
        if state.stopped:
            raise state.stopped

    def _find_runs(self, sweep: Sweep, points: Mapping[int, SweepPoint]) -> bool:
        """Set `runs` to the finished runs of a sweep; return whether each seed has one."""
        found = sweep.find_runs()
        runs = [found.get(points[seed].number) for seed in self.seeds]
        self.runs = [run for run in runs if run is not None and is_run_complete(run)]
        return len(self.runs) == len(self.seeds)

    @property
    def command(self) -> str:
        """Return the shell command that runs the experiment with its seeds."""
        words, overrides = ["dlrun", self.name], self.overrides
        if len(self.seeds) > 1:
            words = ["dlrun", "sweep", self.name, "--seeds", format_seeds(self.seeds)]
        elif self.stochastic:
            overrides.append(f"{SEED}={self.seeds[0]}")
        words += [word for text in overrides for word in ("--set", text)]
        if self.options.data_dir is not None:
            words += ["--data-dir", str(self.options.data_dir)]
        return shlex.join(words)

    @property
    def seconds(self) -> float:
        """Return the median duration of the runs in seconds."""
        return statistics.median(run.record.seconds.get("total", 0.0) for run in self.runs)

    @property
    def not_comparable(self) -> str:
        """Return why the published numbers cannot be compared with the runs; empty if they can."""
        return (self.runs[0].record.reference_differs or "") if self.runs else ""

    @property
    def notes(self) -> list[str]:
        """Return remarks for the reader: why numbers are not comparable, or missing."""
        left = len(self.seeds) - len(self.runs) - len(self.failed)
        notes = [f"(*) {self.title}: {self.not_comparable}"] if self.not_comparable else []
        if self.missing:
            notes.append(f"Not run: {self.title}: {self.missing}")
        elif left:
            notes.append(f"Not yet run: {self.title}: {left} of {len(self.seeds)} runs")
        failed = (f"{self.title}, seed {seed}: {why}" for seed, why in self.failed.items())
        return [*notes, *self.damaged, *(f"Failed: {text}" for text in failed)]

    @property
    def group(self) -> RunGroup:
        """Return the runs as the group of one config, with published numbers of other data too."""
        return RunGroup({(run.record.seed, None): run for run in self.runs}, with_published=True)

    @cached_property
    def first_section(self) -> RunSection:
        """Return what a page shows of the first run."""
        return RunSection(1, self.runs[0], cells=1, with_published=True)

    @property
    def rows(self) -> list[PublishedRow]:
        """Return a row for each published metric that all runs have; none without runs."""
        if not self.runs:
            return []
        group, published = self.group, self.first_section.published
        judged = EDITIONS if len(self.runs) > 1 or not self.stochastic else ()
        rows = []
        for metric in dict.fromkeys(name for values in published.values() for name in values):
            here = group.spread(metric)
            if here is None:
                continue
            row = PublishedRow(
                metric,
                published=dict.fromkeys(EDITIONS) | group.published_values(metric),
                values=here.values,
                mean=here.mean,
                sd=here.deviation,
                interval=here.range,
                direction=here.metric.direction,
                reruns=dict(group.rerun_values(metric)),
                in_range={edition: group.place(here, edition) for edition in judged},
            )
            rows.append(row)
        return rows or self._rows_of_photographs()

    def _rows_of_photographs(self) -> list[PublishedRow]:
        """Return a row with the number of photographs whose most probable label is the book's."""
        counts, photographs = dict.fromkeys((*EDITIONS, "here"), 0), 0
        for photograph in self.first_section.photographs:
            weights = photograph.published | {"here": photograph.labels}
            first = {origin: found[0][0] for origin, found in weights.items() if found}
            if "book" in first:
                photographs += 1
                for origin in counts:
                    counts[origin] += first.get(origin) == first["book"]
        if not photographs:
            return []
        here = counts.pop("here")
        return [PublishedRow(f"first labels of {photographs}", counts, [here], here)]

    @property
    def figures(self) -> dict[str, bytes]:
        """Return the figures of the first run as PNGs, by title and file name."""
        figures = {}
        for path in self.runs[0].figures if self.runs else ():
            with contextlib.suppress(DlrunError):  # it was removed, or changed
                figures[f"{self.title}, {path.name}"] = self.runs[0].read(path.name)
        return figures

    def compare_with_baseline(
        self, parts: "Sequence[ReproducedExperiment]"
    ) -> PairedComparison | None:
        """Compare the runs with those of the baseline among the parts, paired by seed.

        A baseline without chance has one value. None if there are no such pairs.
        """
        if self.baseline is None:
            return None
        wanted, metric = (self.baseline.experiment, self.baseline.set), self.baseline.metric
        for part in parts:
            if (part.name, part.variant) == wanted:
                ours, theirs = self.group.values(metric), part.group.values(metric)
                if theirs and not part.stochastic:
                    theirs = dict.fromkeys(ours, next(iter(theirs.values())))
                pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
                known = self.group.metric(metric)
                return compare_pairs(known, *zip(*pairs, strict=True)) if pairs else None
        return None

    def describe_baseline(self, parts: "Sequence[ReproducedExperiment]") -> str:
        """Return whether the runs are better than those of the baseline; empty without one."""
        if self.baseline is None or not self.runs:
            return ""
        other = f"{self.baseline.experiment} {format_settings_briefly(self.baseline.set)}".rstrip()
        found = self.compare_with_baseline(parts)
        if found is None:
            return f"{self.title}: not compared with {other}, which has no such runs here"
        text = f"{self.title}: mean {found.metric.name} {found.value:.4g} over "
        text += f"{pluralize(found.pairs, 'seed')}, {found.baseline:.4g} by {other}"
        if found.interval is None:
            return f"{text}: --seeds 10 says whether such a difference is reliable"
        low, high = (f"{end:.4g}" for end in found.interval)
        text += f", 95 % interval of the mean difference {low} to {high}: {found.verdict}"
        return f"{text} ({found.metric.direction})"


Parts = Sequence[ReproducedExperiment]


def _with_earlier_points(new: SweepPlan, folder: Path, screen: Screen) -> SweepPlan:
    """Return the plan in a folder with missing seeds added, or the new plan if they conflict."""
    try:
        earlier = read_sweep_plan(folder)
        before, now = (
            (
                {key for point in plan.points for key in point.settings},
                plan.data,
                flatten_keys(plan.base) | {SEED: 0},
            )
            for plan in (earlier, new)
        )
        if before != now:
            raise DlrunError(f"{folder}: its data or config have changed")
    except DlrunError as error:  # also if damaged, or if code or packages have changed
        screen.note(f"all seeds are run again: {error.message}")
        return new
    known = {point.settings[SEED] for point in earlier.points}
    earlier.add_points(one.settings for one in new.points if one.settings[SEED] not in known)
    return earlier


def reproduce_published_numbers(
    names: Sequence[str],
    seeds: str,
    jobs: int | None,
    out: Path,
    options: RunSettings,
    command: str,
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. A seed
    that was run before, with the same config, code, packages and data, is not run again.

    names: the experiments; if empty, all that have published numbers. seeds: as in `--seeds` of a
    sweep. jobs: None: as many as cores and memory allow. out: the page; the table is beside it, as
    .md. command: the command that continues the reproduction.

    Raises ConfigError before any run begins, DlrunError if no experiment could be run; Interrupted
    or Terminated after the current runs have ended.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    if group := find_process_group():
        raise ConfigError(f"{group}, each of which would reproduce", f"leave {group.by} out")
    numbers = parse_seeds(seeds)
    chosen = _choose_experiments(names)
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: not a page's name", "name it FILE.html")
    for path, mark in ((out, OURS), (out.with_suffix(".md"), TABLE_MARK.encode())):
        check_output_path("--out", path, force=options.force, ours=mark)
    parts = prepare_reproduction(chosen, numbers, options, screen)
    runnable = [part for part in parts if not part.missing]
    for part in parts:
        if part.missing:
            screen.warn(f"not run: {part.title}: {part.missing}")
    if not runnable:
        raise DlrunError("no experiment could be run", MISSING_HINT)
    plans = [part.make_plan(screen) for part in runnable]  # every config is checked first
    preload_fork_server(part.name for part in runnable)
    try:
        for place, (part, plan) in enumerate(zip(runnable, plans, strict=True), start=1):
            runs = pluralize(len(part.seeds), "run")
            screen.note(f"[{place}/{len(runnable)}] {part.title}: {runs}")
            part.run(plan, screen, jobs)
            _write(parts, out, command)
    except (Stopped, DlrunError) as error:
        screen.warn(f"not done; continue with: {command}")
        if any(part.runs for part in parts):
            _write(parts, out, command)
        if options.json and isinstance(error, Stopped):
            _print_json(parts, out, command, "interrupted", screen)
            mark_as_printed(error)
        raise
    failed = any(part.failed for part in parts)
    if options.json:
        _print_json(parts, out, command, "failed" if failed else "finished", screen)
    else:
        _show(parts, out, run_context.resolve_data_dir(options.data_dir), screen)
    return 1 if failed or (names and len(runnable) < len(parts)) else 0


def _choose_experiments(names: Sequence[str]) -> list[str]:
    """Return the named experiments, each once; without names all with published numbers.

    Raises ConfigError if an experiment has none, or does not exist.
    """
    editions = tuple(f"reference.{edition}." for edition in EDITIONS)
    published = {
        name: any(key.startswith(editions) for key in registry.shipped_values(name))
        for name in names or registry.experiment_names()
    }
    for name in names:
        if not published[name]:
            raise ConfigError(f"{name}: nothing is published of it", "`dlrun sweep` it")
    return [*published] if names else registry.sort_by_place(filter(published.get, published))


def prepare_reproduction(
    names: Sequence[str], seeds: Sequence[int], options: RunSettings, screen: Screen
) -> list[ReproducedExperiment]:
    """Prepare experiments for a reproduction, and download the data sets that are missing.

    If the download fails, `missing` says why; each data set is tried once. The variants of an
    experiment follow it.
    """
    parts, failures = [], dict[str, str]()  # of each data set why it is missing
    data_dir = run_context.resolve_data_dir(options.data_dir)
    for name in names:
        part, source = ReproducedExperiment(name, options, list(seeds)), name
        variants: list[Variant] = []
        try:
            experiment = registry.load_experiment(name)
            config = load_experiment_config(name, options)
            if isinstance(reference := config.reference_section, Reference):
                part.baseline, variants = reference.baseline, reference.variants
            part.stochastic = config.depends_on_seed
            if not part.stochastic:
                part.seeds = [config.seed]
            if (dataset := registry.experiment_dataset(name)) is not None:
                source = dataset.name
            if source not in failures:
                screen.note(f"data of {name}")
                files, part.settings = experiment.lab_setup(config, data_dir, screen)
                part.data = {path.name: file_digest(path) for path in files if path.is_file()}
        except OSError as error:
            failures[source] = f"its data: {error.strerror}"
        except DlrunError as error:
            failures[source] = error.message
        part.missing = failures.get(source, "")
        parts.append(part)
        for values in (variant.set for variant in variants):
            settings = part.settings | values
            parts.append(replace(part, variant=values, settings=settings, baseline=None))
    return parts


def _write(parts: Parts, out: Path, command: str) -> None:
    """Write the page and the table of the runs. Raises DlrunError if a file cannot be written."""
    about = f"{command}, dlrun {metadata.version('dlrun')}, {datetime.now(UTC):%Y-%m-%d}"
    content = PageContent(
        [run for part in parts for run in part.runs],
        note=f"`{command}` does it again, or goes on. Machine: {_describe_machine(parts)}.",
        warnings=[note for part in parts for note in part.notes],
        findings=_compare_with_baselines(parts),
        figures={name: png for part in parts for name, png in part.figures.items()},
        title="The lab, reproduced",
        with_published=True,
    )
    table = out.with_suffix(".md")
    text = format_reproduction_markdown(parts, about).encode("utf-8", "backslashreplace")
    path = out
    try:
        write_report_page(content, out)
        path = table
        write_file_atomically(table, text)
    except OSError as error:
        hint = os_error_remedy(error, "choose another place")
        raise DlrunError(f"--out {path}: {error.strerror}", hint) from None


def _describe_machine(parts: Parts) -> str:
    """Describe the machine of the first run; empty without a run."""
    section = next((part.first_section for part in parts if part.runs), None)
    about = section.environment() if section else {}
    return ", ".join(f"{key} {about[key]}" for key in MACHINE if about.get(key))


def _compare_with_baselines(parts: Parts) -> list[str]:
    """Return whether each part with runs and a baseline is better than it, in words."""
    return [text for part in parts if (text := part.describe_baseline(parts))]


def format_reproduction_markdown(parts: Parts, made: str) -> str:
    """Return a Markdown table that compares the runs with the published numbers.

    `made` is the command, for a comment. The text names no folder of this machine, so that it can
    be put into a README.
    """
    lines = [f"<!-- {_one_line(made).replace('-->', '')} -->", ""]
    lines += [_line(COLUMNS.values()), _line("---" for _ in COLUMNS)]
    notes = _compare_with_baselines(parts) + [note for part in parts for note in part.notes]
    for part in parts:
        for row in part.rows:
            what = f"{part.title}, {row.metric}"
            texts = row.cells | {
                "what": f"{what} (*)" if part.not_comparable else what,
                "seconds": f"{part.seconds:.1f}",
            }
            for edition, value in row.published.items():
                texts[edition] = "" if value is None else f"{value!r}"  # as it was published
            cells = {key: _escaped(text) for key, text in texts.items()}
            cells["command"] = f"<code>{_escaped(part.command)}</code>"
            lines.append(_line(cells[key] for key in COLUMNS))
            if row.reruns:
                reruns = ", ".join(f"{value!r} ({source})" for source, value in row.reruns.items())
                notes.append(f"Other runs of the authors, {what}: {reruns}")
    notes.append(f"Machine: {_describe_machine(parts)}")
    lines += ["", *textwrap.wrap(LEGEND, SCREEN_WIDTH), ""]
    lines += [f"- {_escaped(note)}." for note in notes]
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return text for a Markdown table cell: one line without HTML or control characters."""
    return escape(_one_line(text), quote=False).replace("|", r"\|")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _show(parts: Parts, out: Path, data_dir: Path, screen: Screen) -> None:
    """Print the comparison, the experiments that were not run, and the paths of the files."""
    rows = [
        [row.metric, *(row.cells[key] for key in ON_SCREEN)] for part in parts for row in part.rows
    ]
    heads = ["", *(COLUMNS[key] for key in ON_SCREEN)]
    left = {place for place, head in enumerate(heads) if head in ("", "in range?")}
    head, *lines = format_text_table([heads, *rows], left=left, gap=1)
    shown: list[str] = []
    for part in parts:
        if part.rows:
            mark = " (*)" if part.not_comparable else ""
            runs = pluralize(len(part.runs), "run")
            shown.append(f"{part.title}{mark}, {runs} of {part.seconds:.1f} s")
        shown += [lines.pop(0) for _ in part.rows]
    for text in (LEGEND, *_compare_with_baselines(parts)):
        shown += textwrap.wrap(printable(text), SCREEN_WIDTH, subsequent_indent="  ")
    shown += [printable(note) for part in parts for note in part.notes]
    if any(part.missing for part in parts):
        shown.append(f"put what is missing into {data_dir}, and run the same command")
    screen.show(Text(head, style="bold"))
    screen.show(Text("\n".join(shown)))
    screen.labelled(("page", str(out)), ("table", str(out.with_suffix(".md"))))


def _print_json(parts: Parts, out: Path, command: str, status: str, screen: Screen) -> None:
    experiments = []
    for part in parts:
        baseline = part.compare_with_baseline(parts)
        experiments.append(
            {
                "experiment": part.name,
                "variant": part.variant,
                "seeds": part.seeds,
                "not_run": part.missing or None,
                "failed": part.failed,
                "runs": [str(run.folder) for run in part.runs],
                "reserved": part.not_comparable or None,
                "seconds": part.seconds if part.runs else None,
                "command": part.command,
                "rows": [asdict(row) for row in part.rows],
                "baseline": baseline and {key: getattr(baseline, key) for key in COMPARED},
            }
        )
    about = {
        "status": status,
        "command": command,
        "page": str(out),
        "machine": _describe_machine(parts),
    }
    with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
        screen.print_json(about | {"experiments": experiments})
