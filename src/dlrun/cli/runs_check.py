"""`dlrun runs check`: read runs back, and report damaged files and copies of runs."""

from collections import Counter

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import describe_damage, open_runs, print_result_table, readable_runs
from dlrun.config.yaml_loader import Values
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import DAMAGED, OTHER_VERSION, ScannedRun, UnreadableRun
from dlrun.runs.tables import Column
from dlrun.system.console import Screen, pluralize

CHECKED = (
    Column("run"),
    Column("experiment"),
    Column("state"),
    Column("files", is_number=True),
    Column("result"),
)


def check(runs: opt.RunsOrAll = None, json: opt.Json = False, runs_dir: opt.RunsDir = None) -> int:
    """Read runs back and say which are undamaged: records, checkpoints, weights, tables, figures.

    Exits with 1 if a file is damaged, or a run is a copy of another one, or of another version.

    Examples:
    dlrun runs check
    dlrun runs check imdb-dense/latest --json
    """
    screen = Screen(shows_results=not json)
    rows = list[Values]()
    opened = open_runs(runs, resolve_runs_dir(runs_dir))
    copies = find_copies(map(CopyOrder.of_run, readable_runs(opened)))
    for name, run in opened:
        row = {"run": name, "folder": str(run.folder), "state": run.state}
        rows.append(row | _check_run(run, copies.get(run.folder)))
    if json:
        screen.print_json(rows)
    print_result_table(CHECKED, rows, [row["problems"] for row in rows], screen)
    counts = Counter(row["result"] for row in rows)
    text = f"{pluralize(len(rows), 'run')}, {counts[DAMAGED]} damaged"
    text += f", {len(copies)} copied" if copies else ""
    others = counts[OTHER_VERSION]
    text += f", {others} of another version" if others else ""
    screen.note(text)
    return 1 if counts[DAMAGED] or copies or others else 0


def _check_run(run: ScannedRun, copy: str | None) -> Values:
    """Return what was found in a run's folder. copy: of which run it is a copy, in words."""
    if isinstance(run, UnreadableRun):
        return {"experiment": None, "files": 0, "result": run.state, "problems": [run.problem]}
    problems = describe_damage(run)
    result = "copy" if copy else "whole"
    if problems:
        result = DAMAGED
    return {
        "experiment": run.record.experiment,
        "files": len(run.record.files),
        "result": result,
        "problems": [*problems, copy] if copy else problems,
    }
