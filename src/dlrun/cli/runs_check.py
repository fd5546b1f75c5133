"""`dlrun runs check`: report damaged files of runs, and copies."""

from collections import Counter

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import describe_damage, open_runs, show_results
from dlrun.config.yaml_loader import Values
from dlrun.runs.copies import CopyOrder, find_copies
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import OTHER_VERSION
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
    copies = find_copies(CopyOrder.of_run(run) for _, run in opened)
    for name, run in opened:
        problems = describe_damage(run)
        result = "copy" if run.folder in copies else "whole"
        if problems:
            result = run.state if run.is_other_version else "damaged"
        row: Values = {
            "run": name,
            "folder": str(run.folder),
            "experiment": run.record.experiment if run.is_readable else None,
            "state": run.state,
            "files": len(run.record.files),
            "result": result,
            "problems": [*problems, *filter(None, [copies.get(run.folder)])],
        }
        rows.append(row)
    if json:
        screen.print_json(rows)
    show_results(CHECKED, rows, [row["problems"] for row in rows], screen)
    counts = Counter(row["result"] for row in rows)
    text = f"{pluralize(len(rows), 'run')}, {counts['damaged']} damaged"
    text += f", {len(copies)} copied" if copies else ""
    others = counts[OTHER_VERSION]
    text += f", {others} of another version" if others else ""
    screen.note(text)
    return 1 if counts["damaged"] or copies or others else 0
