"""`dlrun runs check`: read runs back, byte for byte, and report which are damaged."""

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import read_file
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.run import Run, scan_folder, scan_runs
from dlrun.run_folder.checkpoint import damaged_checkpoints
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.record import RESULTS
from dlrun.system import files
from dlrun.system.console import Screen, pluralize, printable


def check(run: str | None = None, runs_dir: Path | None = None) -> int:
    """Check a run, or all runs, and return the exit code: 1 if one is damaged.

    Raises ConfigError if there are no runs.
    """
    screen, folder = Screen(), run_context.runs_dir(runs_dir)
    if run is None:
        found = sorted(scan_runs(folder), key=lambda one: one.folder)
    else:
        named = Path(run).expanduser()
        found = [scan_folder(named.resolve() if named.is_dir() else find_run(run, folder))]
    found = [one for one in found if one.state != "foreign"]
    if not found:
        raise ConfigError(f"{run or folder}: no runs here", "name a run's folder, or --runs-dir")
    damaged = 0
    for checked in found:
        problems = list(_problems(checked))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(printable(problem))
        if not problems:
            screen.show(Text(printable(f"{checked.folder}: {_verdict(checked)}")))
    screen.note(f"{pluralize(len(found), 'run')}, {damaged or 'none'} damaged")
    return 1 if damaged else 0


def _problems(run: Run) -> Iterator[str]:
    """Yield a sentence for each damaged file in a run's folder."""
    record, folder = run.record, run.folder
    if run.problem:
        yield f"{folder}: {run.problem}"
    if run.unreadable:
        return
    try:
        if edited := run.edited_keys(read_file(folder / CONFIG).values):
            yield f"{folder / CONFIG}: edited since the run: {', '.join(sorted(edited))}"
    except DlrunError as error:
        yield error.message
    for name, expected in (record.files | record.written).items():
        try:
            if files.file_digest(folder / name) != expected:
                yield f"{folder / name}: damaged or edited: its SHA-256 is not the one in {RESULTS}"
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"
    yield from damaged_checkpoints(folder, record.id)


def _verdict(run: Run) -> str:
    record = run.record
    if record.format < 2:
        return "readable, but dlrun 0.1 kept no checksums"
    checked = pluralize(len(record.files | record.written), "checked file")
    return f"whole ({run.state}, {checked})"
