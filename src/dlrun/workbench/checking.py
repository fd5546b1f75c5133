"""Read runs back, byte for byte, and say which are whole."""

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from dlrun import disk, session
from dlrun.config.text import read_file
from dlrun.declaration import registry
from dlrun.declaration.experiment import HOW
from dlrun.errors import ConfigError, DlrunError
from dlrun.runs.resume import changed_keys
from dlrun.screen import Screen, counted, printable
from dlrun.store.checkpoint import damaged_checkpoints
from dlrun.store.find import everything_in, find_run
from dlrun.store.folder import CONFIG
from dlrun.store.record import RESULTS, Record, read_environment, read_record, state_of


def check(run: str | None, runs_dir: Path | None) -> int:
    """Check a run, or all that are there; returns the exit code: 1 where one is damaged.

    Raises ConfigError where there is none.
    """
    screen, folder = Screen(), session.runs_dir(runs_dir)
    folders = everything_in(folder) if run is None else [find_run(run, folder)]
    if not folders:
        raise ConfigError(f"{folder}: no runs here", "name a run's folder, or --runs-dir")
    damaged = 0
    for one in folders:
        problems = list(_problems(one))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(printable(problem))
        if not problems:
            screen.show(Text(printable(f"{one}: {_in_words(one, read_record(one))}")))
    screen.note(f"{counted(len(folders), 'run')}, {damaged or 'none'} damaged")
    return 1 if damaged else 0


def _problems(folder: Path) -> Iterator[str]:
    """A sentence for each thing that is damaged in a run's folder."""
    try:
        values = read_file(folder / CONFIG).values
        begun = read_environment(folder)
        record = read_record(folder)
    except DlrunError as error:
        yield error.message
        return
    if record.experiment in registry.names():
        may_change = registry.load(record.experiment).may_change | HOW
        if edited := changed_keys(begun.config, values) - may_change:
            yield f"{folder / CONFIG}: edited: {', '.join(sorted(edited))}: not as it ran"
    for name, expected in (record.files | record.written).items():
        try:
            if disk.digest(folder / name) != expected:
                yield f"{folder / name}: damaged or edited: its SHA-256 is not the one in {RESULTS}"
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"
    yield from damaged_checkpoints(folder, record.id)


def _in_words(folder: Path, record: Record) -> str:
    if record.format < 2:
        return "readable, but dlrun 0.1 kept no checksums"
    checked = counted(len(record.files | record.written), "checked file")
    return f"whole ({state_of(folder, record)}, {checked})"
