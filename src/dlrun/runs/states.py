"""Name the states of runs, of those that cannot be read too."""

from enum import StrEnum

from dlrun.runs.run import DAMAGED, OTHER_VERSION


class RunState(StrEnum):
    """Lists the states of runs, as `Run.state` and `UnreadableRun.state` return them."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"
    killed = "killed"
    damaged = DAMAGED
    other_version = OTHER_VERSION
