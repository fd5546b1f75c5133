"""The table as Markdown: what can stand in a README. It names no folder of this machine."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from dlrun.reproduction.experiment_runs import ExperimentRuns
from dlrun.reproduction.verdicts import Row, mark, reservations, rows
from dlrun.system.console import printable

OURS = "<!-- dlrun reproduce"  # a file that may be overwritten
HEAD = {
    "what": "experiment, metric",
    "book": "book",
    "verdict on book": "here is",
    "notebook": "notebook",
    "verdict on notebook": "here is",
    "here": "here",
    "sd": "sd",
    "n": "n",
    "interval": "95 % of runs",
    "seconds": "seconds a run",
    "command": "command",
}
LEGEND = (
    "Here: the mean over n seeds. 95 % of runs: where one more run here would lie (Student's t; "
    "wide where n is small). Here is within, where the published number, as it is rounded, lies "
    "there too; else the runs here lie above it, or below. First labels: photographs whose most "
    "probable label is the book's. Seconds: the median run's; the first of a process loads its "
    "libraries too."
)


def markdown(parts: Sequence[ExperimentRuns], machine: Mapping[str, str], made: str) -> str:
    """The table, what it means, what is missing and why, the machine; `made` by which command."""
    on = ", ".join(f"{name} {value}" for name, value in machine.items())
    reserved = reservations(parts)
    comment = _plain(made).replace("-->", "")  # which would end it
    lines = [f"<!-- {comment} -->", "", _line(HEAD.values()), _line("---" for _ in HEAD)]
    for part in parts:
        lines += [_line(_cells(row, mark(part, reserved))) for row in rows(part)]
    notes = [f"[{place}] {why}." for why, place in reserved.items()]
    notes += [f"Not run: {part.name}: {part.missing}." for part in parts if part.missing]
    notes += [f"Not yet run: {part.name}: {part.unfinished}." for part in parts if part.unfinished]
    notes += [
        f"Failed: {part.name}, seed {seed}: {why}."
        for part in parts
        for seed, why in part.failed.items()
    ]
    notes.append(f"Machine: {on}.")
    return "\n".join([*lines, "", LEGEND, "", *(f"- {_text(note)}" for note in notes), ""])


def _cells(row: Row, behind: str) -> list[str]:
    cells = row.cells | {
        "what": f"{row.part.name}, {row.name}{behind}",
        "seconds": f"{row.part.seconds:.1f}",
    }
    found = {key: _text(text) for key, text in cells.items()}
    return [found.get(key, _code(row.part.command())) for key in HEAD]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """In one line and one cell, whatever is in it: no HTML, no control characters."""
    return escape(_plain(text), quote=False).replace("|", r"\|")


def _code(command: str) -> str:
    """Within backticks nothing is HTML, unless there is one in it."""
    if "`" in command:
        return f"<code>{_text(command)}</code>"
    return "`" + _plain(command).replace("|", r"\|") + "`"


def _plain(text: str) -> str:
    return printable(" ".join(text.split()))
