"""Hold what an experiment returns at the end of a run, and the published numbers beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from rich.console import RenderableType

from dlrun.config.sections import RangeOfRuns
from dlrun.config.yaml_loader import Values
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.data.split import RowCounts, Split
from dlrun.errors import DlrunError
from dlrun.runs.record import ClassSummary
from dlrun.system.accelerator import AcceleratorChoice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DrawnFigures: TypeAlias = "dict[str, Figure]"  # by file name; matplotlib is slow to import


@dataclass
class Results:
    """Holds the results that an experiment returns, for results.json and the terminal."""

    metrics: dict[str, float]
    accelerator: AcceleratorChoice
    origin: DataOrigin
    split: Split | None = None  # None: it is not known which rows were tested
    test_rows: int | None = None  # number of rows in the test set
    rows: RowCounts | None = None  # of a table: the rows used, and those left out
    extra: dict[str, object] = field(default_factory=dict)  # further fields of results.json
    shown: list[RenderableType] = field(default_factory=list)  # results before the metrics
    exit_code: int = 0
    classes: ClassSummary | None = None  # if classes were predicted
    weights_epoch: int | None = None  # the epoch whose weights were kept and tested
    stopped_epoch: int | None = None  # the epoch after which the training ended early

    def plain_metrics(self) -> dict[str, int | float | None]:
        """The metrics are numbers of Python. Raises DlrunError if one is no number."""
        given: Mapping[str, object] = self.metrics  # of an experiment whose types nobody checked
        numbers: dict[str, int | float | None] = {}
        for name, value in given.items():
            plain = value.item() if hasattr(value, "item") else value
            if not (plain is None or isinstance(plain, int | float)):
                raise DlrunError(f"the metric {name!r} is not a number: {value!r}")
            numbers[str(name)] = plain
        return numbers


@dataclass(frozen=True)
class ComparisonWithPublished:
    """Holds the fields of a run's record that compare its results with published numbers.

    reference: the published numbers, and where they stand; empty if there are none.
    reference_differs: why the run cannot be compared with them, or None. expected: by metric, the
    range that holds 95 % of the config's runs on the book's data; empty if it was not measured.
    """

    reference: Values = field(default_factory=dict)
    reference_differs: str | None = None
    expected: dict[str, RangeOfRuns] = field(default_factory=dict)
