"""`dlrun verify`: repeat runs, and say whether they are identical bit for bit, or what differs."""

import csv
import io
import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from json import loads
from pathlib import Path

import numpy as np

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.compare import run_provenance
from dlrun.commands.list_runs import scan_or_fail
from dlrun.config.followed_classes import classes_of, only_writes
from dlrun.config.named_classes import Item, class_name
from dlrun.config.network_sections import CALLBACKS
from dlrun.config.sections import DATA_PLACES
from dlrun.config.yaml_loader import (
    Values,
    config_layer_without_file,
    flatten_keys,
    format_setting,
    read_yaml_file,
)
from dlrun.data.archives import Array
from dlrun.errors import ConfigError, DataError, DlrunError, first_line
from dlrun.experiments import registry
from dlrun.experiments.comparable_with_published import PROCESSES
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run, find_copies
from dlrun.run_context import RunSettings
from dlrun.run_folder.external_loggers import TRACKED
from dlrun.run_folder.folder import CONFIG, ENVIRONMENT, IMAGE_COLUMNS, METRICS, RESULTS
from dlrun.run_folder.record import is_own
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, main_metric
from dlrun.runs.checks import check_classes_followed
from dlrun.runs.run import run_experiment
from dlrun.system.console import Screen, cut, format_text_table, pluralize
from dlrun.system.signals import StopRequest

# Fields of the record that say which run it is, when and where it was done, or hold digests (that
# of photographs has their times); the last three, as compared.csv, are another run's. All others
# are compared.
FIELDS_THAT_MAY_DIFFER = (
    "id", "run", "started", "resumed", "ended", "seconds", "threads", "accelerator", "sweep",
    "continues", "files", "data_digest",
    "compared_with", "compared_experiment", "compared_test_accuracy",
)  # fmt: skip
FILES_THAT_MAY_DIFFER = (ENVIRONMENT, TRACKED, "compared.csv")
KEYS_THAT_MAY_DIFFER = RUNTIME_KEYS | PROCESSES | DATA_PLACES  # of the config: a resume sets them
BY_PATH = ("predictions", "errors")  # fields of the record by the path of a photograph
PNG = b"\x89PNG\r\n"  # begins a figure, whose other bytes are not compared
ABSENT = object()  # stands for a value that a run does not state
LONGEST = 60  # characters of a value that is no number


@dataclass(frozen=True)
class Difference:
    """Holds a value that a run and its repetition state differently; None: not stated.

    Of a column or a tensor they are the first values that differ, and `note` says how many do.
    """

    name: str
    handed_in: object
    repeated: object
    note: str = ""

    def __str__(self) -> str:
        values = f"handed in {_format(self.handed_in)}, repeated {_format(self.repeated)}"
        return f"{self.name}: {values}" + (f" ({self.note})" if self.note else "")


@dataclass
class Verification:
    """Holds whether a run is identical to its repetition, and what differs.

    verdict: identical or different; if the run was not repeated, its state or `not repeated`.
    error: why the run was not repeated. compared: names of the compared files. causes: differences
    of code, packages, machine and data.
    """

    run: Run
    verdict: str
    error: Exception | None = None
    differences: list[Difference] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    causes: list[Difference] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return 0 if the run is identical to its repetition, and no copy of another run."""
        return 0 if self.verdict == "identical" else 1

    @property
    def main(self) -> Difference:
        """Return the main metric, or another value that differs if the main metric does not."""
        metric = main_metric(self.run.record) or ""
        value = self.run.record.metrics.get(metric)
        if not self.differences:
            return Difference(metric, value, None if self.error else value)
        return min(self.differences, key=lambda difference: difference.name != metric)

    def as_object(self) -> Values:
        """Return the verification as an object of the JSON output."""
        return {
            "run": str(self.run.folder),
            "verdict": self.verdict,
            "identical": not self.exit_code,
            "problem": _explain(self.error) if self.error else None,
            "differences": [asdict(difference) for difference in self.differences],
            "compared": self.compared,
            "differs": [asdict(cause) for cause in self.causes],
        }


def verify_runs(
    run: opt.RunOrAll = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    trust: opt.Trust = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> int:
    """Repeat a run, or all of a folder, from its own config, and compare the two bit for bit.

    Exits with 0 if they are identical. Otherwise it exits with 1, and shows the differences of the
    runs, and of their code, packages, machine and data.

    Examples:
    dlrun verify imdb-lasso/latest --json
    dlrun verify --runs-dir handed-in
    """
    screen = Screen(quiet=quiet, results=not json)
    if run is None:
        return _verify_folder(run_context.resolve_runs_dir(runs_dir), data_dir, screen, trust=trust)
    own = Screen(quiet=quiet or json, results=False)
    result = _verify(Run.open(run, runs_dir), data_dir, own, trust=trust)
    if result.error:
        raise result.error
    if json:
        screen.print_json(result.as_object())
    lines = [f"identical: {', '.join(result.compared)}"]
    if result.differences:
        lines = [f"different: {difference}" for difference in result.differences]
    lines += map(str, result.causes)
    if result.differences and not result.causes:
        lines.append("code, packages, machine and data are recorded as the same")
    screen.show("\n".join(lines))
    return result.exit_code


def _verify_folder(runs_dir: Path, data_dir: Path | None, screen: Screen, *, trust: bool) -> int:
    """Verify each run of a folder, show the verdicts as a table, and return the exit code."""
    runs = sorted(scan_or_fail(runs_dir, None), key=lambda run: run.folder)
    copies = find_copies(run.identity for run in runs)
    results: list[Verification] = []
    rows = [["run", "folder", "metric", "handed in", "repeated", "verdict"]]
    for number, run in enumerate(runs, start=1):
        result = _verify(run, data_dir, Screen(quiet=True, results=False), trust=trust)
        if copy := copies.get(run.folder):
            result.verdict += f", {copy}"
        place = "/".join(run.folder.parts[-2:])
        why = f": {_explain(result.error)}" if result.error else ""
        screen.note(f"[{number}/{len(runs)}] {place}: {result.verdict}{why}")
        shown = result.main
        format_value = _format if result.differences else format_metric
        cells = [format_value(shown.handed_in), format_value(shown.repeated)]
        others = len(result.differences) - 1
        more = f" (and in {pluralize(others, 'value')} more)" if others > 0 else ""
        rows.append([run.name, run.folder.parent.name, shown.name, *cells, result.verdict + more])
        results.append(result)
    if screen.results:
        screen.rows(format_text_table(rows, left=(0, 1, 2, 5)))
        if any(result.differences for result in results):
            screen.note("`dlrun verify RUN` and --json name every difference")
    else:
        screen.print_json([result.as_object() for result in results])
    return max(result.exit_code for result in results)


def _verify(run: Run, data_dir: Path | None, screen: Screen, *, trust: bool) -> Verification:
    """Repeat a run in a temporary folder, and compare the two."""
    if run.state != "finished":
        hint = f"`{run.resume_command}` finishes it" if run.resume_command else ""
        problem = run.problem or f"{run.state}: only a finished run can be verified"
        return Verification(run, run.state, DlrunError(f"{run.folder}: {problem}", hint))
    try:
        # Before the repetition, which may take hours.
        replaced = _replaced_values(run)
        ignored = KEYS_THAT_MAY_DIFFER | flatten_keys(replaced).keys()
        handed_in, provenance = _read_stated(run, ignored), run_provenance(run)
        if not (trust or is_own(run.folder / RESULTS)):
            callbacks = [(CALLBACKS, item) for item in _callbacks(run) if not only_writes(item)]
            check_classes_followed(run.folder, run.record.experiment, callbacks)
    except ConfigError as error:
        return Verification(run, "not repeated", error)
    except DlrunError as error:
        return Verification(run, "damaged", error)
    steps = run.record.steps
    expected = run.config.total_steps
    if expected is not None and steps not in (expected, run.record.stopped_epoch):
        difference = Difference("steps", steps, expected, "as many as its config says")
        return Verification(run, "different", None, [difference], [*handed_in])
    stop = StopRequest()
    try:
        with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as runs:
            settings = RunSettings(
                runs_dir=Path(runs), data_dir=data_dir, temporary=True, screen=screen
            )
            try:
                repetition = _repeat(run, replaced, settings)
                differences = compare_stated(handed_in, _read_stated(repetition, ignored))
                causes = compare_stated(provenance, run_provenance(repetition))
            finally:
                stop.ignore_signals()  # no signal interrupts the removal
    except Exception as error:  # a wrong run of a class hides no other
        return Verification(run, "not repeated", error)
    verdict = "different" if differences else "identical"
    return Verification(run, verdict, None, differences, [*handed_in], causes)


def _replaced_values(run: Run) -> Values:
    """Return the config values that a repetition has in place of the run's; none changes a number.

    Published numbers are those of the shipped config.
    """
    schema = registry.load_config_class(run.record.experiment)
    values = {**schema.standalone_values, "threads": run.record.threads or 1, "logger": []}
    if callbacks := _callbacks(run):
        values["trainer"] = {"callbacks": [item for item in callbacks if not only_writes(item)]}
    return values


def _callbacks(run: Run) -> list[Item]:
    """Return the callbacks that a run's config names."""
    return [item for key, item in classes_of(run.config) if key == CALLBACKS]


def _repeat(run: Run, replaced: Values, settings: RunSettings) -> Run:
    """Run the experiment again from the run's config, with some values replaced."""
    threads = pluralize(run.record.threads or 1, "thread")
    settings.console().note(f"running {run.folder} again, with {threads}")
    left_out = [class_name(item) for item in _callbacks(run) if only_writes(item)]
    left_out += [class_name(item) for item in run.config.logger]
    if left_out:
        settings.console().note(f"without {', '.join(left_out)}: it changes no number")
    values = {key: value for key, value in run.record.config.items() if key != "reference"}
    own = config_layer_without_file(values, str(run.folder / CONFIG))
    layers = [own, config_layer_without_file(replaced, "dlrun verify")]
    try:
        _, folder = run_experiment(run.record.experiment, replace(settings, values=layers))
    except ConfigError as error:
        message = f"{run.folder}: cannot be run again: {error.message}"
        raise DlrunError(message, error.hint) from None
    assert folder is not None  # not a dry run
    return Run.open(folder)


def _read_stated(run: Run, ignored: Collection[str]) -> dict[str, Values]:
    """Return what a run states: the fields of its record, and by name what its files hold.

    Left out is what may differ, and the `ignored` keys of its config. Raises DataError if a file is
    damaged.
    """
    record = run.record.model_dump()
    fields = {"metrics": record["metrics"]} | record
    for key in FIELDS_THAT_MAY_DIFFER:
        fields.pop(key, None)
    for key in BY_PATH:
        if isinstance(values := fields.get(key), dict):
            by_name = {Path(path).name: value for path, value in values.items()}
            fields[key] = by_name if len(by_name) == len(values) else values
    stated = {RESULTS: fields}
    names = run.record.files.keys() - {*FILES_THAT_MAY_DIFFER}
    for name in sorted(names, key=lambda name: (name != METRICS, name)):
        try:
            if name in run.record.figures:
                stated[name] = {"is a PNG file": run.read(name).startswith(PNG)}
            else:
                stated[name] = _read_contents(run, name)
        except DlrunError:
            raise
        except Exception as error:  # a file with a right checksum can hold anything
            problem = f"{run.folder / name}: not what a run writes: {first_line(error)}"
            raise DataError(problem) from None
    for values, key in ((fields, "config"), (stated, CONFIG)):
        config = flatten_keys(values.get(key, {}))
        values[key] = {name: config[name] for name in config if name not in ignored}
    return stated


def _read_contents(run: Run, name: str) -> Values:
    """Return what a file of a run holds by name: columns, tensors, keys, or the lines of a text.

    Another version of torch or numpy may write the same numbers as different bytes.
    """
    content = run.read(name)
    match Path(name).suffix:
        case ".csv":
            heads, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
            if len({*heads}) < len(heads) or any(len(row) != len(heads) for row in rows):
                raise ValueError("a table with unequal rows, or equal columns")
            columns: Values = {}
            for place, head in enumerate(heads):
                cells = [row[place] for row in rows]
                if head == IMAGE_COLUMNS[0]:  # a path
                    cells = [Path(cell).name for cell in cells]
                columns[head] = np.array(cells, object)
            if name == METRICS and SECONDS in columns:
                columns[SECONDS] = np.array([*map(_is_duration, columns[SECONDS])])
            return columns
        case ".npz":
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return dict(arrays)
        case ".pt":
            from dlrun.networks.files import read_tensors  # slow: torch

            tensors = read_tensors(run.folder / name, content).items()
            # numpy has no bfloat16.
            return {k: (v.float() if v.element_size() == 2 else v).numpy() for k, v in tensors}
        case ".json":
            value = loads(content)
            return value if isinstance(value, dict) else {"values": value}
        case ".yaml":
            return read_yaml_file(run.folder / name).values
    lines = content.decode(errors="backslashreplace").splitlines()
    return {"lines": np.array(lines, object)}


def _is_duration(cell: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", cell) is not None


def compare_stated(handed_in: object, repeated: object, *path: str) -> list[Difference]:
    """Return every difference of what two runs state; `path`: the file and names in it so far."""
    if isinstance(handed_in, dict) and isinstance(repeated, dict):
        return [
            difference
            for key in handed_in | repeated
            for difference in compare_stated(
                handed_in.get(key, ABSENT), repeated.get(key, ABSENT), *path, str(key)
            )
        ]
    before, after = _describe(handed_in, path), _describe(repeated, path)
    if repr(before) != repr(after):  # also where 1 == 1.0, or 0.0 == -0.0
        return [Difference(_name(path), before, after)]
    if (handed_in is ABSENT) != (repeated is ABSENT):
        return [Difference(_name(path), before, after, "only one states that there is nothing")]
    if isinstance(handed_in, np.ndarray) and isinstance(repeated, np.ndarray):
        return _compare_arrays(_name(path), handed_in, repeated)
    return []


def _name(path: Sequence[str]) -> str:
    file, *keys = path
    name = ".".join(keys)
    if file == RESULTS:
        return name.removeprefix("metrics.")
    return f"{file}: {name}" if keys else file


def _describe(value: object, path: Sequence[str]) -> object:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    if value is ABSENT:
        return None
    return "a file" if isinstance(value, dict) and len(path) == 1 else value


def _compare_arrays(name: str, handed_in: Array, repeated: Array) -> list[Difference]:
    """Return the difference of two arrays of the same type and shape, if there is any."""
    is_text = handed_in.dtype == object
    bits = handed_in.dtype if is_text else f"V{handed_in.itemsize}"  # -0.0 is not 0.0, NaN is NaN
    unequal = handed_in.view(bits) != repeated.view(bits)
    if not unequal.any():
        return []
    before, after = handed_in[unequal], repeated[unequal]
    note = f"{np.count_nonzero(unequal):,} of {pluralize(handed_in.size, 'value')}"
    if np.issubdtype(handed_in.dtype, np.floating):
        note += f", by at most {np.abs(before.astype(float) - after.astype(float)).max():.3g}"
    return [Difference(name, before.tolist()[0], after.tolist()[0], note)]


def _explain(error: Exception) -> str:
    hint = error.hint if isinstance(error, DlrunError) else ""
    return f"{first_line(error)} ({hint})" if hint else first_line(error)


def _format(value: object) -> str:
    return "nothing" if value is None else cut(format_setting(value), LONGEST)
