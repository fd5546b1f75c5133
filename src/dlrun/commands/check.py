"""`dlrun runs check`: read runs back, byte for byte, and report which are damaged."""

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


def check(run: str | None = None, runs_dir: Path | None = None) -> int:
    """Check a run, or all runs, and return the exit code: 1 if one is damaged.

    Raises ConfigError if there are no runs.
    """
    screen, folder = Screen(), run_context.runs_dir(runs_dir)
    if run is None:
        found = sorted(scan_runs(folder), key=lambda info: info.folder)
    else:
        named = Path(run).expanduser()
        found = [scan_folder(named.resolve() if named.is_dir() else find_run(run, folder))]
    found = [info for info in found if info.state != "foreign"]
    if not found:
        raise ConfigError(f"{run or folder}: no runs here", "name a run's folder, or --runs-dir")
    damaged = 0
    for info in found:
        problems = list(_problems(info))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(printable(problem))
        if not problems:
            screen.show(Text(printable(f"{info.folder}: {_verdict(info)}")))
    screen.note(f"{pluralize(len(found), 'run')}, {damaged or 'none'} damaged")
    return 1 if damaged else 0


def _problems(info: RunInfo) -> Iterator[str]:
    """Yield a sentence for each damaged file in a run's folder."""
    if info.problem:
        yield f"{info.folder}: {info.problem}"
    if info.run is None:
        return
    run, record, folder = info.run, info.run.record, info.folder
    try:
        if edited := _edited_keys(run):
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


def _edited_keys(run: StoredRun) -> set[str]:
    """Return the config's keys that were edited; none if the experiment is not installed."""
    values = read_file(run.folder / CONFIG).values
    if run.record.experiment not in registry.names():
        return set()
    return edited_keys(run, values)


def _verdict(info: RunInfo) -> str:
    if info.run is None:
        return "running: its first files are being written"
    record = info.run.record
    if record.format < 2:
        return "readable, but dlrun 0.1 kept no checksums"
    checked = pluralize(len(record.files | record.written), "checked file")
    return f"whole ({info.state}, {checked})"
