"""`dlrun demo`: run every experiment on small data with its full-size network."""

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun.commands import options as opt
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.recorded_metrics import main_metric
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen, format_text_table


@opt.with_run_options("runs_dir", "data_dir")
def run_demo(settings: RunSettings, experiments: opt.Experiments = None) -> int:
    """Run every experiment on synthetic or shipped data, without a download.

    Exits with 1 if an experiment could not be run; the others are run anyway.

    Example: dlrun demo --runs-dir demo-runs
    """
    screen = Screen()
    names = experiments or registry.experiment_names()
    chosen = [registry.experiment_entry(name) for name in names]
    entries = [entry for entry in chosen if entry.overlays("smoke")]
    runs, skipped = list[Run](), list[str]()
    for number, entry in enumerate(entries, start=1):
        screen.show(Text(f"\n[{number}/{len(entries)}] {entry.name}", style="bold"))
        small = replace(settings, config=entry.overlays("smoke", "demo"))
        try:
            _, folder = run_experiment(entry.name, small)
        except DlrunError as error:
            screen.fail(error.message, error.hint)
            skipped.append(f"not run: {entry.name}: {error.message}")
            continue
        assert folder is not None  # not a dry run
        runs.append(Run.open(folder))
    if not runs:
        raise ConfigError("no experiment could be run")
    table = [["experiment", "result", "seconds", "on"], *map(_cells, runs)]
    figures = [str(figure) for run in runs for figure in run.figures]
    dlrun, option = _command(), ""
    if settings.runs_dir is not None:
        option = f" --runs-dir {shlex.quote(str(settings.runs_dir))}"
    lines = [
        *("", "What was run", *format_text_table(table, left=(0, 1, 3))),
        *("", "Figures", *figures, *skipped, ""),
        "Results on generated data show that everything works; do not compare them with the book.",
        f"The experiments' own commands run on the real data (`{dlrun} --help`). Now try",
        *(f"  {dlrun} {words}{option}" for words in ("runs list", "report")),
        f"  {dlrun} runs show {runs[-1].name}{option}",
    ]
    screen.show(Text("\n".join(lines)))
    return 1 if skipped else 0


def _command() -> str:
    """Return the command that starts dlrun in the user's shell: `dlrun` if it is on PATH."""
    if shutil.which("dlrun"):
        return "dlrun"
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m dlrun"
    return shlex.quote(str(started))


def _cells(run: Run) -> list[str]:
    record = run.record
    metric = main_metric(record) or next(iter(record.metrics))
    name, value = metric.replace("_", " "), record.metrics[metric]
    result = f"{name} {value:.3f}" if isinstance(value, float) else f"{value} {name}"
    if classes := record.classes:
        chance = f"chance {1 / classes.number:.3g}, largest {classes.share:.3g}"
        result += f" ({classes.number:,} classes, {chance})"
    return [record.experiment, result, f"{record.seconds['total']:.1f}", record.data]
