"""`dlrun verify`: repeat a run, and report whether it is identical bit for bit, or what differs."""

import contextlib
import csv
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from dlrun import run_context
from dlrun.commands.compare import run_causes
from dlrun.config.yaml_loader import flatten, layer_from_values, read_file
from dlrun.errors import ConfigError, DataError, DlrunError, first_line
from dlrun.experiments.run import Run
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.folder import CONFIG, METRICS, to_json
from dlrun.run_folder.metrics import SECONDS
from dlrun.run_folder.record import RESULTS
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import Stop

Arrays = dict[str, NDArray[Any]]
Differences = dict[str, dict[str, tuple[Any, Any]]]  # by kind and name: then and now


@dataclass(frozen=True)
class Verdict:
    """What `dlrun verify` found, as its JSON says it."""

    run: str
    identical: bool
    difference: str | None  # the first one, in words
    compared: list[str]  # names of files
    differs: Differences  # what the two runs were made with
    again: str | None  # the repetition's folder, if it was kept


def verify(
    run: str,
    *,
    keep: bool = False,
    runs_dir: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Repeat a finished run from its own config.yaml; return the exit code: 0 if identical.

    Raises ConfigError if there is no such run, DlrunError if it cannot be repeated.
    """
    screen = Screen(quiet=quiet, results=not json)
    with errors_as_json(screen, wanted=json):
        opened = Run.open(run, runs_dir)
        _check(opened)
        kept_in = run_context.runs_dir(runs_dir).absolute() if keep else None
        with _folder(kept_in) as folder:
            again = _repeat(opened, folder, screen, temporary=not keep, data_dir=data_dir)
            difference, compared = first_difference(opened, again)
            verdict = Verdict(
                run=str(opened.folder),
                identical=difference is None,
                difference=difference,
                compared=compared,
                differs=_causes_that_differ(opened, again),
                again=str(again.folder) if keep else None,
            )
    if json:
        screen.out.file.write(to_json(asdict(verdict)))
    else:
        _show(verdict, screen)
    return 0 if verdict.identical else 1


def _check(run: Run) -> None:
    """Raise DlrunError if the run has no whole result to compare with."""
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
def _folder(kept_in: Path | None) -> Iterator[Path]:
    """Give the repetition's folder of runs; a temporary one is removed even after a signal."""
    if kept_in is not None:
        yield kept_in
        return
    stop = Stop()
    with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as folder:
        try:
            yield Path(folder)
        finally:
            stop.let_end()  # nothing interrupts the removal


def _repeat(
    run: Run, runs_dir: Path, screen: Screen, *, temporary: bool, data_dir: Path | None
) -> Run:
    """Run the experiment once more from the run's config.yaml, with as many threads."""
    name, config = run.record.experiment, run.folder / CONFIG
    values = {**run.config.standalone_values, "threads": run.record.threads or 1, "logger": []}
    settings = RunSettings(
        config=[config],
        values=[layer_from_values(values, "dlrun verify")],
        runs_dir=runs_dir,
        data_dir=data_dir,
        temporary=temporary,
        screen=Screen(quiet=screen.quiet, results=False),
    )
    screen.note(f"running {run.folder} again, with {pluralize(values['threads'], 'thread')}")
    # Several processes that train together are each started by this command line.
    command = [name, "--config", str(config), "--runs-dir", str(runs_dir)]
    try:
        with _command_line(*command):
            _, folder = run_experiment(name, settings)
    except ConfigError as error:
        message = f"{run.folder}: cannot be run again: {error.message}"
        raise DlrunError(message, error.hint) from None
    assert folder is not None  # not a dry run
    return Run.open(folder)


@contextlib.contextmanager
def _command_line(*words: str) -> Iterator[None]:
    """Set the process's command line to `dlrun WORDS` for the block."""
    given, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        yield
    finally:
        sys.argv = given


def first_difference(run: Run, again: Run) -> tuple[str | None, list[str]]:
    """Return the first difference of a run's repetition, in words, and the compared files.

    Compared are metrics.csv without its times, the metrics of the result, weights or coefficients,
    and tables that both wrote, such as predictions. Raises DataError if a file was damaged.
    """
    kept = sorted(run.record.files | again.record.files)
    both = run.record.written.keys() & again.record.written.keys()
    tables = sorted(name for name in both if name.endswith(".csv") and name != METRICS)
    compared = [*([METRICS] if METRICS in both else []), RESULTS, *kept, *tables]
    for name in compared:
        found = _compare_metrics(run, again) if name == RESULTS else _compare_file(run, again, name)
        if found:
            return f"{name}: {found}", compared
    return None, compared


def _compare_metrics(run: Run, again: Run) -> str | None:
    then, now = run.record.metrics, again.record.metrics
    for name in then | now:
        if then.get(name) != now.get(name):
            return f"{name} {then.get(name)} then, {now.get(name)} now"
    return None


def _compare_file(run: Run, again: Run, name: str) -> str | None:
    for one, word in ((run, "then"), (again, "now")):
        if name not in one.record.files | one.record.written:
            return f"not written {word}"
    then, now = run.read(name), again.read(name)
    if then == now:
        return None
    paths = run.folder / name, again.folder / name
    if name.endswith(".csv"):
        return _compare_tables(_read_table(then, paths[0]), _read_table(now, paths[1]))
    if not name.endswith((".pt", ".npz")):
        return "different contents"
    # Another version of torch or numpy may write the same numbers as different bytes.
    return _compare_arrays(_read_arrays(then, paths[0]), _read_arrays(now, paths[1]))


def _read_table(content: bytes, path: Path) -> list[list[str]]:
    """Return the rows of a CSV table, the header first. Raises DataError if it is damaged."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {first_line(error)}") from None
    if not rows or any(not row or len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{path}: not a CSV table: its rows differ in length, or it is empty")
    return rows


def _read_arrays(content: bytes, path: Path) -> Arrays:
    """Return coefficients or weights by name; bfloat16, which numpy lacks, as float32."""
    if path.suffix == ".npz":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    from dlrun.networks.network_files import parse_tensors  # slow: torch

    found = parse_tensors(content, path)
    return {k: (v.float() if v.element_size() == 2 else v).numpy() for k, v in found.items()}


def _compare_tables(then: list[list[str]], now: list[list[str]]) -> str | None:
    """Return the first cell that differs; a row is named by its first cell."""
    names = then[0]
    if names != now[0]:
        return f"columns {','.join(names)} then, {','.join(now[0])} now"
    for before, after in zip_longest(then[1:], now[1:]):
        if before is None or after is None:
            return f"rows {len(then) - 1} then, {len(now) - 1} now"
        for name, was, is_now in zip(names, before, after, strict=True):
            if was != is_now and name != SECONDS:
                return f"{names[0]} {before[0]}: {name} {was} then, {is_now} now"
    return None


def _compare_arrays(then: Arrays, now: Arrays) -> str | None:
    """Return the first array that differs in a bit, and by how much."""
    for name in then | now:
        if name not in then or name not in now:
            return f"{name}: only {'then' if name in then else 'now'}"
        one, other = then[name], now[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return f"{name} {one.dtype}{one.shape} then, {other.dtype}{other.shape} now"
        if one.tobytes() != other.tobytes():
            unequal = one != other
            gaps = np.abs(one[unequal].astype(float) - other[unequal].astype(float))
            count = f"{np.count_nonzero(unequal):,} of {one.size:,} numbers"
            return f"{name}: {count} differ, by at most {gaps.max(initial=0):.3g}"
    return None


def _causes_that_differ(run: Run, again: Run) -> Differences:
    """Return what the numbers may depend on and is not the same."""
    then, now = run_causes(run), run_causes(again)
    found: Differences = {}
    for kind, values in now.items():
        pairs = {name: (then[kind].get(name), value) for name, value in values.items()}
        if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            found[kind] = changed
    begun, values = flatten(run.initial_config().values), read_file(run.folder / CONFIG).values
    if edited := run.edited_keys(values):
        used = flatten(values)
        found["config"] = {key: (begun.get(key), used.get(key)) for key in sorted(edited)}
    return found


def _show(verdict: Verdict, screen: Screen) -> None:
    if verdict.difference is None:
        screen.show(Text(f"identical: {', '.join(verdict.compared)}"))
    else:
        screen.show(Text(f"different: {verdict.difference}"))
    for kind, pairs in verdict.differs.items():
        for name, (then, now) in pairs.items():
            screen.show(Text(f"{kind}: {name}"))
            for word, value in (("then", then), ("now", now)):
                screen.show(Text(f"  {word:<4}  {'unknown' if value is None else value}"))
    if verdict.difference is not None and not verdict.differs:
        screen.show(Text("code, packages, machine and data are recorded as the same"))
    if verdict.again:
        screen.show(Text(f"the repetition is {verdict.again}"))
