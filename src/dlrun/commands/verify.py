"""`dlrun verify`: repeat runs, and say whether they are identical bit for bit, or what differs."""

import hashlib
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.compare import run_provenance
from dlrun.commands.opened_runs import open_runs, problems_of, show_results
from dlrun.config.sections import DATA_PLACES
from dlrun.config.yaml_loader import (
    ConfigLayer,
    Values,
    config_layer_from_values,
    format_setting,
    read_yaml_file,
)
from dlrun.errors import DlrunError, first_line
from dlrun.execution.run import run_experiment
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run, find_copies
from dlrun.run_context import RunSettings
from dlrun.run_folder.external_loggers import TRACKED
from dlrun.run_folder.folder import CONFIG, ENVIRONMENT, IMAGE_COLUMNS, parse_csv
from dlrun.run_folder.recorded_metrics import SECONDS, main_metric
from dlrun.run_tables import Column, number
from dlrun.system.console import Screen, cut, format_position
from dlrun.system.signals import StopRequest

# What may differ: fields of the record that say which run it is, when and where it was done, or
# hold digests (that of photographs has their times).
# All other fields and files are compared, but for figures.
FIELDS_THAT_MAY_DIFFER = (
    "id", "run", "started", "resumed", "ended", "seconds", "threads", "accelerator", "sweep",
    "continues", "files", "data_digest",
)  # fmt: skip
FILES_THAT_MAY_DIFFER = {ENVIRONMENT, TRACKED}
KEYS_THAT_MAY_DIFFER = RUNTIME_KEYS | DATA_PLACES  # of the config: a resume sets them
BY_PATH = ("predictions", "errors")  # fields of the record by the path of a photograph
LONGEST = 60  # characters of a value
SHOWN = 3  # differences of a run on the screen
COLUMNS = (
    *(Column("run"), Column("experiment"), Column("metric")),
    *(number("stated"), number("repeated"), Column("result")),
)

Leaves = dict[tuple[str, ...], object]  # values by the keys that lead to them


@dataclass
class Verification:
    """Holds whether a run is identical to its repetition, and what differs.

    result: identical, copy (identical too) or different; if the run was not repeated, its state or
    `not repeated`, and `why`. differences: name, stated and repeated value of fields of the record,
    and of files, whose values are digests. causes: which of code, packages, machine, data differ.
    """

    run: Run
    result: str
    why: str = ""
    differences: list[Values] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Values:
        """Return the verification as a row of the table, and as an object of the JSON output."""
        record = self.run.record
        metric = main_metric(record) or ""
        stated = record.metrics.get(metric)
        values = {value["name"]: value["repeated"] for value in self.differences}
        is_repeated = self.result in ("identical", "copy", "different")
        return {
            "run": name,
            "folder": str(self.run.folder),
            "experiment": None if self.run.is_damaged else record.experiment,
            "metric": metric,
            "stated": stated,
            "repeated": values.get(metric, stated) if is_repeated else None,
            "result": self.result,
            "why": self.why or None,
            "differences": self.differences,
            "causes": self.causes,
        }

    @property
    def reasons(self) -> list[str]:
        """Return why the run is not simply identical, a line for each reason."""
        lines = [self.why] if self.why else []
        for difference in self.differences[:SHOWN]:
            stated = cut(format_setting(difference["stated"]), LONGEST)
            repeated = cut(format_setting(difference["repeated"]), LONGEST)
            lines.append(f"{difference['name']}: {stated} stated, {repeated} repeated")
        if len(self.differences) > SHOWN:
            lines.append(f"and {len(self.differences) - SHOWN} more, see --json")
        if self.differences:
            causes = ", ".join(self.causes) or "none of code, packages, machine and data"
            lines.append(f"recorded as different: {causes}")
        return lines


def verify_runs(
    runs: opt.RunsOrAll = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
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
    results: list[tuple[str, Verification]] = []
    try:
        with screen.bar("runs", len(opened)) as move:
            for number, (name, run) in enumerate(opened, start=1):
                move(number - 1, name)
                result = _verify(run, data_dir)
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


def _verify(run: Run, data_dir: Path | None) -> Verification:
    """Repeat a run in a temporary folder, and compare the two."""
    if run.state != "finished":
        hint = f"; `{run.resume_command}` finishes it" if run.resume_command else ""
        why = run.problem or f"only a finished run can be verified{hint}"
        return Verification(run, run.state, why)
    if problems := problems_of(run):
        return Verification(run, "damaged", "; ".join(problems))
    stop = StopRequest()
    try:
        # In place of the run's own values; neither changes a number.
        replaced: Values = {"threads": run.record.threads or 1, "logger": []}
        ignored = KEYS_THAT_MAY_DIFFER | replaced.keys()
        # Before the repetition, which may take hours.
        stated = _read_stated(run, ignored)
        provenance = run_provenance(run)
        with stop.listening(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as runs:
            screen = Screen(quiet=True, results=False)
            settings = RunSettings(
                values=_layers(run, replaced),
                runs_dir=Path(runs),
                data_dir=data_dir,
                temporary=True,
                screen=screen,
            )
            try:
                _, folder = run_experiment(run.record.experiment, settings)
                assert folder is not None  # not a dry run
                repetition = Run.open(folder)
                differences = _compare(stated, _read_stated(repetition, ignored))
                again = run_provenance(repetition)
                causes = [key for key in provenance if provenance[key] != again.get(key)]
            finally:
                stop.ignore_signals()  # no signal interrupts the removal
    except Exception as error:  # a wrong run of a class hides no other
        hint = f" ({error.hint})" if isinstance(error, DlrunError) and error.hint else ""
        text = first_line(error).removeprefix(f"{run.folder}/")
        return Verification(run, "not repeated", f"{text}{hint}")
    result = "different" if differences else "identical"
    return Verification(run, result, "", differences, causes)


def _layers(run: Run, replaced: Values) -> list[ConfigLayer]:
    """Return the run's config, and the values over it; published numbers are the shipped ones."""
    values = {key: value for key, value in run.record.config.items() if key != "reference"}
    own = config_layer_from_values(values, str(run.folder / CONFIG))
    return [own, config_layer_from_values(replaced, "dlrun verify")]


def _read_stated(run: Run, ignored: Collection[str]) -> Leaves:
    """Return what a run states: its metrics, the other fields of its record, digests of its files.

    Left out is what may differ, and the `ignored` keys of its config.
    """
    record = run.record.model_dump()
    for key in FIELDS_THAT_MAY_DIFFER:
        record.pop(key, None)
    for key in BY_PATH:
        if isinstance(values := record.get(key), dict):
            record[key] = [(Path(path).name, value) for path, value in values.items()]
    config = record.pop("config")
    stated = _leaves({"metrics": record.pop("metrics"), **record})
    stated |= _without(ignored, config, "config")
    for name in sorted(run.record.files.keys() - FILES_THAT_MAY_DIFFER - {*run.record.figures}):
        content = run.read(name)
        try:
            comparable = _comparable(run, name, content, ignored)
        except Exception:  # a file with a right checksum can hold anything
            comparable = content
        stated["files", name] = hashlib.sha256(repr(comparable).encode()).hexdigest()[:12]
    return stated


def _comparable(run: Run, name: str, content: bytes, ignored: Collection[str]) -> object:
    """Return a file's content without seconds, folders and `ignored` keys of a config."""
    if name == CONFIG:
        return _without(ignored, read_yaml_file(run.folder / name).values)
    if not name.endswith(".csv"):
        return content
    heads, rows = parse_csv(content)
    return [
        [Path(cell).name for cell in column] if column[0] == IMAGE_COLUMNS[0] else column
        for column in zip(heads, *rows, strict=True)
        if column[0] != SECONDS
    ]


def _without(ignored: Collection[str], config: Values, *path: str) -> Leaves:
    leaves = _leaves(config)
    return {(*path, *keys): leaves[keys] for keys in leaves if ".".join(keys) not in ignored}


def _leaves(values: Values, *path: str) -> Leaves:
    """Return the values in nested mappings by all their keys, which may have dots themselves."""
    leaves: Leaves = {}
    for key, value in values.items():
        is_section = isinstance(value, dict) and bool(value)
        leaves |= _leaves(value, *path, key) if is_section else {(*path, key): value}
    return leaves


def _compare(stated: Leaves, repeated: Leaves) -> list[Values]:
    """Return every value that only one states, or that differs as text: 1 is not 1.0."""
    return [
        {
            "name": ".".join(keys[1:] if keys[0] in ("metrics", "files") else keys),
            "stated": stated.get(keys),
            "repeated": repeated.get(keys),
        }
        for keys in stated | repeated
        if repr(stated.get(keys, ...)) != repr(repeated.get(keys, ...))
    ]
