"""Read runs back, byte for byte, and say which are whole."""

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import read_file
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.run_folder.checkpoint import damaged_checkpoints
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.record import RESULTS
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.run_config import edited_keys
from dlrun.runs.run_info import RunInfo, scan_folder, scan_runs
from dlrun.system import files
from dlrun.system.console import Screen, pluralize, printable


def check(run: str | None, runs_dir: Path | None) -> int:
    """Check a run, or all that are there; returns the exit code: 1 if one is damaged.

    Raises ConfigError if there is none.
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
    for one in found:
        problems = list(_problems(one))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(printable(problem))
        if not problems:
            screen.show(Text(printable(f"{one.folder}: {_in_words(one)}")))
    screen.note(f"{pluralize(len(found), 'run')}, {damaged or 'none'} damaged")
    return 1 if damaged else 0


def _problems(seen: RunInfo) -> Iterator[str]:
    """Yield a sentence for each thing that is damaged in a run's folder."""
    if seen.problem:
        yield f"{seen.folder}: {seen.problem}"
    if seen.run is not None:
        yield from _damaged_files(seen.run)


def _damaged_files(run: StoredRun) -> Iterator[str]:
    record, folder = run.record, run.folder
    try:
        values = read_file(folder / CONFIG).values
        if record.experiment in registry.names() and (edited := edited_keys(run, values)):
            yield f"{folder / CONFIG}: edited: {', '.join(sorted(edited))}: not as it ran"
    except DlrunError as error:
        yield error.message
    for name, expected in (record.files | record.written).items():
        try:
            if files.file_digest(folder / name) != expected:
                yield f"{folder / name}: damaged or edited: its SHA-256 is not the one in {RESULTS}"
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"
    yield from damaged_checkpoints(folder, record.id)


def _in_words(seen: RunInfo) -> str:
    if seen.run is None:
        return "running: its first files are being written"
    record = seen.run.record
    if record.format < 2:
        return "readable, but dlrun 0.1 kept no checksums"
    checked = pluralize(len(record.files | record.written), "checked file")
    return f"whole ({seen.state}, {checked})"
