"""Define what an experiment returns: the results of its run, and the figures of a run."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from rich.console import RenderableType

from dlrun.data.dataset_types import DataOrigin
from dlrun.data.split import Split
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
    extra: dict[str, object] = field(default_factory=dict)  # further fields of results.json
    shown: list[RenderableType] = field(default_factory=list)  # results before the metrics
    exit_code: int = 0
    classes: ClassSummary | None = None  # if classes were predicted
    weights_epoch: int | None = None  # the epoch whose weights were kept and tested
    stopped_epoch: int | None = None  # the epoch after which the training ended early
