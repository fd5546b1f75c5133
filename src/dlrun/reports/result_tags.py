"""Define the report's tags: what weakens a result, and why or what helps."""

from typing import NamedTuple

from dlrun.groups import FEWEST
from dlrun.run_folder.recorded_metrics import HOLD_OUT


class Tag(NamedTuple):
    """Names what weakens a result, and says why or what helps, with commands in backticks."""

    name: str
    reason: str
    is_problem: bool = False  # shown in red


FAILED = Tag("failed", "a run ended by an error, which its section names", is_problem=True)
UNFINISHED = Tag("unfinished", "a run that has not ended, or was killed, is in no mean")
DAMAGED = Tag("damaged", "a file of a run was changed, and is not shown", is_problem=True)
DIVERGED = Tag(
    "diverged", "the training loss ended above its first value, or is no number", is_problem=True
)
COPY = Tag("copy", "a run's folder was copied; only the original counts")
REPEATED = Tag("repeated", "of runs with the same config, seed and data the last one counts")
GENERATED = Tag("generated data", "they show that everything works, and nothing about the book")
NOT_COMPARED = Tag("not compared", "the book's numbers do not judge it; its section says why")
CHOSEN_BY_TEST = Tag("chosen by the test rows", f"the test metric is too good: {HOLD_OUT}")
ONE_SEED = Tag("1 seed", "another seed can give another number: `dlrun sweep ... --seeds 5`")
FEW_SEEDS = Tag("few seeds", f"fewer than {FEWEST} say too little of the range of runs")
NOT_RANKED = Tag("not ranked", "`--set 'metrics={NAME: higher}'`, or lower, says what is better")
