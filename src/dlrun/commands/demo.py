"""Every experiment at its full network size on small generated or shipped data."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.runs.run import Run
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen


def demo(names: Sequence[str], runs_dir: Path | None, data_dir: Path | None) -> int:
    """Run them on their overlays `smoke` and `demo`, and show what came out; no names: all.

    An experiment that cannot run here is named, and the others go on. Returns the exit code.
    """
    screen = Screen()
    chosen = [registry.entry(name) for name in names] or registry.entries()
    entries = [entry for entry in chosen if entry.overlays("smoke")]
    runs, skipped = [], []
    for number, entry in enumerate(entries, start=1):
        screen.show(Text(f"\n[{number}/{len(entries)}] {entry.name}", style="bold"))
        options = RunSettings(
            config=entry.overlays("smoke", "demo"), runs_dir=runs_dir, data_dir=data_dir
        )
        try:
            _, folder = run_experiment(entry.name, options)
        except DlrunError as error:
            screen.fail(error.message, error.hint)
            skipped.append((entry.name, error.message))
            continue
        assert folder is not None  # no dry run
        runs.append(Run.open(folder))
    if not runs:
        raise ConfigError("no experiment could be run")
    screen.show(_summary(runs))
    screen.show("\nFigures")
    for run in runs:
        for figure in run.figures:
            screen.show(Text(str(figure)))
    for name, reason in skipped:
        screen.show(Text(f"not run: {name}: {reason}"))
    dlrun = _command()
    there = "" if runs_dir is None else f" --runs-dir {shlex.quote(str(runs_dir))}"
    screen.show(
        "\nResults on generated data show that everything works; they say nothing about the "
        f"book's.\nThe experiments' own commands run on the real data (`{dlrun} --help`). Now try"
    )
    for words in ("runs list", "report", f"runs show {runs[-1].name}"):
        screen.show(Text(f"  {dlrun} {words}{there}"))
    return 1 if skipped else 0


def _command() -> str:
    """What starts dlrun in the user's shell: its name, where PATH leads to it."""
    if shutil.which("dlrun"):
        return "dlrun"
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m dlrun"
    return shlex.quote(str(started))


def _summary(runs: list[Run]) -> Table:
    table = Table(title="\nWhat was run", title_justify="left", box=None, pad_edge=False)
    for column in ("experiment", "result", "on"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for run in runs:
        record = run.record
        tested = {
            k.replace("_", " "): v for k, v in record.metrics.items() if k.startswith("test_")
        }
        name, value = list((tested or record.metrics).items())[0 if not tested else -1]
        result = f"{name} {value:.3f}" if isinstance(value, float) else f"{value} {name}"
        if found := record.classes:
            chance = f"chance {1 / found.number:.3g}, largest {found.share:.3g}"
            result += f"\n{found.number:,} classes, {chance}"
        table.add_row(record.experiment, result, record.data, f"{record.seconds['total']:.1f}")
    return table
