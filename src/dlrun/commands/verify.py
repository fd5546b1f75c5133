"""`dlrun verify`: repeat runs, and say whether they are identical bit for bit, or what differs."""

import contextlib
import io
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from json import loads
from pathlib import Path
from typing import Annotated

import numpy as np

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.compare import run_provenance
from dlrun.commands.opened_runs import open_runs, problems_of, show_results
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
from dlrun.execution.run import run_experiment
from dlrun.experiments import registry
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run, find_copies
from dlrun.rows import Column, number
from dlrun.run_context import RunSettings
from dlrun.run_folder.external_loggers import TRACKED
from dlrun.run_folder.folder import CONFIG, ENVIRONMENT, IMAGE_COLUMNS, METRICS, RESULTS, parse_csv
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, main_metric
from dlrun.system.console import Screen, cut, format_position, pluralize
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
KEYS_THAT_MAY_DIFFER = RUNTIME_KEYS | DATA_PLACES  # of the config: a resume sets them
BY_PATH = ("predictions", "errors")  # fields of the record by the path of a photograph
LONGEST = 60  # characters of a value that is no number
SHOWN = 3  # differences of a run on the screen
NOT_REPEATED = "not repeated"
COLUMNS = (
    *(Column("run"), Column("experiment"), Column("metric")),
    *(number("stated"), number("repeated"), Column("result")),
)

ABSENT = object()  # stands for a value that a run does not state


@dataclass(frozen=True)
class Difference:
    """Holds a value that a run and its repetition state differently; None: not stated.

    Of a column or a tensor they are the first values that differ: `where`, and `note` says how many
    do.
    """

    name: str
    stated: object
    repeated: object
    where: str = ""
    note: str = ""

    def __str__(self) -> str:
        texts = [format_metric(value) for value in (self.stated, self.repeated)]
        if not isinstance(self.stated, float) or texts[0] == texts[1]:
            texts = [_format(value) for value in (self.stated, self.repeated)]
        place = ", ".join(filter(None, (self.name, self.where)))
        note = f" ({self.note})" if self.note else ""
        return f"{place}: {texts[0]} stated, {texts[1]} repeated{note}"


@dataclass
class Verification:
    """Holds whether a run is identical to its repetition, and what differs.

    result: identical, copy (identical too) or different; if the run was not repeated, its state or
    `not repeated`, and `why`. compared: names of the compared files. causes: differences of code,
    packages, machine and data.
    """

    run: Run
    result: str
    why: str = ""
    differences: list[Difference] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    causes: list[Difference] = field(default_factory=list)

    def row(self, name: str) -> Values:
        """Return the verification as a row of the table, and as an object of the JSON output."""
        record = self.run.record
        metric = main_metric(record) or ""
        stated = record.metrics.get(metric)
        again = {difference.name: difference.repeated for difference in self.differences}
        return {
            "run": name,
            "folder": str(self.run.folder),
            "experiment": None if self.run.is_damaged else record.experiment,
            "metric": metric,
            "stated": stated,
            "repeated": again.get(metric, stated) if self.compared else None,
            "result": self.result,
            "why": self.why or None,
            "differences": [asdict(difference) for difference in self.differences],
            "compared": self.compared,
            "causes": [asdict(cause) for cause in self.causes],
        }

    @property
    def reasons(self) -> list[str]:
        """Return why the run is not simply identical, a line for each reason."""
        lines = [self.why] if self.why else []
        lines += map(str, self.differences[:SHOWN])
        if more := len(self.differences) - SHOWN:
            lines += [f"and {pluralize(more, 'more value')}, see --json"] if more > 0 else []
        if self.differences:
            same = "code, packages, machine and data are recorded as the same"
            lines += map(str, self.causes) if self.causes else [same]
        return lines


def verify_runs(
    runs: opt.RunsOrAll = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: Annotated[bool, opt.flag("Show each repetition.", "--verbose", "-v")] = False,
) -> int:
    """Repeat runs from their own configs, and compare each with its repetition bit for bit.

    Exits with 1 unless all are identical. A table has what each run and its repetition state.

    Examples:
    dlrun verify imdb-lasso/latest --json
    dlrun verify handed-in
    """
    screen = Screen(quiet=quiet, results=not json)
    opened = open_runs(runs, run_context.resolve_runs_dir(runs_dir))
    copies = find_copies(run.identity for _, run in opened)
    repeating = Screen(quiet=not verbose, results=False)
    results: list[tuple[str, Verification]] = []
    try:
        with contextlib.nullcontext() if verbose else screen.bar("runs", len(opened)) as move:
            for number, (name, run) in enumerate(opened, start=1):
                if move is not None:
                    move(number - 1, name)
                result = _verify(run, data_dir, repeating)
                if copy := copies.get(run.folder):
                    result.why = "; ".join(filter(None, (copy, result.why)))
                    result.result = result.result.replace("identical", "copy")
                screen.note(f"{format_position(number, len(opened))} {name}: {result.result}")
                results.append((name, result))
    finally:  # also after Ctrl-C
        if results:
            rows = [result.row(name) for name, result in results]
            show_results(COLUMNS, rows, [result.reasons for _, result in results], screen)
    if json:
        screen.print_json(rows)
    return max(result.result != "identical" for _, result in results)


def _verify(run: Run, data_dir: Path | None, screen: Screen) -> Verification:
    """Repeat a run in a temporary folder, and compare the two."""
    if run.state != "finished":
        hint = f"; `{run.resume_command}` finishes it" if run.resume_command else ""
        why = run.problem or f"only a finished run can be verified{hint}"
        return Verification(run, run.state, why)
    if problems := problems_of(run):
        return Verification(run, "damaged", "; ".join(problems))
    try:
        replaced = _replaced_values(run)
        ignored = KEYS_THAT_MAY_DIFFER | flatten_keys(replaced).keys()
        # Before the repetition, which may take hours.
        stated = _read_stated(run, ignored)
        provenance = run_provenance(run)
    except ConfigError as error:
        return Verification(run, NOT_REPEATED, _explain(error, run.folder))
    except DlrunError as error:
        return Verification(run, "damaged", _explain(error, run.folder))
    stop = StopRequest()
    try:
        with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as runs:
            settings = RunSettings(
                runs_dir=Path(runs), data_dir=data_dir, temporary=True, screen=screen
            )
            try:
                repetition = _repeat(run, replaced, settings)
                differences = compare_stated(stated, _read_stated(repetition, ignored))
                causes = compare_stated(provenance, run_provenance(repetition))
            finally:
                stop.ignore_signals()  # no signal interrupts the removal
    except Exception as error:  # a wrong run of a class hides no other
        return Verification(run, NOT_REPEATED, _explain(error, run.folder))
    result = "different" if differences else "identical"
    return Verification(run, result, "", differences, [*stated], causes)


def _replaced_values(run: Run) -> Values:
    """Return the config values that a repetition has in place of the run's; none changes a number.

    Published numbers are those of the shipped config.
    """
    schema = registry.load_config_class(run.record.experiment)
    return {**schema.standalone_values, "threads": run.record.threads or 1, "logger": []}


def _repeat(run: Run, replaced: Values, settings: RunSettings) -> Run:
    """Run the experiment again from the run's config, with some values replaced."""
    settings.console().note(f"running {run.folder} again")
    values = {key: value for key, value in run.record.config.items() if key != "reference"}
    own = config_layer_without_file(values, str(run.folder / CONFIG))
    layers = [own, config_layer_without_file(replaced, "dlrun verify")]
    try:
        _, folder = run_experiment(run.record.experiment, replace(settings, values=layers))
    except ConfigError as error:
        raise DlrunError(f"cannot be run again: {error.message}", error.hint) from None
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


def compare_stated(stated: object, repeated: object, *names: str) -> list[Difference]:
    """Return every difference of what two runs state; `names`: of the file, and in it, so far."""
    if isinstance(stated, dict) and isinstance(repeated, dict):
        return [
            difference
            for key in stated | repeated
            for difference in compare_stated(
                stated.get(key, ABSENT), repeated.get(key, ABSENT), *names, str(key)
            )
        ]
    file, *keys = names
    inside = ".".join(keys)
    name = f"{file}: {inside}" if keys else file
    if file == RESULTS:
        name = inside.removeprefix("metrics.")
    before, after = _describe(stated), _describe(repeated)
    # As texts, for 1 is not 1.0, and -0.0 is not 0.0.
    if (stated is ABSENT) != (repeated is ABSENT) or repr(before) != repr(after):
        return [Difference(name, before, after)]
    if isinstance(stated, np.ndarray) and isinstance(repeated, np.ndarray):
        unit = "epoch" if file == METRICS else "row" if file.endswith(".csv") else "value"
        return _compare_arrays(name, stated, repeated, unit if keys else "line")
    return []


def _describe(value: object) -> object:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    return None if value is ABSENT else value


def _compare_arrays(name: str, stated: Array, repeated: Array, unit: str) -> list[Difference]:
    """Return the difference of two arrays of the same type and shape, if there is any."""
    is_text = stated.dtype == object
    bits = stated.dtype if is_text else f"V{stated.itemsize}"  # -0.0 is not 0.0, NaN is NaN
    unequal = (stated.view(bits) != repeated.view(bits)).ravel()
    if not unequal.any():
        return []
    before, after = stated.ravel()[unequal], repeated.ravel()[unequal]
    note = f"the first of {pluralize(len(before), 'value')}" if len(before) > 1 else ""
    if np.issubdtype(stated.dtype, np.floating):
        most = np.abs(before.astype(float) - after.astype(float)).max()
        note += f"{note and ', '}by at most {most:.3g}"
    where = f"{unit} {unequal.argmax() + 1}"
    return [Difference(name, before.tolist()[0], after.tolist()[0], where, note)]


def _explain(error: Exception, folder: Path) -> str:
    hint = error.hint if isinstance(error, DlrunError) else ""
    text = first_line(error).removeprefix(f"{folder}/")
    return f"{text} ({hint})" if hint else text


def _format(value: object) -> str:
    return "nothing" if value is None else cut(format_setting(value), LONGEST)
