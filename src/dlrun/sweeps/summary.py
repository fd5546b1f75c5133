"""Summarise a sweep: metrics of each config over its seeds, best config, table, figure and page."""

import contextlib
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun.config.data_sections import FOLD, FOLDS
from dlrun.config.sections import EPOCHS
from dlrun.config.yaml_loader import format_override, format_settings_briefly
from dlrun.errors import ConfigError, first_line, os_error_remedy
from dlrun.experiments.saved_run import Run
from dlrun.reports.page import BestConfig, PageContent, write_report_page
from dlrun.reports.spread import metric_spread
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.folder import RunFolder, to_csv
from dlrun.run_folder.recorded_metrics import format_metric, shorten_metric
from dlrun.sweeps.plan import SweepPlan, SweepPoint, read_sweep_plan, repeat_of
from dlrun.sweeps.search_space import SEED, Settings, format_seeds
from dlrun.sweeps.selection import ComparedConfig, Selection
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen, printable

TABLE, FIGURE, PAGE = "table.csv", "metric.png", "report.html"
INDENT = 7  # columns of a label on the screen
WIDTH = 80 - INDENT
NO_BREAK = "\N{NO-BREAK SPACE}"
ROUGH = (
    "In a cross-validation n counts the folds, and the interval of their mean is a rough one: the "
    "folds share training rows"
)


@dataclass
class ConfigResults:
    """Holds the finished runs of one config of a sweep, one for each seed and fold, with metrics.

    settings: the keys that vary in the sweep, with their values. planned: the number of runs.
    spreads: the mean and spread of each metric that all runs have. validated: the spread by which
    the best config is chosen, or None. tested: that of the main test metric, or None. missing:
    the text `2 of 3` if not all planned runs have finished; otherwise empty. fold_of_runs: the
    number of each run's fold, or None. folds: how many folds there are among the runs. epochs: to
    which successive halving has trained the runs; otherwise 0.
    """

    runs: list[Run]
    settings: Settings
    planned: int
    fold_of_runs: Sequence[int | None] = ()
    epochs: int = 0

    def __post_init__(self) -> None:
        found = [run.record.metrics for run in self.runs]
        spreads = [metric_spread(name, found, self.fold_of_runs) for name in found[0]]
        self.spreads = {spread.metric: spread for spread in spreads if spread is not None}
        self.validated = self.spreads.get(metrics.selection_metric(self.spreads) or "")
        self.tested = self.spreads.get(metrics.main_metric(self.runs[0].record) or "")
        seeds = (run.record.seed for run in self.runs)
        self.seeds = list(dict.fromkeys(seed for seed in seeds if seed is not None))
        self.folds = len({*self.fold_of_runs} - {None})
        count = len(self.runs)
        self.missing = f"{count} of {self.planned}" if count < self.planned else ""

    @property
    def rank(self) -> tuple[int, bool, bool, float]:
        """Return a sort key, best last: epochs, has a validation metric, has all seeds, mean."""
        by = self.validated
        value = float("-inf") if by is None else metrics.metric_direction(by.metric) * by.mean
        return self.epochs, by is not None, not self.missing, value

    @property
    def repeats(self) -> list[tuple[object, object]]:
        """Return the seed and the fold of each run, in which the runs differ."""
        folds = self.fold_of_runs or [None] * len(self.runs)
        return [(run.record.seed, fold) for run, fold in zip(self.runs, folds, strict=True)]

    @property
    def is_same_for_all_seeds(self) -> bool:
        """Return whether all runs have the same metrics, as those of a fit without chance have."""
        return all(run.record.metrics == self.runs[0].record.metrics for run in self.runs)

    def compared(self, metric: str) -> ComparedConfig:
        """Return what is compared with other configs, if a metric of the validation selects."""
        repeats = dict.fromkeys(seed if fold is None else fold for seed, fold in self.repeats)
        values = dict(zip(repeats, self.spreads[metric].values, strict=True))
        tested = self.spreads.get(metric.replace(metrics.VALID, metrics.TESTED, 1))
        name = format_settings_briefly(self.settings)
        return ComparedConfig(name, values, tested.mean if tested else None)

    def book(self, metric: str) -> float | None:
        """Return the value of a metric in the book, or None if the config is not comparable."""
        return metrics.published_metrics(self.runs[0].record).get("book", {}).get(metric)

    def numbers(self, metric: str) -> dict[str, object]:
        """Return the statistics of a metric (mean, deviation, ...) by name, for the JSON output."""
        spread = self.spreads[metric]
        return {
            "n": len(spread.values),
            "mean": spread.mean,
            "sd": spread.deviation,
            "min": min(spread.values),
            "max": max(spread.values),
            "interval": spread.interval,
            "book": self.book(metric),
        }

    def as_object(self) -> dict[str, object]:
        """Return the config and its metrics as an object for the JSON output."""
        return {
            "settings": self.settings,
            "seeds": self.seeds,
            "folds": self.folds or None,
            "planned": self.planned,
            "runs": [str(run.folder) for run in self.runs],
            "metrics": {metric: self.numbers(metric) for metric in self.spreads},
        }

    def describe(self) -> str:
        """Return the config with its mean validation and test metrics as text."""
        spreads = [spread for spread in (self.validated, self.tested) if spread]
        text = ", ".join(f"{one.metric} {format_metric(one.mean)}" for one in spreads)
        text += f" ({self.missing} runs)" if self.missing else ""
        return f"{format_settings_briefly(self.settings)}: {text}" if self.settings else text

    def command(self, experiment: str) -> str:
        """Return the shell command that repeats the config: one run, or a sweep over its runs."""
        words, settings = ["dlrun", experiment], self.runs[0].changed_settings()
        if self.folds:
            words = ["dlrun", "sweep", experiment, "--folds", str(settings.pop(FOLDS))]
            del settings[FOLD]
        elif len(self.seeds) > 1:
            words = ["dlrun", "sweep", experiment]
        if len(self.seeds) > 1:
            words += ["--seeds", format_seeds(self.seeds)]
            settings.pop(SEED, None)
        for key, value in settings.items():
            words += ["--set", format_override(key, value)]
        return shlex.join(words)


def group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[ConfigResults]:
    """Group the finished runs of a sweep by config and number of epochs, best config last."""
    results = []
    for config in plan.configs:
        by_epochs: dict[int, dict[object, tuple[Run, int | None]]] = {}
        for point in config:
            run = runs.get(point.number)
            if run is not None and run.record.status == "finished" and run.record.metrics:
                values, fold = run.effective_config(), point.settings.get(FOLD)
                repeats = by_epochs.setdefault(values.get(EPOCHS, 0), {})
                repeats[repeat_of(values)] = run, fold
        planned = len({repeat_of(point.settings) for point in config})
        for epochs, repeats in by_epochs.items():
            settings = {key: config[0].settings.get(key) for key in plan.keys}
            settings |= {EPOCHS: epochs} if plan.rungs else {}
            found, folds = zip(*repeats.values(), strict=True)
            reached = epochs if plan.rungs else 0
            results.append(ConfigResults([*found], settings, planned, folds, reached))
    return sorted(results, key=lambda result: result.rank)


def find_best_config(results: Sequence[ConfigResults]) -> ConfigResults | None:
    """Return the config with the best validation metric, or None if no config has one.

    The only config of a sweep in which no key varies needs no validation: its test metric will do.
    """
    best = results[-1] if results else None
    return best if best and (best.validated or (best.tested and not best.settings)) else None


def judge_selection(results: Sequence[ConfigResults]) -> Selection | None:
    """Return the comparison of the best config with the others; None if no key varies."""
    best = find_best_config(results)
    if best is None or best.validated is None or not best.settings:
        return None
    metric, repeats = best.validated.metric, {*best.repeats}
    configs = [
        one.compared(metric)
        for one in results
        if metric in one.spreads and (one.epochs, {*one.repeats}) == (best.epochs, repeats)
    ]
    unit = "fold" if best.folds else "seed"
    on_test = _is_selected_by_test_rows(best)
    return Selection(metric, configs, unit, len(results) - len(configs), is_tested=not on_test)


def _is_selected_by_test_rows(best: ConfigResults) -> bool:
    best_epoch = best.runs[0].record.best_epoch
    return best_epoch is not None and best_epoch.on_test


def warnings_of_selection(results: Sequence[ConfigResults]) -> list[str]:
    """Return a warning if the test rows chose the best config, or an epoch; or an empty list."""
    best = find_best_config(results)
    if best is None or not _is_selected_by_test_rows(best):
        return []
    if best.settings:
        return [metrics.too_good_by_test_rows("the best config's test metric")]
    if any(run.record.earlier_epoch or run.record.stopped_epoch for run in best.runs):
        return [metrics.too_good_by_test_rows("the test metric of an epoch that they choose")]
    return []  # only the seed varies: nothing was chosen


def write_sweep_files(
    sweep: Sweep, state: SweepState, results: Sequence[ConfigResults], screen: Screen
) -> dict[str, str]:
    """Write a sweep's table, figure and report, and return the paths of those that were written.

    An error is shown: the results, which need no disk, follow.
    """
    plan, folder, files = sweep.plan, RunFolder(sweep.folder), dict[str, str]()
    try:
        folder.write(TABLE, to_csv(_table(plan, results)))
        files["table"] = str(folder.path / TABLE)
    except OSError as error:
        screen.fail(f"{folder.path / TABLE}: {error.strerror}", os_error_remedy(error))
    if not state.runs:
        return files
    try:
        if (figure := _draw(plan, state.runs, results)) is not None:
            folder.write(FIGURE, figure)
            files["figure"] = str(folder.path / FIGURE)
    except Exception as error:  # a font, a backend: no reason to lose the result
        screen.warn(f"the figure could not be drawn: {type(error).__name__}: {first_line(error)}")
    try:
        content = _page_content(sweep, state.runs, results)
        _, problems = write_report_page(content, folder.path / PAGE)
        files["report"] = str(folder.path / PAGE)
    except OSError as error:
        problems = [f"{folder.path / PAGE}: {error.strerror}"]
    for problem in problems:
        screen.warn(problem)
    return files


def read_page_content(folder: Path) -> PageContent:
    """Read what a page shows of the sweep in a folder.

    Raises ConfigError if it has no runs, DlrunError if its plan is damaged.
    """
    plan = read_sweep_plan(folder, force=True)
    sweep = Sweep(plan, folder)
    if plan.search is not None:  # its plan has no points: their settings are those of their runs
        for _ in range(plan.search.trials):
            plan.add_config({})
    runs = sweep.find_runs()
    if not runs:
        raise ConfigError(f"{folder}: this sweep has no runs", "`dlrun runs list` has all")
    if plan.search is not None:
        repeats = plan.search.repeats
        for number, run in runs.items():
            values, first = run.effective_config(), number - (number - 1) % len(repeats)
            config = {key: values.get(key) for key in plan.keys}
            for one, repeat in enumerate(repeats, start=first):
                plan.points[one - 1] = SweepPoint(number=one, settings=config | repeat)
    return _page_content(sweep, runs, group_runs_by_config(plan, runs))


def _page_content(
    sweep: Sweep, runs: Mapping[int, Run], results: Sequence[ConfigResults]
) -> PageContent:
    """Return what a page shows of a sweep."""
    plan, best, shown = sweep.plan, find_best_config(results), None
    note = f"The sweep {plan.name}: {shlex.join(['dlrun', *plan.command[1:]])}."
    finished = sum(run.record.status == "finished" for run in runs.values())
    if finished < len(plan.points):
        note += f" {finished} of {len(plan.points)} points have finished; {sweep.resume_command} "
        note += f"runs the rest{', unless a config was chosen twice' if plan.search else ''}."
    note += f" {ROUGH}." if any(result.folds for result in results) else ""
    if best and (selection := judge_selection(results)):
        shown = BestConfig(best.describe(), selection.describe(), selection.is_reliable)
    ordered = [run for _, run in sorted(runs.items())]
    warnings, figures = warnings_of_selection(results), dict[str, bytes]()
    with contextlib.suppress(OSError):  # no run has metrics, or it could not be drawn
        figures["The configs"] = (sweep.folder / FIGURE).read_bytes()
    return PageContent(ordered, note, warnings, shown, figures)


def _table(plan: SweepPlan, results: Sequence[ConfigResults]) -> list[list[object]]:
    """Return the rows of table.csv, one per config and metric, with the mean's 95 % interval."""
    keys = list(results[0].settings) if results else plan.keys
    names = ["metric", "n", "mean", "sd", "min", "max", "low", "high", "book", "chosen"]
    rows: list[list[object]] = [[*keys, *names]]
    for result in results:
        values = (result.settings[key] for key in keys)
        cells = [one if isinstance(one, str | int | float) else str(one) for one in values]
        for metric, spread in result.spreads.items():
            low, high = spread.interval or (None, None)
            numbers = result.numbers(metric) | {"metric": metric, "low": low, "high": high}
            numbers["chosen"] = int(result is find_best_config(results))
            rows.append([*cells, *(numbers[name] for name in names)])
    return rows


def _draw(
    plan: SweepPlan, runs: Mapping[int, Run], results: Sequence[ConfigResults]
) -> bytes | None:
    """Return the figure of a sweep as PNG, or None if no finished run has metrics."""
    from dlrun.plots import sweep  # slow: matplotlib

    main = next((one.tested or one.validated for one in results), None)
    if main is None:
        return None
    best, metric = find_best_config(results), main.metric.partition("_")[2]
    keys, dots = plan.keys or [FOLD if FOLD in plan.points[0].settings else SEED], []
    for number, run in sorted(runs.items()):
        found = {part: run.record.metrics.get(f"{part}_{metric}") for part in ("valid", "test")}
        known = {part: float(value) for part, value in found.items() if value is not None}
        if known and run.record.status == "finished":
            settings = dict.fromkeys(keys) | plan.points[number - 1].settings
            epochs = run.effective_config().get(EPOCHS, 0) if plan.rungs else 0
            dots.append(sweep.PlottedRun(settings, known, epochs))
    title = f"{plan.experiment}, sweep {plan.name}, {len(dots)} runs"
    if plan.rungs:
        title += f", trained to {plan.rungs[0].epochs} to {plan.rungs[-1].epochs} epochs"
    figure = sweep.draw_sweep_figure(
        dots,
        keys,
        metric,
        chosen=best.settings if best else {},
        book=best.book(metrics.TESTED + metric) if best else None,
        title=title,
    )
    return figure.to_png()


def show_sweep_summary(
    sweep: Sweep,
    state: SweepState,
    results: Sequence[ConfigResults],
    files: Mapping[str, str],
    screen: Screen,
) -> None:
    """Print the configs of a sweep, its failed points, the paths of its files, the best config."""
    plan = sweep.plan
    screen.show(format_sweep_configs(results))
    if any(result.folds for result in results):
        screen.note(ROUGH)
    repeated = [one for one in results if len(one.seeds) > 1 and one.spreads and not one.folds]
    if repeated and all(result.is_same_for_all_seeds for result in repeated):
        screen.note("the seed changes nothing here: the metrics are equal, so one seed is enough")
    for number, why in sorted(state.failed.items()):
        label = plan.points[number - 1].label
        screen.show(Text(f"failed point {number} ({label}): {printable(why)}"))
    labelled = {"again": sweep.resume_command} if state.failed or "table" not in files else {}
    labelled |= files
    if (best := find_best_config(results)) is not None:
        labelled["best" if best.settings else "mean"] = best.describe()
    screen.labelled(*((label, printable(text)) for label, text in labelled.items()))
    if selection := judge_selection(results):
        for label, text in selection.describe().items():
            whole = printable(text).replace(" %", f"{NO_BREAK}%")
            lines = f"\n{' ' * INDENT}".join(textwrap.wrap(whole, WIDTH))
            screen.labelled((label, lines.replace(NO_BREAK, " ")))
    if best is not None:
        screen.labelled(("repeat", printable(best.command(plan.experiment))))
    for warning in warnings_of_selection(results):
        screen.warn(warning)


def format_sweep_configs(results: Sequence[ConfigResults]) -> Table:
    """Return a table of a sweep's configs with their metrics, the best last; drop empty columns."""
    rows, names = [], dict[str, str]()
    for result in results:
        tested, validated = result.tested, result.validated
        spreads = {"valid": validated, "test": tested}
        names |= {head: shorten_metric(one.metric) for head, one in spreads.items() if one}
        numbers = result.numbers(tested.metric) if tested else {}
        interval = metrics.format_interval(tested.interval) if tested and tested.interval else ""
        rows.append(
            {
                "config": printable(format_settings_briefly(result.settings)),
                "n": result.missing or str(result.folds or len(result.runs)),
                "valid": format_metric(validated.mean) if validated else "",
                "test": format_metric(numbers.get("mean")),
                "test sd": format_metric(numbers.get("sd")),
                "mean's 95 %": interval,
                "book": format_metric(numbers.get("book")),
            }
        )
    heads = [head for head in (rows[0] if rows else ()) if any(row[head] for row in rows)]
    table = Table(box=None, pad_edge=False)
    for head in heads:
        is_config = head == "config"
        table.add_column(
            names.get(head, head),
            justify="left" if is_config else "right",
            no_wrap=not is_config,
        )
    for row in rows:
        table.add_row(*(Text(row[head]) for head in heads))
    return table


def print_sweep_json(
    sweep: Sweep, state: SweepState, results: Sequence[ConfigResults], screen: Screen, status: str
) -> None:
    """Print the state and results of a sweep as JSON. Raises OSError if stdout was closed."""
    plan, best, selection = sweep.plan, find_best_config(results), judge_selection(results)
    points = []
    for point in plan.points:
        run, number = state.runs.get(point.number), point.number
        about = {"point": number, "settings": point.settings, "state": run and run.state}
        about |= {"run": run and str(run.folder), "metrics": run.record.metrics if run else {}}
        points.append(about | {"error": state.failed.get(number)})
    about = {
        "sweep": plan.name,
        "experiment": plan.experiment,
        "folder": str(sweep.folder),
        "note": plan.note or None,
        "tags": plan.tags,
        "status": status,
        "points": points,
        "configs": [result.as_object() for result in results],
        "best": best and best.as_object() | {"command": best.command(plan.experiment)},
        "selection": selection and selection.as_object(),
        "warnings": warnings_of_selection(results),
    }
    screen.print_json(about)
