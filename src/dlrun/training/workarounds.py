"""Correct a fault of Lightning 2.6, for which Lightning has no public function."""

from typing import Any


def begin_next_epoch_when_resumed(checkpoint: dict[str, Any]) -> None:
    """Change a Lightning checkpoint so that a resumed run begins the next epoch.

    An epoch is recorded when the next one begins, since only then its schedulers have been stepped.
    Lightning 2.6 calls that next epoch restarted, and leaves out the schedulers' step after it.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    for counts in (progress["total"], progress["current"]):
        counts["ready"] = counts["started"]
