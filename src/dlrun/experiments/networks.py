"""What the experiments that train a network have in common: fit, draw, report."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dlrun.session import Results, Session

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlrun.experiments.sections import Network
    from dlrun.training.data import ArrayData


def train_network(
    config: "Network",
    session: Session,
    build: "Callable[[], nn.Module]",
    data: "ArrayData",
    *,
    classes: int,
    example: "Tensor",
    origin: str,
    accuracy_from: float = 0,
) -> Results:
    """Train, test, and draw the learning curves.

    Args:
        config: the experiment's config.
        session: where everything goes.
        build: makes the untrained network.
        data: its batches.
        classes: how many there are.
        example: an input, for the summary.
        origin: what the data are.
        accuracy_from: where the figure's accuracy axis begins.
    """
    from dlrun import plots  # slow imports come once a run begins
    from dlrun.training.fit import fit

    metrics, report, parameters = fit(config, session, build, data, classes, example)
    with session.phase("figures"), session.folder.replacing("learning_curves.png") as path:
        plots.learning_curves(
            session.folder.path / "metrics.csv",
            metrics,
            path,
            title=origin,
            accuracy_from=accuracy_from,
        )
    return Results(
        metrics=metrics,
        reference=config.reference.model_dump(),
        accelerator=report,
        data=origin,
        figures=["learning_curves.png"],
        more={"parameters": parameters, "epochs": config.trainer.max_epochs},
    )
