"""Run a run again, and say whether it comes out the same: bit for bit, or what differs first."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dlrun import run_context
from dlrun.commands.run_diff import first_difference
from dlrun.config.yaml_loader import flatten, layer_from_values, read_file
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.folder import CONFIG, to_json
from dlrun.runs import console_summary
from dlrun.runs.run import Run
from dlrun.runs.run_config import config_as_begun, edited_keys
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import Stop


@dataclass(frozen=True)
class Verdict:
    """What `dlrun verify` found.

    difference: the first one, in words; None: identical. compared: the files that were.
    differs: what the two runs were made of and with, where it is not the same: then and now.
    again: the repetition's folder, where it was kept.
    """

    run: str
    identical: bool
    difference: str | None
    compared: list[str]
    differs: dict[str, dict[str, tuple[Any, Any]]]
    again: str | None


def verify(
    run: str,
    *,
    keep: bool,
    runs_dir: Path | None,
    data_dir: Path | None,
    json: bool,
    quiet: bool,
) -> int:
    """Repeat a finished run from its own config.yaml; returns the exit code: 0 where identical.

    Raises ConfigError where there is no such run, DlrunError where it cannot be repeated, and
    whatever ended the repetition early.
    """
    screen = Screen(quiet=quiet, results=not json)
    with console_summary.errors_as_json(screen, wanted=json):
        verdict = _verified(Run.open(run, runs_dir), screen, keep, runs_dir, data_dir)
    if json:
        screen.out.file.write(to_json(asdict(verdict)))
    else:
        _show(verdict, screen)
    return 0 if verdict.identical else 1


def _verified(
    run: Run, screen: Screen, keep: bool, runs_dir: Path | None, data_dir: Path | None
) -> Verdict:
    _check(run)
    where = run_context.runs_dir(runs_dir).absolute() if keep else None
    with _folder(where) as folder:
        again = _repeated(run, folder, screen, temporary=not keep, data_dir=data_dir)
        difference, compared = first_difference(run, again)
        return Verdict(
            run=str(run.folder),
            identical=difference is None,
            difference=difference,
            compared=compared,
            differs=_differs(run, again),
            again=str(again.folder) if keep else None,
        )


def _check(run: Run) -> None:
    """Raises DlrunError where there is nothing whole to compare with."""
    if run.record.format < 2:
        raise DlrunError(
            f"{run.folder}: dlrun 0.1 kept no weights to compare with",
            f"`dlrun {run.record.experiment} --config {run.folder / CONFIG}` runs it again",
        )
    if run.state == "running":
        raise DlrunError(f"{run.folder}: still running", "verify it once it has finished")
    if run.state != "finished":
        hint = "begin it anew"
        if run.config.resumable:
            hint = f"`dlrun resume {run.folder}` finishes it"
        raise DlrunError(f"{run.folder}: {run.state}: only a finished run can be verified", hint)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Where the repetition goes; a temporary folder goes in any case, before a signal ends us."""
    if kept is not None:
        yield kept
        return
    stop = Stop()
    with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as folder:
        try:
            yield Path(folder)
        finally:
            stop.let_end()  # nothing interrupts the removal


def _repeated(
    run: Run, runs_dir: Path, screen: Screen, *, temporary: bool, data_dir: Path | None
) -> Run:
    """The run, done once more from its own config.yaml with as many threads."""
    name, config = run.record.experiment, run.folder / CONFIG
    values = {**run.config.standalone_values, "threads": run.record.threads or 1, "logger": []}
    options = RunSettings(
        config=[config],
        values=[layer_from_values(values, "dlrun verify")],
        runs_dir=runs_dir,
        data_dir=data_dir,
        temporary=temporary,
        screen=Screen(quiet=screen.quiet, results=False),
    )
    screen.note(f"running {run.folder} again, with {pluralize(values['threads'], 'thread')}")
    # Several processes that train together are started by this command line, each.
    command = [name, "--config", str(config), "--runs-dir", str(runs_dir)]
    try:
        with _command_line(*command):
            _, folder = run_experiment(name, options)
    except ConfigError as error:
        raise DlrunError(
            f"{run.folder}: cannot be run again: {error.message}", error.hint
        ) from None
    assert folder is not None  # no dry run
    return Run.open(folder)


@contextlib.contextmanager
def _command_line(*words: str) -> Iterator[None]:
    """In this block the process was started as `dlrun WORDS`; the environment says so too."""
    given, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        yield
    finally:
        sys.argv = given


def _differs(run: Run, again: Run) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Whatever the numbers may depend on and is not the same: by kind and name, then and now."""
    then, now = _causes(run), _causes(again)
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for kind, values in now.items():
        others = {
            name: (then[kind][name], value)
            for name, value in values.items()
            if then[kind][name] != value
        }
        if others:
            found[kind] = others
    begun, values = flatten(config_as_begun(run).values), read_file(run.folder / CONFIG).values
    if edited := edited_keys(run, values):
        found["config"] = {
            key: (begun.get(key), flatten(values).get(key)) for key in sorted(edited)
        }
    return found


def _causes(run: Run) -> dict[str, dict[str, Any]]:
    """By kind and name; an older dlrun did not write all of them down: those are None."""
    environment, record = run.environment, run.record
    more = environment.model_extra or {}
    used = record.accelerator.used if record.accelerator else None
    return {
        "code": {
            "dlrun": environment.dlrun,
            "digest": environment.code,
            "git commit": more.get("git_commit"),
        },
        "packages": {"python": more.get("python"), **environment.packages},
        "machine": {
            "system": more.get("platform"),
            "processor": more.get("processor"),
            "cores": environment.threads,
            "threads": record.threads,
            "accelerator": used,
        },
        "data": {"origin": record.data, "digest": record.data_digest},
    }


def _show(verdict: Verdict, screen: Screen) -> None:
    if verdict.difference is None:
        screen.show(Text("identical: ") + Text(", ".join(verdict.compared)))
    else:
        screen.show(Text(f"different: {verdict.difference}"))
    rows = [
        (f"{kind}: {name}", *pair)
        for kind, pairs in verdict.differs.items()
        for name, pair in pairs.items()
    ]
    if rows:
        table = Table(box=None, pad_edge=False)
        for column in ("differs", "then", "now"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        screen.show(table)
    elif verdict.difference is not None:
        screen.show(Text("code, packages, machine and data are recorded as the same"))
    if verdict.again:
        screen.show(Text(f"the repetition is {verdict.again}"))
