"""`dlrun verify`: repeat a run, and report whether it is identical bit for bit, or what differs."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.text import Text

from dlrun import run_context
from dlrun.commands.compare import run_causes
from dlrun.config.yaml_loader import config_layer_from_values, flatten_keys, read_yaml_file
from dlrun.errors import ConfigError, DataError, DlrunError, first_line
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.folder import CONFIG, METRICS, to_json
from dlrun.run_folder.metrics import SECONDS
from dlrun.run_folder.record import RESULTS
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import StopRequest

Arrays = dict[str, NDArray[Any]]
Differences = dict[str, dict[str, tuple[object, object]]]  # by kind and name: then and now


def verify_run(
    run: str,
    *,
    keep: bool = False,
    runs_dir: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Repeat a finished run from its config.yaml; return 0 if the results are identical, else 1.

    Raises ConfigError if there is no such run, DlrunError if it cannot be repeated.
    """
    screen = Screen(quiet=quiet, results=not json)
    with errors_as_json(screen, wanted=json):
        opened = Run.open(run, runs_dir)
        _check_repeatable(opened)
        with contextlib.ExitStack() as stack:
            temporary = None if keep else stack.enter_context(_temporary_folder())
            settings = RunSettings(
                config=[opened.folder / CONFIG],
                runs_dir=temporary or run_context.resolve_runs_dir(runs_dir).absolute(),
                data_dir=data_dir,
                temporary=not keep,
                screen=Screen(quiet=quiet, results=False),
            )
            repetition = _repeat(opened, settings)
            difference, compared = first_difference(opened, repetition)
            causes = _differing_causes(opened, repetition)
    kept = str(repetition.folder) if keep else None
    if json:
        result = {
            "run": str(opened.folder),
            "identical": difference is None,
            "difference": difference,
            "compared": compared,
            "differs": causes,
            "again": kept,
        }
        screen.out.file.write(to_json(result))
    lines = [f"different: {difference}" if difference else f"identical: {', '.join(compared)}"]
    for kind, pairs in causes.items():
        for name, (then, now) in pairs.items():
            lines += [f"{kind}: {name}", f"  then  {then}", f"  now   {now}"]
    if difference and not causes:
        lines.append("code, packages, machine and data are recorded as the same")
    if kept:
        lines.append(f"the repetition is {kept}")
    screen.show(Text("\n".join(lines)))
    return 1 if difference else 0


def _check_repeatable(run: Run) -> None:
    """Raise DlrunError if the run has no complete result to compare with."""
    if run.state != "finished":
        hint = f"`{run.resume_command}` finishes it" if run.resume_command else ""
        raise DlrunError(f"{run.folder}: {run.state}: only a finished run can be verified", hint)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a temporary folder that is removed after the block, even after a signal."""
    stop = StopRequest()
    with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as folder:
        try:
            yield Path(folder)
        finally:
            stop.let_end()  # no signal interrupts the removal


def _repeat(run: Run, settings: RunSettings) -> Run:
    """Run the experiment again from the run's config.yaml, with the same number of threads."""
    threads = run.record.threads or 1
    values = {**run.config.standalone_values, "threads": threads, "logger": []}
    settings.console().note(f"running {run.folder} again, with {pluralize(threads, 'thread')}")
    layers = [config_layer_from_values(values, "dlrun verify")]
    try:
        _, folder = run_experiment(run.record.experiment, replace(settings, values=layers))
    except ConfigError as error:
        message = f"{run.folder}: cannot be run again: {error.message}"
        raise DlrunError(message, error.hint) from None
    assert folder is not None  # not a dry run
    return Run.open(folder)


def first_difference(run: Run, repetition: Run) -> tuple[str | None, list[str]]:
    """Return the first difference between a run and its repetition, and the compared files.

    Compared are metrics.csv without its times, the metrics of the result, weights or coefficients,
    and tables that both wrote, such as predictions. Raises DataError if a file was damaged.
    """
    kept = sorted(run.record.files | repetition.record.files)
    both = run.record.written.keys() & repetition.record.written.keys()
    tables = sorted(name for name in both if name.endswith(".csv") and name != METRICS)
    compared = [*([METRICS] if METRICS in both else []), RESULTS, *kept, *tables]
    for name in compared:
        if difference := _compare_file(run, repetition, name):
            return f"{name}: {difference}", compared
    return None, compared


def _compare_file(run: Run, repetition: Run, name: str) -> str | None:
    if name == RESULTS:
        metrics = run.record.metrics, repetition.record.metrics
        for metric in metrics[0] | metrics[1]:
            before, after = (one.get(metric) for one in metrics)
            if before != after:
                return f"{metric} {before} then, {after} now"
        return None
    for one, word in ((run, "then"), (repetition, "now")):
        if name not in one.record.files | one.record.written:
            return f"not written {word}"
    then, now = run.read(name), repetition.read(name)
    paths = run.folder / name, repetition.folder / name
    if name.endswith(".csv"):
        return _compare_tables(_read_table(then, paths[0]), _read_table(now, paths[1]))
    if not name.endswith((".pt", ".npz")):
        return None if then == now else "different contents"
    # Another version of torch or numpy may write the same numbers as different bytes.
    return _compare_arrays(_read_arrays(then, paths[0]), _read_arrays(now, paths[1]))


def _read_table(content: bytes, path: Path) -> pd.DataFrame:
    """Return a CSV table as texts, without the column of times. Raises DataError if damaged."""
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        raise DataError(f"{path}: not a CSV table: {first_line(error)}") from None
    return table.drop(columns=SECONDS, errors="ignore")


def _compare_tables(then: pd.DataFrame, now: pd.DataFrame) -> str | None:
    """Return a description of the first cell that differs between two tables."""
    names = [[str(name) for name in table] for table in (then, now)]
    if names[0] != names[1]:
        return f"columns {','.join(names[0])} then, {','.join(names[1])} now"
    if len(then) != len(now):
        return f"rows {len(then)} then, {len(now)} now"
    before, after = then.to_numpy(), now.to_numpy()
    for row, column in np.argwhere(before != after)[:1]:
        values = f"{before[row, column]} then, {after[row, column]} now"
        return f"{names[0][0]} {before[row, 0]}: {names[0][column]} {values}"
    return None


def _read_arrays(content: bytes, path: Path) -> Arrays:
    """Return the arrays of a file of weights or coefficients by name; bfloat16 as float32."""
    if path.suffix == ".npz":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    from dlrun.networks.network_files import parse_tensors  # slow: torch

    tensors = parse_tensors(content, path)
    return {k: (v.float() if v.element_size() == 2 else v).numpy() for k, v in tensors.items()}


def _compare_arrays(then: Arrays, now: Arrays) -> str | None:
    """Return a description of the first array that differs between two files, or None."""
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


def _differing_causes(run: Run, repetition: Run) -> Differences:
    """Return the differences in code, packages, machine, data and config between two runs."""
    then, now = run_causes(run), run_causes(repetition)
    causes: Differences = {}
    for kind, values in now.items():
        pairs = {name: (then[kind].get(name), value) for name, value in values.items()}
        if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            causes[kind] = changed
    values = read_yaml_file(run.folder / CONFIG).values
    if edited := run.edited_keys(values):
        begun, used = flatten_keys(run.initial_config().values), flatten_keys(values)
        causes["config"] = {key: (begun.get(key), used.get(key)) for key in sorted(edited)}
    return causes
