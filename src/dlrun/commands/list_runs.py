"""`dlrun runs list` and `dlrun runs check`: list runs, and report damaged files of runs."""

import contextlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import (
    flatten_keys,
    format_setting,
    parse_set_override,
    read_yaml_file,
)
from dlrun.errors import ConfigError, DlrunError, did_you_mean
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run, scan_folder, scan_runs
from dlrun.run_folder.checkpoint import find_damaged_checkpoints
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG, to_csv, to_json
from dlrun.run_folder.metrics import ACCURACY, TESTED, format_metric, main_metric, published_metrics
from dlrun.run_folder.record import RESULTS
from dlrun.system.console import Screen, format_size, format_text_table, pluralize, printable
from dlrun.system.files import file_digest, folder_size

COLUMNS = ("name", "experiment", "state", "value", "book", "seconds", "size", "differs")
ABOUT = (
    "name", "experiment", "state", "metric", "value", "interval", "book", "seconds", "size",
    "differs", "began", "folder", "problem",
)  # fmt: skip
TEXTS = {"name", "experiment", "state", "differs", "problem", "folder", "began", "metric"}
EMPTY = "-"  # a cell is never empty, because programs split a line into words
MAX_VALUE = 24  # characters of a value in the column `differs`
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(rf"\s*([\w.-]+?)\s*({'|'.join(OPERATORS)})\s*(.*\S)\s*", re.DOTALL)

Values = dict[str, Any]  # of a run, by key: of the list, its config and record, `metrics.NAME`


def list_runs(
    experiment: str | None = None,
    *,
    status: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    columns: str | None = None,
    json: bool = False,
    csv: bool = False,
    runs_dir: Path | None = None,
) -> None:
    """List the runs in the states `status` that meet all conditions `where`, the newest first.

    Raises ConfigError if there are no runs, or if a key or condition is invalid.
    """
    screen, folder = Screen(), run_context.resolve_runs_dir(runs_dir)
    if json and csv:
        raise ConfigError("--json and --csv: only one of them", "choose one")
    runs = [_values(run) for run in scan_or_fail(folder, experiment)]
    keys = [key.strip() for key in columns.split(",")] if columns else []
    _check_keys([*keys, *([sort.removeprefix("-")] if sort else [])], runs)
    conditions = [_parse_condition(text, runs) for text in where]
    listed = [
        run
        for run in runs
        if (not status or run["state"] in status) and all(meets(run) for meets in conditions)
    ]
    listed = (_sort(listed, sort) if sort else listed)[:limit]
    if json:
        keys = keys or [*ABOUT, "metrics", "config"]
        objects = [to_json({key: run.get(key) for key in keys}).rstrip() for run in listed]
        screen.out.file.write("[\n" + ",\n".join(objects) + "\n]\n")
    elif csv:
        keys = keys or [key for key in ABOUT if key != "interval"]
        rows = [
            [format_setting(value) if isinstance(value, dict | list) else value for value in cells]
            for cells in ([run.get(key) for key in keys] for run in listed)
        ]
        screen.out.file.write(to_csv([keys, *rows]).decode().replace("\r\n", "\n"))
    else:
        _show(listed, keys or COLUMNS, screen)
    if len(listed) < len(runs):
        screen.note(f"{len(listed)} of {pluralize(len(runs), 'run')}")


def scan_or_fail(runs_dir: Path, experiment: str | None) -> list[Run]:
    """Return all runs, or those of one experiment. Raises ConfigError if there are none."""
    if runs := scan_runs(runs_dir, experiment):
        return runs
    if experiment is None:
        raise ConfigError(f"{runs_dir}: no runs here", "name a folder of runs by --runs-dir")
    known = {path.name for path in runs_dir.glob("*") if path.is_dir()}
    known.update(registry.experiment_names())
    hint = "" if experiment in known else did_you_mean(experiment, known)
    raise ConfigError(f"{runs_dir / experiment}: no runs here{hint}", "`dlrun runs list` has all")


def _values(run: Run) -> Values:
    record, metric = run.record, main_metric(run.record)
    config, differs = {}, {}
    if not run.unreadable:
        config = run.effective_config()
        with contextlib.suppress(ConfigError):  # the experiment is not installed
            differs = run.changed_settings()
    about = {
        "name": run.name,
        "experiment": record.experiment,
        "state": run.state,
        "metric": metric,
        "value": record.metrics[metric] if metric else None,
        "interval": record.interval,
        "book": published_metrics(record).get("book", {}).get(metric) if metric else None,
        "seconds": record.seconds.get("total"),
        "size": folder_size(run.folder),
        "differs": differs,
        "began": record.started,
        "folder": str(run.folder),
        "problem": run.problem,
    }
    values = {} if run.unreadable else flatten_keys(record.model_dump())
    return values | config | about | {"metrics": record.metrics, "config": config}


def _check_keys(keys: Iterable[str], runs: Sequence[Values]) -> None:
    """Raise ConfigError if a key occurs in no run, because it is probably mistyped."""
    known = {key for run in runs for key in run}
    for key in keys:
        if key not in known:
            close = [one for one in sorted(known) if one.endswith(f".{key}")]
            hint = f"; did you mean {close[0]!r}?" if close else did_you_mean(key, known)
            raise ConfigError(
                f"no run has a key {key!r}{hint}",
                "keys are those of `dlrun runs list --json`, of the configs and of results.json",
            )


def _parse_condition(text: str, runs: Sequence[Values]) -> Callable[[Values], bool]:
    """Return a function that tests a condition such as `KEY>VALUE` for a run's values.

    A run without the key does not meet it. Raises ConfigError if the condition is invalid, or if
    its value cannot be compared with that of any run.
    """
    parts = CONDITION.fullmatch(text)
    if not parts:
        raise ConfigError(
            f"--where {text!r}: expected a key, one of = != < <= > >=, a value",
            "as in --where 'optimizer.lr>0.001', in quotes for the shell",
        )
    key, sign, wanted = parts[1], parts[2], parts[3]
    with contextlib.suppress(ConfigError):  # a value that is not YAML is a text
        wanted = parse_set_override(f"value={wanted}").values["value"]
    _check_keys([key], runs)
    values = [run[key] for run in runs if run.get(key) is not None]
    if values and all(_compare(value, sign, wanted) is None for value in values):
        raise ConfigError(
            f"--where {text!r}: {key} is {values[0]!r} in a run, "
            f"which cannot be compared with {wanted!r}",
            "compare numbers with numbers (without a unit), texts with texts, lists with lists, "
            "as in 'model.hidden=[16, 16]'",
        )

    def meets(run: Values) -> bool:
        met = _compare(run[key], sign, wanted) if key in run else False
        return sign == "!=" if met is None else met

    return meets


def _compare(value: object, sign: str, wanted: object) -> bool | None:
    """Return whether a comparison of two values holds; None if their types differ."""
    value = list(value) if isinstance(value, tuple) else value
    if None not in (value, wanted):
        for kind in (bool, list):
            if isinstance(value, kind) != isinstance(wanted, kind):
                return None
    try:
        return OPERATORS[sign](value, wanted)
    except TypeError:
        return None


def _sort(runs: Sequence[Values], key: str) -> list[Values]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z; `-KEY` reverses both.

    Runs without a value come last. Runs with equal values keep their order.
    """
    reverse, key = key.startswith("-"), key.removeprefix("-")
    known = [run for run in runs if run.get(key) is not None]
    numbers = [run for run in known if isinstance(run[key], int | float)]
    texts = [run for run in known if not isinstance(run[key], int | float)]
    numbers.sort(key=lambda run: run[key], reverse=not reverse)
    texts.sort(key=lambda run: str(run[key]), reverse=reverse)
    return [*numbers, *texts, *(run for run in runs if run.get(key) is None)]


def format_differences(values: dict[str, Any]) -> str:
    """Return settings as one short text such as `lr=0.01 seed=3`, with long values cut.

    Data settings and paths come last, because they are the least important.
    """
    ordered = sorted(values, key=lambda key: (key.startswith("data."), "/" in str(values[key])))
    leaves = [key.rpartition(".")[2] for key in ordered]
    return " ".join(
        f"{leaf if leaves.count(leaf) == 1 else key}={_shorten(values[key])}"
        for key, leaf in zip(ordered, leaves, strict=True)
    )


def _shorten(value: object) -> str:
    if isinstance(value, str) and "/" in value:
        value = "…/" + value.rstrip("/").rpartition("/")[2]
    text = "_".join(format_setting(value).split())
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def format_value(value: object) -> str:
    """Return a value as text for the screen: lists as JSON, metrics rounded."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_metric(value) if is_number or value is None else format_setting(value)


def _show(runs: Sequence[Values], keys: Sequence[str], screen: Screen) -> None:
    """Print a table of runs; a terminal gets lines cut to its width, and no empty columns."""
    metrics = {run["metric"] for run in runs} - {None}
    metric = metrics.pop() if len(metrics) == 1 else None
    heads = {"value": (metric or "metric").removeprefix(TESTED), "seconds": "sec"}
    columns = {
        key: [_format_cell(run, key, name_metric=metric is None) for run in runs] for key in keys
    }
    if screen.out.is_terminal:
        columns = {key: cells for key, cells in columns.items() if {*cells} != {EMPTY}}
    rows = [[heads.get(key, key) for key in columns], *zip(*columns.values(), strict=True)]
    left = {place for place, key in enumerate(columns) if key in TEXTS}
    lines = [Text(line) for line in format_text_table(rows, left=left, gap=1)]
    for line in lines if screen.out.is_terminal else ():
        line.truncate(screen.out.width, overflow="ellipsis")
    screen.show(Text("\n").join(lines))


def _format_cell(run: Values, key: str, *, name_metric: bool) -> str:
    """Return the text of one cell of the table; `name_metric` adds the name of the metric."""
    value = run.get(key)
    match key:
        case "differs":
            text = run["problem"] or format_differences(value or {})
        case "size":
            text = format_size(value or 0).replace(" ", "")
        case "seconds" if value is not None:
            text = f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        case "value" if name_metric and run["metric"] not in (None, ACCURACY):
            text = f"{run['metric'].removeprefix(TESTED)}={format_value(value)}"
        case _:
            text = format_value(value)
    return printable(text) or EMPTY


def check(run: str | None = None, *, runs_dir: Path | None = None) -> int:
    """Check all files of a run, or of all runs, for damage; return 1 if a file is damaged, else 0.

    Raises ConfigError if there are no runs.
    """
    screen, folder = Screen(), run_context.resolve_runs_dir(runs_dir)
    if run is None:
        runs = sorted(scan_or_fail(folder, None), key=lambda run: run.folder)
    else:
        named = Path(run).expanduser()
        runs = [scan_folder(named.resolve() if named.is_dir() else find_run(run, folder))]
    runs = [run for run in runs if run.state != "foreign"]
    damaged = 0
    for checked in runs:
        problems = list(_find_damage(checked))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(problem)
        if not problems:
            files = len(checked.record.files | checked.record.written)
            verdict = f"whole ({checked.state}, {files} checked files)"
            screen.show(Text(f"{checked.folder}: {verdict}"))
    screen.note(f"{pluralize(len(runs), 'run')}, {damaged} damaged")
    return 1 if damaged else 0


def _find_damage(run: Run) -> Iterator[str]:
    """Yield a sentence for each damaged file in a run's folder."""
    record, folder = run.record, run.folder
    if run.problem:
        yield f"{folder}: {run.problem}"
    if run.unreadable:
        return
    try:
        if edited := run.edited_keys(read_yaml_file(folder / CONFIG).values):
            yield f"{folder / CONFIG}: edited since the run: {', '.join(sorted(edited))}"
    except DlrunError as error:
        yield error.message
    for name, expected in record.digests.items():
        try:
            if file_digest(folder / name) != expected:
                yield f"{folder / name}: damaged or edited: its SHA-256 is not the one in {RESULTS}"
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"
    yield from find_damaged_checkpoints(folder, record.id)
