"""`dlrun verify`: repeat runs, and say whether they are identical bit for bit, or what differs."""

import io
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from json import loads
from pathlib import Path

import numpy as np

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.compare import run_provenance
from dlrun.commands.list_runs import scan_or_fail
from dlrun.config.followed_classes import classes_of, only_writes
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
from dlrun.execution.checks import check_classes_followed
from dlrun.execution.run import run_experiment
from dlrun.experiments import registry
from dlrun.experiments.comparable_with_published import PROCESSES
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run, find_copies
from dlrun.run_context import RunSettings
from dlrun.run_folder.external_loggers import TRACKED
from dlrun.run_folder.folder import CONFIG, ENVIRONMENT, IMAGE_COLUMNS, METRICS, RESULTS, parse_csv
from dlrun.run_folder.record import is_own
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, main_metric
from dlrun.system.console import Screen, cut, format_text_table, pluralize
from dlrun.system.signals import StopRequest

# What may differ: fields of the record that say which run it is, when and where it was done, or
# hold digests (that of photographs has their times). What begins with `compared` is another run's.
# All other fields and files are compared, but for figures.
FIELDS_THAT_MAY_DIFFER = (
    "id", "run", "started", "resumed", "ended", "seconds", "threads", "accelerator", "sweep",
    "continues", "files", "data_digest",
    "compared_with", "compared_experiment", "compared_test_accuracy",
)  # fmt: skip
FILES_THAT_MAY_DIFFER = {ENVIRONMENT, TRACKED, "compared.csv"}
KEYS_THAT_MAY_DIFFER = RUNTIME_KEYS | PROCESSES | DATA_PLACES  # of the config: a resume sets them
BY_PATH = ("predictions", "errors")  # fields of the record by the path of a photograph
LONGEST = 60  # characters of a value that is no number

ABSENT = object()  # stands for a value that a run does not state


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
    def cells(self) -> list[str]:
        """Return the main metric, its values in the run and its repetition, and the verdict."""
        metric, more = main_metric(self.run.record) or "", len(self.differences)
        value = self.run.record.metrics.get(metric)
        again = {difference.name: difference.repeated for difference in self.differences}
        repeated = None if self.error else again.get(metric, value)
        values = pluralize(more, "value")
        verdict = f"{self.verdict} in {values}" if more else self.verdict
        return [metric, format_metric(value), format_metric(repeated), verdict]

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
        rows.append([run.name, run.folder.parent.name, *result.cells])
        results.append(result)
    if not screen.results:
        screen.print_json([result.as_object() for result in results])
    screen.show("\n".join(format_text_table(rows, left=(0, 1, 2, 5))))
    return max(result.exit_code for result in results)


def _verify(run: Run, data_dir: Path | None, screen: Screen, *, trust: bool) -> Verification:
    """Repeat a run in a temporary folder, and compare the two."""
    if run.state != "finished":
        hint = f"`{run.resume_command}` finishes it" if run.resume_command else ""
        problem = run.problem or f"{run.state}: only a finished run can be verified"
        return Verification(run, run.state, DlrunError(f"{run.folder}: {problem}", hint))
    try:
        replaced = _replaced_values(run)
        ignored = KEYS_THAT_MAY_DIFFER | flatten_keys(replaced).keys()
        # Before the repetition, which may take hours.
        handed_in, provenance = _read_stated(run, ignored), run_provenance(run)
        if not (trust or is_own(run.folder / RESULTS)):
            followed = replaced.get("trainer", {}).get("callbacks", ())
            named = [(CALLBACKS, item) for item in followed]
            check_classes_followed(run.folder, run.record.experiment, named)
    except ConfigError as error:
        return Verification(run, "not repeated", error)
    except DlrunError as error:
        return Verification(run, "damaged", error)
    steps = run.record.steps
    expected = run.config.total_steps
    if expected is not None and steps not in (expected, run.record.stopped_epoch):
        difference = Difference("steps", steps, expected, "as many as its config says")
        return Verification(run, "different", None, [difference])
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
    if callbacks := [item for key, item in classes_of(run.config) if key == CALLBACKS]:
        values["trainer"] = {"callbacks": [item for item in callbacks if not only_writes(item)]}
    return values


def _repeat(run: Run, replaced: Values, settings: RunSettings) -> Run:
    """Run the experiment again from the run's config, with some values replaced."""
    settings.console().note(f"running {run.folder} again")
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


def _read_stated(run: Run, ignored: Collection[str]) -> Values:
    """Return what a run states: the fields of its record, its metrics first, and its files.

    Left out is what may differ, and the `ignored` keys of its config. Raises DataError if a file is
    damaged.
    """
    record = run.record.model_dump()
    fields = {"metrics": record["metrics"]} | record
    for key in FIELDS_THAT_MAY_DIFFER:
        fields.pop(key, None)
    for key in BY_PATH:
        if isinstance(values := fields.get(key), dict):
            paths = enumerate(values.items(), start=1)
            fields[key] = {f"{n} {Path(path).name}": value for n, (path, value) in paths}
    contents: Values = {RESULTS: fields}
    names = run.record.files.keys() - FILES_THAT_MAY_DIFFER - {*run.record.figures}
    for name in sorted(names, key=lambda name: (name != METRICS, name)):
        try:
            contents[name] = _read_contents(run, name)
        except DlrunError:
            raise
        except Exception as error:  # a file with a right checksum can hold anything
            problem = f"{run.folder / name}: not what a run writes: {first_line(error)}"
            raise DataError(problem) from None
    for values, key in ((fields, "config"), (contents, CONFIG)):
        config = flatten_keys(values.get(key, {}))
        values[key] = {name: config[name] for name in config if name not in ignored}
    return contents


def _read_contents(run: Run, name: str) -> object:
    """Return what a file of a run holds by name: columns, tensors, keys, or the lines of a text.

    Another version of torch or numpy may write the same numbers as different bytes.
    """
    content = run.read(name)
    match Path(name).suffix:
        case ".csv":
            heads, rows = parse_csv(content)
            if len({*heads}) < len(heads):
                raise ValueError("two columns have the same name")
            cells = {head: [row[place] for row in rows] for place, head in enumerate(heads)}
            if name == METRICS:
                cells.pop(SECONDS, None)
            if paths := cells.get(IMAGE_COLUMNS[0]):
                cells[IMAGE_COLUMNS[0]] = [Path(path).name for path in paths]
            return {head: np.array(column, object) for head, column in cells.items()}
        case ".npz":
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return dict(arrays)
        case ".pt":
            from dlrun.networks.files import read_tensors  # slow: torch

            tensors = read_tensors(run.folder / name, content).items()
            # numpy has no bfloat16.
            return {k: (v.float() if v.element_size() == 2 else v).numpy() for k, v in tensors}
        case ".json":
            return loads(content)
        case ".yaml":
            return read_yaml_file(run.folder / name).values
    lines = content.decode(errors="backslashreplace").splitlines()
    return np.array(lines, object)


def compare_stated(handed_in: object, repeated: object, *names: str) -> list[Difference]:
    """Return every difference of what two runs state; `names`: of the file, and in it, so far."""
    if isinstance(handed_in, dict) and isinstance(repeated, dict):
        return [
            difference
            for key in handed_in | repeated
            for difference in compare_stated(
                handed_in.get(key, ABSENT), repeated.get(key, ABSENT), *names, str(key)
            )
        ]
    file, *keys = names
    inside = ".".join(keys)
    name = f"{file}: {inside}" if keys else file
    if file == RESULTS:
        name = inside.removeprefix("metrics.")
    before, after = _describe(handed_in), _describe(repeated)
    # As texts, for 1 is not 1.0, and -0.0 is not 0.0.
    if (handed_in is ABSENT) != (repeated is ABSENT) or repr(before) != repr(after):
        return [Difference(name, before, after)]
    if isinstance(handed_in, np.ndarray) and isinstance(repeated, np.ndarray):
        return _compare_arrays(name, handed_in, repeated)
    return []


def _describe(value: object) -> object:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    return None if value is ABSENT else value


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
