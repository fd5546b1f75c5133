"""`dlrun verify`: repeat a run, and report whether it is identical bit for bit, or what differs."""

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dlrun.commands import options as opt
from dlrun.commands.compare import run_provenance
from dlrun.config.yaml_loader import config_layer_without_file
from dlrun.data.archives import Array
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import ASSETS, Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import CONFIG, METRICS, MISTAKES, RESULTS
from dlrun.run_folder.recorded_metrics import SECONDS
from dlrun.runs.start import run_experiment
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import StopRequest

COMPARED = (".csv", ".npz", ".pt")
Arrays = dict[str, Array]
Differences = dict[str, dict[str, tuple[object, object]]]  # values by kind and name: then and now


def verify_run(
    run: opt.Run,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> int:
    """Repeat a run from its own config, and compare the two runs bit for bit.

    Exits with 0 if they are identical; otherwise with 1, the first difference, and what differs in
    code, packages, machine and data.

    Examples:
    dlrun verify latest
    dlrun verify imdb-lasso/latest --json
    """
    screen = Screen(quiet=quiet, results=not json)
    opened = Run.open(run, runs_dir)
    if opened.state != "finished":
        hint = f"`{opened.resume_command}` finishes it" if opened.resume_command else ""
        problem = f"{opened.folder}: {opened.state}: only a finished run can be verified"
        raise DlrunError(problem, hint)
    for name in opened.record.files:
        if Path(name).suffix in COMPARED:
            opened.read(name)  # a damaged file is an error before the run is repeated
    stop, own = StopRequest(), Screen(quiet=quiet, results=False)
    with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as runs:
        try:
            settings = RunSettings(
                runs_dir=Path(runs), data_dir=data_dir, temporary=True, screen=own
            )
            repetition = _repeat(opened, settings)
            difference, compared = first_difference_of_repetition(opened, repetition)
            causes = _differing_causes(opened, repetition)
        finally:
            stop.ignore_signals()  # no signal interrupts the removal
    if json:
        result = {"run": str(opened.folder), "identical": difference is None}
        result |= {"difference": difference, "compared": compared, "differs": causes}
        screen.print_json(result)
    lines = [f"different: {difference}" if difference else f"identical: {', '.join(compared)}"]
    for kind, pairs in causes.items():
        for name, (then, now) in pairs.items():
            lines += [f"{kind}: {name}", f"  then  {then}", f"  now   {now}"]
    if difference and not causes:
        lines.append("code, packages, machine and data are recorded as the same")
    screen.show("\n".join(lines))
    return 1 if difference else 0


def _repeat(run: Run, settings: RunSettings) -> Run:
    """Run the experiment again from the run's config.yaml, with the same number of threads."""
    threads = run.record.threads or 1
    values = {**run.config.standalone_values, "threads": threads, "logger": []}
    settings.console().note(f"running {run.folder} again, with {pluralize(threads, 'thread')}")
    own = config_layer_without_file(run.record.config, str(run.folder / CONFIG))
    layers = [own, config_layer_without_file(values, "dlrun verify")]
    try:
        _, folder = run_experiment(run.record.experiment, replace(settings, values=layers))
    except ConfigError as error:
        message = f"{run.folder}: cannot be run again: {error.message}"
        raise DlrunError(message, error.hint) from None
    assert folder is not None  # not a dry run
    return Run.open(folder)


def first_difference_of_repetition(run: Run, repetition: Run) -> tuple[str | None, list[str]]:
    """Return the first difference of a run and its repetition, and the names of the compared files.

    The times in metrics.csv are left out. Raises DataError if a file was damaged.
    """
    written = (run.record.files | repetition.record.files).keys() - {METRICS}
    others = sorted(
        name for name in written if Path(name).suffix in COMPARED or name in (ASSETS, MISTAKES)
    )
    compared = [*([METRICS] if METRICS in run.record.files else []), RESULTS, *others]
    for name in compared:
        if difference := _compare_arrays(_read_arrays(run, name), _read_arrays(repetition, name)):
            return f"{name}: {difference}", compared
    return None, compared


def _read_arrays(run: Run, name: str) -> Arrays:
    """Return the arrays in a file of a run by their names: tensors, or the columns of a table.

    Another version of torch or numpy may write the same numbers as different bytes. A file that the
    run did not write gives no array.
    """
    if name == RESULTS:
        return {metric: np.array(value) for metric, value in run.record.metrics.items()}
    if name not in run.record.files:
        return {}
    content = run.read(name)
    if name.endswith(".json"):
        return {"bytes": np.frombuffer(content, np.uint8)}
    if name.endswith(".csv"):
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
        columns = table.columns.drop(SECONDS, errors="ignore")
        return {column: table[column].to_numpy(object) for column in columns}
    if name.endswith(".npz"):
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    from dlrun.networks.files import read_tensors  # slow: torch

    tensors = read_tensors(run.folder / name, content)
    # numpy has no bfloat16.
    return {k: (v.float() if v.element_size() == 2 else v).numpy() for k, v in tensors.items()}


def _compare_arrays(then: Arrays, now: Arrays) -> str | None:
    for name in then | now:
        if name not in then or name not in now:
            return f"{name}: only {'then' if name in then else 'now'}"
        old, new = then[name], now[name]
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            return f"{name} {old.dtype}{old.shape} then, {new.dtype}{new.shape} now"
        is_text = old.dtype == object
        bits = old.dtype if is_text else f"V{old.itemsize}"  # -0.0 is not 0.0, NaN is NaN
        unequal = old.view(bits) != new.view(bits)
        if unequal.any():
            count = f"{name}: {np.count_nonzero(unequal):,} of {old.size:,} values differ"
            if is_text:
                return f"{count}, first {old[unequal][0]} then, {new[unequal][0]} now"
            gaps = np.abs(old[unequal].astype(float) - new[unequal].astype(float))
            return f"{count}, by at most {gaps.max():.3g}"
    return None


def _differing_causes(run: Run, repetition: Run) -> Differences:
    then, causes = run_provenance(run), Differences()
    for kind, values in run_provenance(repetition).items():
        pairs = {name: (then[kind].get(name), value) for name, value in values.items()}
        if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            causes[kind] = changed
    return causes
