"""Make room: choose runs that go, say how much that frees, ask, remove them."""

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.commands.list_runs import bytes_in_words, none_there
from dlrun.commands.run_filter import check_states
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.find import time_from_name
from dlrun.run_folder.removal import (
    remove_checkpoints,
    remove_leftovers,
    remove_run,
    repair_latest,
    size_of_checkpoints,
)
from dlrun.runs.key_metric import direction, main_metric
from dlrun.runs.run_info import RunInfo, scan_folder, scan_runs
from dlrun.system.console import Screen, pluralize, printable

ENDED = {"finished", "failed", "interrupted", "killed"}
_AGE = re.compile(r"(\d{1,6})\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


@dataclass(frozen=True)
class CleanRequest:
    """What goes; one of the first four must be given.

    older_than: `30d`, `12h` or `2w` since it ended. states: only these. keep_best: of each
    experiment's finished runs on the same data so many of the best stay. checkpoints: only the
    checkpoints of finished runs go.
    """

    older_than: str | None = None
    states: Sequence[str] = ()
    keep_best: int | None = None
    checkpoints: bool = False
    experiment: str | None = None
    dry_run: bool = False
    yes: bool = False


def clean(goes: CleanRequest, runs_dir: Path | None) -> int:
    """Remove runs, or their checkpoints; the exit code: 1 where one could not be removed.

    Raises ConfigError where nothing says which, or nobody answers.
    """
    screen, folder = Screen(), run_context.runs_dir(runs_dir)
    oldest = _check(goes)
    for left in () if goes.dry_run else remove_leftovers(folder):
        screen.warn(f"{left}: left by an earlier `runs clean`, and cannot be removed")
    there = scan_runs(folder, goes.experiment)
    if not there:
        raise none_there(folder, goes.experiment)
    chosen = choose(there, goes, oldest)
    sizes = [size_of_checkpoints(one.folder) if goes.checkpoints else one.size for one in chosen]
    for one, size in zip(chosen, sizes, strict=True):
        what = "checkpoints" if goes.checkpoints else one.state
        name = printable(f"{one.folder.parent.name}/{one.folder.name}")
        screen.show(Text(f"{bytes_in_words(size):>5} {what:<11} {name}"))
    living = sum(one.state == "running" for one in there)
    rest = f"; {pluralize(living, 'living run')} left alone" if living else ""
    if not chosen:
        screen.note(f"nothing to remove in {folder}{rest}")
        return 0
    what = (
        f"the checkpoints of {pluralize(len(chosen), 'run')}"
        if goes.checkpoints
        else pluralize(len(chosen), "run")
    )
    screen.note(f"{what}: {bytes_in_words(sum(sizes))}{rest}")
    if goes.checkpoints:
        screen.note(
            "their results stay, but `dlrun resume --set trainer.max_epochs=N` can no longer "
            "extend them"
        )
    if goes.dry_run:
        return 0
    if not goes.yes and not _agreed(screen):
        screen.note("nothing was removed")
        return 0
    return _remove(chosen, sizes, goes, folder, screen)


def choose(there: Sequence[RunInfo], goes: CleanRequest, oldest: datetime | None) -> list[RunInfo]:
    """The runs that go, of those that are there; never a living one, nor a folder of others.

    A damaged run goes only where `states` names that, and not at once: one that is just being
    started looks like it. What has no test metric, or one of which nobody knows whether more is
    better, counts as good.
    """
    started = datetime.now(UTC) - timedelta(minutes=1)
    states = set(goes.states) or ({"finished"} if oldest is None else ENDED)
    if goes.checkpoints:
        states = {"finished"}
    kept = _best(there, goes.keep_best) if goes.keep_best is not None else set()
    return [
        one
        for one in there
        if one.state in states
        and one.folder not in kept
        and (oldest is None or _since(one) < oldest)
        and (one.run is not None or _since(one) < started)
        and not (goes.checkpoints and size_of_checkpoints(one.folder) == 0)
    ]


def _check(goes: CleanRequest) -> datetime | None:
    """The time before which runs are old enough. Raises ConfigError."""
    if not (goes.older_than or goes.states or goes.keep_best is not None or goes.checkpoints):
        raise ConfigError(
            "nothing says which runs go",
            "--older-than 30d, --status failed, --keep-best 3, --checkpoints; --dry-run only lists",
        )
    check_states(goes.states)
    if never := {"running", "foreign"} & set(goes.states):
        raise ConfigError(f"--status {min(never)}: those are never removed", "choose another state")
    if goes.checkpoints and set(goes.states) - {"finished"}:
        raise ConfigError(
            "--checkpoints: only a finished run needs them no more", "leave --status out"
        )
    if goes.older_than is None:
        return None
    age = _AGE.fullmatch(goes.older_than.strip())
    try:
        if age:
            return datetime.now(UTC) - timedelta(hours=int(age[1]) * _HOURS[age[2]])
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=UTC)
    raise ConfigError(
        f"--older-than {goes.older_than!r}: not a time", "30d: days; 12h: hours; 2w: weeks"
    )


def _best(there: Sequence[RunInfo], number: int) -> set[Path]:
    """The best finished runs of each experiment on the same data; those that cannot be compared."""
    kept, rivals = set(), defaultdict(list)
    for one in there:
        if one.run is None or one.state != "finished":
            continue
        metric = main_metric(one.run.record)
        value = one.run.record.metrics[metric] if metric else None
        if metric is None or value is None or not direction(metric):
            kept.add(one.folder)
        else:
            about = (one.experiment, one.run.record.data, metric)
            rivals[about].append((direction(metric) * value, one.folder))
    for runs in rivals.values():  # the newer of two that are as good stands first
        runs.sort(key=lambda run: run[0], reverse=True)
        kept |= {folder for _, folder in runs[:number]}
    return kept


def _since(seen: RunInfo) -> datetime:
    """When a run ended, or was last begun; where nobody knows it is as young as can be."""
    record = seen.run.record if seen.run else None
    for text in (record.ended, record.resumed, record.started) if record else ():
        try:
            found = datetime.fromisoformat(text or "")
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return time_from_name(seen.folder) or datetime.max.replace(tzinfo=UTC)


def _agreed(screen: Screen) -> bool:
    """Whether the user says yes. Raises ConfigError where nobody can be asked."""
    screen.err.print(Text("remove them? [y/N] "), end="")
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer:
        screen.err.print()
        raise ConfigError("nobody answers", "--yes removes without asking, --dry-run only lists")
    return answer.strip().lower() in ("y", "yes")


def _remove(
    chosen: Sequence[RunInfo],
    sizes: Sequence[int],
    goes: CleanRequest,
    runs_dir: Path,
    screen: Screen,
) -> int:
    remove = remove_checkpoints if goes.checkpoints else remove_run
    freed, failed = 0, 0
    try:
        for one, size in zip(chosen, sizes, strict=True):
            try:
                remove(one.folder, partial(_check_unchanged, one))
                freed += size
            except DlrunError as error:
                screen.fail(error.message, error.hint)
                failed += 1
            except OSError as error:
                screen.fail(f"{one.folder}: cannot be removed: {error.strerror or error}")
                failed += 1
    finally:  # after Ctrl-C too
        screen.note(f"freed {bytes_in_words(freed)}")
        for experiment in {one.folder.parent.name for one in chosen}:
            repair_latest(runs_dir, experiment)
    return 1 if failed else 0


def _check_unchanged(before: RunInfo) -> None:
    """Raises DlrunError where a run is not what it was when it was chosen."""
    now = scan_folder(before.folder)
    if before.run and (now.run is None or now.run.record != before.run.record):
        raise DlrunError(f"{before.folder}: was written meanwhile: left alone", "look at it again")
