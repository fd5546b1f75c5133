"""List the states that a run can be in, such as waiting, running, finished or damaged."""

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
