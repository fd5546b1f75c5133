"""`dlrun runs check`: read runs back, and report damaged files and copies of runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import describe_damage, open_runs, print_result_table, readable_runs
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import DAMAGED, OTHER_VERSION, ScannedRun, UnreadableRun
from dlrun.runs.run_tables import Column
from dlrun.system.console import Screen
from dlrun.system.text import pluralize

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
    opened = open_runs(runs, resolve_runs_dir(runs_dir))
    copies = find_copies(map(CopyOrder.of_run, readable_runs(opened)))
    checked_runs = [_CheckedRun.of_run(name, run, copies.get(run.folder)) for name, run in opened]
    rows = [run.as_row() for run in checked_runs]
    if json:
        screen.print_json(rows)
    print_result_table(CHECKED, rows, [run.problems for run in checked_runs], screen)
    counts = Counter(run.result for run in checked_runs)
    text = f"{pluralize(len(checked_runs), 'run')}, {counts[DAMAGED]} damaged"
    if copies:
        text += f", {len(copies)} copied"
    others = counts[OTHER_VERSION]
    if others:
        text += f", {others} of another version"
    screen.note(text)
    return 1 if counts[DAMAGED] or copies or others else 0


@dataclass(frozen=True)
class _CheckedRun:
    """Says what was found in a run's folder.

    files: how many the record names. result: `whole`, `copy`, `damaged` or `other version`.
    """

    name: str
    run: ScannedRun
    files: int
    result: str
    problems: Sequence[str]

    @classmethod
    def of_run(cls, name: str, run: ScannedRun, copy: str | None) -> "_CheckedRun":
        """copy: of which run it is a copy, in words."""
        if isinstance(run, UnreadableRun):
            return cls(name, run, 0, run.state, [run.problem])
        problems = describe_damage(run)
        result = "whole"
        if copy:
            result = "copy"
        if problems:
            result = DAMAGED
        if copy:
            problems = [*problems, copy]
        return cls(name, run, len(run.record.files), result, problems)

    def as_row(self) -> dict[str, object]:
        """The row is that of the table, and of the JSON output."""
        record = None if isinstance(self.run, UnreadableRun) else self.run.record
        return {
            "run": self.name,
            "folder": str(self.run.folder),
            "state": self.run.state,
            "experiment": record and record.experiment,
            "files": self.files,
            "result": self.result,
            "problems": self.problems,
        }
