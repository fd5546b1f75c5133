"""Define the tags that warn a report's reader: a weakness of a result, and its reason or remedy.

They have nothing to do with the tags that users give their runs.
"""

from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from dlrun.runs.groups import FEWEST
from dlrun.runs.shown_results import HOLD_OUT


class WarningTag(NamedTuple):
    """Holds the short name of what weakens a result, and the reason or the remedy as Markdown."""

    name: str
    reason: str
    is_problem: bool = False  # shown in red


FAILED = WarningTag("failed", "a run ended by an error, which its section names", is_problem=True)
RUNNING = WarningTag(
    "running", "a run that goes on is in no mean yet; its section has the newest step"
)
UNFINISHED = WarningTag("unfinished", "a run that waits, or was stopped or killed, is in no mean")
DAMAGED = WarningTag("damaged", "a file of a run was changed, and is not shown", is_problem=True)
DIVERGED = WarningTag(
    "diverged", "the training loss ended above its first value, or is huge", is_problem=True
)
COPY = WarningTag("copy", "a run's folder was copied; only the original counts")
REPEATED = WarningTag("repeated", "of runs with the same config, seed and data the last one counts")
GENERATED = WarningTag(
    "generated data", "they show that everything works, and nothing about the book"
)
NOT_COMPARED = WarningTag(
    "not compared", "the book's numbers do not judge it; its section says why"
)
CHOSEN_BY_TEST = WarningTag("chosen by the test rows", f"the test metric is too good: {HOLD_OUT}")
ONE_SEED = WarningTag("1 seed", "another seed can give another number: `dlrun sweep ... --seeds 5`")
FEW_SEEDS = WarningTag("few seeds", f"fewer than {FEWEST} say too little of the range of runs")
NOT_RANKED = WarningTag(
    "not ranked", "`--set 'metrics={NAME: higher}'`, or lower, says what is better"
)


def warning_tags_as_html(tags: Iterable[WarningTag]) -> Markup:
    """The labels are to be set beside a result."""
    mark = Markup(' <span class="tag {}">{}</span>')
    return Markup("").join(mark.format("bad" * tag.is_problem, tag.name) for tag in tags)
