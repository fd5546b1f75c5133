"""What a run keeps of its test set: a row for each prediction, and the most certain mistakes."""

from typing import TYPE_CHECKING

from dlrun.data.predictions import PREDICTIONS
from dlrun.session import Session
from dlrun.store.folder import to_json

if TYPE_CHECKING:
    from dlrun.data.classified import Classified, Show


def keep_predictions(session: Session, found: "Classified", show: "Show | None") -> None:
    """Keep predictions.csv and mistakes.json; `show` says what stands beside a mistake."""
    from dlrun.data.classified import MISTAKES  # slow: numpy

    session.keep(PREDICTIONS, found.table())
    session.keep(MISTAKES, to_json({"mistakes": found.mistakes(show)}).encode())
