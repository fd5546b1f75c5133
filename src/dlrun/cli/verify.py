"""`dlrun verify`: repeat finished runs, and compare each with its repetition bit for bit."""

import hashlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import describe_damage, open_runs, print_result_table, readable_runs
from dlrun.config.sections import DATA_PLACES, RUNTIME_KEYS
from dlrun.config.yaml_loader import (
    ConfigLayer,
    config_layer_from_values,
    flatten_keys,
    flatten_keys_except,
    format_setting,
    read_yaml_file,
)
from dlrun.data.photographs import IMAGE_COLUMNS
from dlrun.errors import DlrunError, first_line
from dlrun.experiments.resuming import resume_command
from dlrun.experiments.running import run_experiment
from dlrun.experiments.saved_runs import experiment_of
from dlrun.runs.csv_tables import parse_csv
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.folder import CONFIG, ENVIRONMENT
from dlrun.runs.metrics_csv import SECONDS
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.provenance import RunProvenance
from dlrun.runs.ranked_metrics import main_metric
from dlrun.runs.run import DAMAGED, Run, ScannedRun, UnreadableRun
from dlrun.runs.run_tables import Column
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest
from dlrun.system.text import cut, format_position

FILES_THAT_MAY_DIFFER = {ENVIRONMENT}  # figures may too
KEYS_THAT_MAY_DIFFER = RUNTIME_KEYS | DATA_PLACES  # a resume sets these keys of the config
BY_PATH = ("predictions", "errors")  # these fields of the record have photographs' paths as keys
LONGEST = 60  # a longer value is cut to so many characters
IDENTICAL = "identical"
SHOWN = 3  # the screen has so many differences of a run
COLUMNS = (
    *(Column("run"), Column("experiment"), Column("metric")),
    *(Column.number("stated"), Column.number("repeated"), Column("result")),
)


def verify_runs(
    runs: opt.RunsOrAll = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> int:
    """Repeat runs from their own configs, and compare each with its repetition bit for bit.

    Exits with 1 unless all are identical, and none is a copy of another. A table has what each run
    and its repetition state.

    Examples:
    dlrun verify imdb-lasso/latest --json
    dlrun verify handed-in
    """
    screen = Screen(quiet=quiet, shows_results=not json)
    opened = open_runs(runs, resolve_runs_dir(runs_dir))
    copies = find_copies(map(CopyOrder.of_run, readable_runs(opened)))
    verified: list[Verification] = []
    rows: list[dict[str, object]] = []
    try:
        for number, (name, run) in enumerate(opened, start=1):
            verification = _verify_run(run, data_dir).of_copy(copies.get(run.folder))
            screen.note(f"{format_position(number, len(opened))} {name}: {verification.result}")
            verified.append(verification)
            rows.append(verification.as_row(name))
    finally:  # also after Ctrl-C
        if rows:
            reasons = [verification.reasons for verification in verified]
            print_result_table(COLUMNS, rows, reasons, screen)
    if json:
        screen.print_json(rows)
    are_identical = all(verification.result == IDENTICAL for verification in verified)
    return 0 if are_identical else 1


@dataclass(frozen=True)
class Difference:
    """Holds what a run and its repetition state of a field of the record, or of a file.

    The value of a file is its digest.
    """

    name: str
    stated: object
    repeated: object

    def __str__(self) -> str:
        stated = cut(format_setting(self.stated), LONGEST)
        repeated = cut(format_setting(self.repeated), LONGEST)
        return f"{self.name}: {stated} stated, {repeated} repeated"


@dataclass(frozen=True)
class Verification:
    """Says what came out of the repetition of a run.

    result: identical or different; if the run was not repeated, its state (such as damaged) or
    `not repeated`, and `why`. repeated: the repetition's value of the run's main metric. causes:
    which of code, packages, machine and data differ.
    """

    run: ScannedRun
    result: str
    why: str | None = None
    repeated: float | None = None
    differences: Sequence[Difference] = ()
    causes: Sequence[str] = ()

    def of_copy(self, copy: str | None) -> "Verification":
        """A copy of another run counts as `copy`, even if its repetition is identical."""
        if copy is None:
            return self
        why = "; ".join(filter(None, (copy, self.why)))
        return replace(self, why=why, result="copy" if self.result == IDENTICAL else self.result)

    @property
    def reasons(self) -> list[str]:
        """Each line is a reason why the run is not simply identical to its repetition."""
        lines = [self.why] if self.why else []
        lines += map(str, self.differences[:SHOWN])
        if self.differences:
            more = len(self.differences) - SHOWN
            if more > 0:
                lines.append(f"and {more} more, see --json")
            causes = ", ".join(self.causes) or "none of code, packages, machine and data"
            lines.append(f"recorded as different: {causes}")
        return lines

    def as_row(self, name: str) -> dict[str, object]:
        """The row is that of the table, and of the JSON output."""
        record = None if isinstance(self.run, UnreadableRun) else self.run.record
        metric = (record and main_metric(record)) or ""
        return {
            "run": name,
            "folder": str(self.run.folder),
            "experiment": record and record.experiment,
            "metric": metric,
            "stated": record and record.metrics.get(metric),
            "repeated": self.repeated,
            "result": self.result,
            "why": self.why,
            "differences": [vars(difference) for difference in self.differences],
            "causes": list(self.causes),
        }


def _verify_run(run: ScannedRun, data_dir: Path | None) -> Verification:
    """Repeat a run if that is possible, and compare the two."""
    if isinstance(run, UnreadableRun):
        return Verification(run, run.state, run.problem)
    state = run.state
    if state != "finished":
        resume = resume_command(run)
        hint = f"; `{resume}` finishes it" if resume else ""
        return Verification(run, state, f"only a finished run can be verified{hint}")
    if problems := describe_damage(run):
        return Verification(run, DAMAGED, "; ".join(problems))
    try:
        return _repeat_and_compare(run, data_dir)
    except Exception as error:  # one student's broken run must not hide the other results
        hint = f" ({error.hint})" if isinstance(error, DlrunError) and error.hint else ""
        text = first_line(error).removeprefix(f"{run.folder}/")
        return Verification(run, "not repeated", f"{text}{hint}")


def _repeat_and_compare(run: Run, data_dir: Path | None) -> Verification:
    """Repeat a run in a temporary folder, and compare the two."""
    # These replace the run's own values; neither changes a number.
    replaced: dict[str, object] = {"threads": run.record.threads or 1, "logger": []}
    ignored = KEYS_THAT_MAY_DIFFER | replaced.keys()
    # The run is read before the repetition, which may take hours.
    original = _comparable_values(run, ignored)
    provenance = RunProvenance.of_run(run)
    stop = StopRequest()
    with stop.handle_signals(), tempfile.TemporaryDirectory(prefix="dlrun-verify-") as runs:
        options = RunOptions(
            values=_layers_of_repetition(run, replaced),
            runs_dir=Path(runs),
            data_dir=data_dir,
            temporary=True,
            screen=Screen(quiet=True, shows_results=False),
        )
        try:
            _, folder = run_experiment(experiment_of(run), options)
            assert folder is not None  # not a dry run
            repetition = Run.open(folder)
            differences = _find_differences(original, _comparable_values(repetition, ignored))
            causes = provenance.differences(RunProvenance.of_run(repetition))
        finally:
            stop.ignore_signals()  # no signal interrupts the removal
    return Verification(
        run,
        "different" if differences else IDENTICAL,
        repeated=repetition.record.metrics.get(main_metric(run.record) or ""),
        differences=differences,
        causes=causes,
    )


def _layers_of_repetition(run: Run, replaced: Mapping[str, object]) -> list[ConfigLayer]:
    """The published numbers are the shipped ones, and not the run's."""
    values = {key: value for key, value in run.record.config.items() if key != "reference"}
    own = config_layer_from_values(values, str(run.folder / CONFIG))
    return [own, config_layer_from_values(replaced, "dlrun verify")]


def _comparable_values(run: Run, ignored: Collection[str]) -> dict[str, object]:
    """Collect a run's metrics, the other fields of its record, and digests of its files.

    The keys are dotted. What may differ is left out, and so are the `ignored` keys of the config.
    """
    record = run.record.model_dump(exclude=run.record.fields_that_may_differ())
    for key in BY_PATH:
        if isinstance(by_path := record.get(key), dict):
            record[key] = [(Path(path).name, value) for path, value in by_path.items()]
    record["config"] = flatten_keys_except(record["config"], ignored)
    values = flatten_keys({"metrics": record.pop("metrics"), **record})
    for name in sorted(run.record.files.keys() - FILES_THAT_MAY_DIFFER - set(run.record.figures)):
        content = run.read(name)
        try:
            comparable = _comparable_content(run, name, content, ignored)
        except Exception:  # a file with a right checksum can hold anything
            comparable = content
        values[f"files.{name}"] = hashlib.sha256(repr(comparable).encode()).hexdigest()[:12]
    return values


def _comparable_content(run: Run, name: str, content: bytes, ignored: Collection[str]) -> object:
    """Seconds, folders and the `ignored` keys of a config are left out."""
    if name == CONFIG:
        return flatten_keys_except(read_yaml_file(run.folder / name).values, ignored)
    if not name.endswith(".csv"):
        return content
    heads, rows = parse_csv(content)
    return [
        [Path(cell).name for cell in column] if column[0] == IMAGE_COLUMNS[0] else column
        for column in zip(heads, *rows, strict=True)
        if column[0] != SECONDS
    ]


def _find_differences(
    original: Mapping[str, object], repeated: Mapping[str, object]
) -> list[Difference]:
    """A value differs if only one run states it, or if its text differs: 1 is not 1.0."""
    differences = []
    for key in dict.fromkeys([*original, *repeated]):
        if repr(original.get(key, ...)) != repr(repeated.get(key, ...)):
            name = key.removeprefix("metrics.").removeprefix("files.")
            differences.append(Difference(name, original.get(key), repeated.get(key)))
    return differences
