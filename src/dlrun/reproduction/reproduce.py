"""Run the lab's experiments over seeds and write their numbers beside the book's."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import read_file
from dlrun.errors import ConfigError, DlrunError, Stopped
from dlrun.experiments import registry
from dlrun.reports.page import check_page
from dlrun.reproduction.experiment_runs import ExperimentRuns, find_data
from dlrun.reproduction.output import (
    FEW,
    PAGE_MARK,
    TABLE_MARK,
    experiments_on,
    markdown,
    page,
)
from dlrun.reproduction.output import HEAD as COLUMNS
from dlrun.reproduction.verdicts import Metric, mark, reservations, rows
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.folder import to_json
from dlrun.runs.distributed import find_process_group
from dlrun.sweeps.processes import preload
from dlrun.sweeps.search import MAX_POINTS, parse_seeds
from dlrun.system.console import Screen, format_table, pluralize, printable
from dlrun.system.files import write_atomically

BESIDE = ("what", "n", "seconds", "command")  # columns that have no room on a screen
HEAD = {key: head for key, head in COLUMNS.items() if key not in BESIDE}
LEGEND = """\
95 % of runs: where one more run here would lie. Here is within, where the
published number lies there too; else the runs here lie above or below it."""
FEW_SEEDS = "with so few seeds `within` says little: --seeds 10 says more"


def reproduce(
    names: Sequence[str], seeds: str, out: Path, options: RunSettings, command: str
) -> int:
    """Run the experiments that have published numbers, or the named ones; return the exit code.

    One whose data are missing is named with the reason, and the others are run. A seed that was
    run before, with the same code, packages and data, is not run again.

    Args:
        names: of experiments; none: all.
        seeds: as `--seeds` of a sweep.
        out: the page; the table lies beside it, as .md.
        options: accelerator, folders, what is shown.
        command: that continues it.

    Raises ConfigError before anything begins, DlrunError if nothing could be run; Interrupted or
    Terminated once a run has ended.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    with errors_as_json(screen, wanted=options.json):
        if started := find_process_group():
            raise ConfigError(f"{started}, each of which would do it", f"leave {started.by} out")
        numbers = list(parse_seeds(seeds))
        if len(numbers) > MAX_POINTS:
            raise ConfigError(
                f"--seeds {seeds}: {len(numbers):,}: more than {MAX_POINTS:,}", "fewer"
            )
        wanted = _wanted(names, screen)
        table = _table_of(out, wanted, force=options.force)
        failures: dict[str, str] = {}
        parts = [find_data(name, numbers, options, failures, screen) for name in wanted]
        for part in parts:
            if part.missing:
                screen.warn(f"not run: {part.name}: {part.missing}")
        there = [part for part in parts if not part.missing]
        if not there:
            raise DlrunError("no experiment could be run", "get what is missing, and run it again")
        # Every config is checked before anything begins.
        preload({part.name: part.planned[0][0] for part in there})
        try:
            for place, part in enumerate(there, start=1):
                screen.note(
                    f"[{place}/{len(there)}] {part.name}: {pluralize(len(part.seeds), 'run')}"
                )
                part.run(screen)
                _write(parts, out, table, command)
        except (Stopped, DlrunError) as why:
            screen.warn(f"not done; continue with: {command}")
            if any(part.runs for part in parts):
                _write(parts, out, table, command)
            if options.json and isinstance(why, Stopped):
                _print_json(parts, out, command, "interrupted", screen)
            raise
        if options.json:
            failed = any(part.failed for part in parts)
            _print_json(parts, out, command, "failed" if failed else "finished", screen)
        else:
            _show(parts, out, table, run_context.data_dir(options.data_dir), screen)
    named_missing = names and any(part.missing for part in parts)
    return 1 if named_missing or any(part.failed for part in parts) else 0


def _table_of(out: Path, wanted: Sequence[str], *, force: bool) -> Path:
    """Return the path of the table beside the page.

    Raises ConfigError if either cannot be written, or the page holds more than is wanted.
    """
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: not a page's name", "name it FILE.html")
    table = out.with_suffix(".md")
    check_page(out, force=force, ours=PAGE_MARK)
    check_page(table, force=force, ours=TABLE_MARK.encode())
    if not force and (others := [name for name in experiments_on(out) if name not in wanted]):
        raise ConfigError(
            f"--out {out}: holds {', '.join(others)} too, which would be lost",
            "choose another name, or --force",
        )
    return table


def _wanted(names: Sequence[str], screen: Screen) -> list[str]:
    """Return the named experiments, or all that have published numbers, in the book's order.

    Raises ConfigError if a named one has no published numbers.
    """
    entries = [registry.entry(name) for name in dict.fromkeys(names)] or registry.entries()
    found = []
    for entry in entries:
        try:
            reference = read_file(entry.defaults).values.get("reference")
        except DlrunError as error:  # somebody's package
            screen.warn(f"left out: {error.message}")
            continue
        if isinstance(reference, dict) and isinstance(reference.get("book"), dict):
            found.append(entry.name)
        elif names:
            raise ConfigError(f"{entry.name}: nothing is published of it", "`dlrun sweep` it")
    return found


def _write(parts: Sequence[ExperimentRuns], out: Path, table: Path, command: str) -> None:
    """Write the page and the table of the runs that are done. Raises DlrunError."""
    machine = _machine(parts)
    made = f"{command}, dlrun {metadata.version('dlrun')}, {datetime.now(UTC):%Y-%m-%d}"
    texts = {out: page(parts, machine, command), table: markdown(parts, machine, made)}
    for path, text in texts.items():
        try:
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise DlrunError(f"--out {path}: {error.strerror}", "choose another place") from None


def _machine(parts: Sequence[ExperimentRuns]) -> dict[str, str]:
    """Return what the runs were done on: if it was several machines, each value that differs."""
    found: dict[str, dict[str, None]] = {}
    for run in (run for part in parts for run in part.runs):
        try:
            about = run.environment
        except DlrunError:  # removed or damaged; `dlrun runs check` says so
            continue
        extra = about.model_extra or {}
        device = run.record.accelerator.used if run.record.accelerator else None
        values = {
            "processor": extra.get("processor"),
            "cores": about.threads,
            "computed on": device,
            "system": extra.get("platform"),
            "Python": extra.get("python"),
            "torch": about.packages.get("torch"),
            "scikit-learn": about.packages.get("scikit-learn"),
            "dlrun": about.dlrun,
        }
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    return {name: " and ".join(values) for name, values in found.items()}


def _print_json(
    parts: Sequence[ExperimentRuns], out: Path, command: str, status: str, screen: Screen
) -> None:
    about = {"status": status, **_as_object(parts, out, command)}
    with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
        screen.out.file.write(to_json(about))
        screen.out.file.flush()


def _show(
    parts: Sequence[ExperimentRuns], out: Path, table: Path, data_dir: Path, screen: Screen
) -> None:
    """Show the table, what is missing, and where the files are."""
    reserved = reservations(parts)
    found = [(part, row) for part in parts for row in rows(part)]
    cells = [[row.name, *(row.cells[key] for key in HEAD)] for _, row in found]
    left = {0, *(place for place, key in enumerate(HEAD, start=1) if "verdict" in key)}
    head, *lines = format_table([["", *HEAD.values()], *cells], left=left)
    screen.show(Text(head, style="bold"))
    last = None
    for (part, _), line in zip(found, lines, strict=True):
        if part is not last:
            about = f"{pluralize(len(part.runs), 'run')} of {part.seconds:.1f} s"
            screen.show(Text(f"{part.name}, {about}{mark(part, reserved)}"))
            last = part
        screen.show(Text(line))
    screen.show(Text(LEGEND))
    for why, place in reserved.items():
        screen.show(Text(f"[{place}] {printable(why)}"))
    for part in parts:
        if part.missing:
            screen.show(Text(f"not run: {part.name}: {printable(part.missing)}"))
        for seed, why in part.failed.items():
            screen.show(Text(f"failed: {part.name}, seed {seed}: {printable(why)}"))
    if any(part.missing for part in parts):
        screen.show(Text(f"put what is missing into {data_dir}, and run the same command"))
    if any(len(part.runs) < FEW for part, row in found if isinstance(row, Metric)):
        screen.show(Text(FEW_SEEDS))
    for label, path in (("page", out), ("table", table)):
        screen.show(Text(f"{label:<7}", style="bold") + Text(str(path)))


def _as_object(parts: Sequence[ExperimentRuns], out: Path, command: str) -> dict[str, Any]:
    """Return the numbers as JSON has them."""
    return {
        "command": command,
        "page": str(out),
        "machine": _machine(parts),
        "experiments": [
            {
                "experiment": part.name,
                "seeds": part.seeds,
                "not_run": part.missing or None,
                "failed": part.failed,
                "runs": [str(run.folder) for run in part.runs],
                "reserved": part.reserved or None,
                "seconds": part.seconds if part.runs else None,
                "command": part.command(),
                "rows": [row.as_object for row in rows(part)],
            }
            for part in parts
        ],
    }
