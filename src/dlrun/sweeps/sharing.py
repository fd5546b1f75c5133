"""How runs at once share this machine: cores, threads, memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.config.sections import ExperimentConfig
from dlrun.declaration.experiment import AnyExperiment
from dlrun.screen import counted
from dlrun.threads import chosen, usable_cores

ASSUMED = 1_200_000_000  # bytes of a run, before one was measured: more than each of the lab's
SPARED = 0.1  # share of what is free that is left to others


@dataclass(frozen=True)
class Share:
    """Runs at once, and the threads of each; None: as many as it would take alone.

    note: what the user should know of it.
    """

    jobs: int
    threads: int | None = None
    note: str = ""


def shared(
    experiment: AnyExperiment, configs: Sequence[ExperimentConfig], jobs: int | None
) -> Share:
    """As many runs as fill the cores, or `jobs`.

    Fewer threads than a run takes alone only where that changes none of its bits.
    """
    cores = usable_cores()
    alone = max(chosen(one.threads, experiment.most_threads, 1) for one in configs)
    if all(one.threads == "auto" and experiment.any_threads(one) for one in configs):
        jobs = jobs or cores
        return Share(jobs, max(1, cores // jobs))
    jobs = jobs or max(1, cores // alone)
    note = ""
    if jobs > 1 and jobs * alone > cores:
        note = (
            f"each run keeps the {counted(alone, 'thread')} that it has alone, for they can "
            f"change its bits: {jobs} at once wait for {counted(cores, 'core')}"
        )
    return Share(jobs, None, note)


def fitting(jobs: int, free: int | None, held: int, peak: int | None) -> int:
    """How many runs at once the memory holds, from 1 to `jobs`.

    Args:
        jobs: at most.
        free: bytes that can still be had; None where nobody tells.
        held: bytes that this sweep's own runs hold of what is not free.
        peak: the most that a run has held; None before one was measured.
    """
    if free is None:
        return jobs
    room = (1 - SPARED) * (free + held)
    return max(1, min(jobs, int(room / (peak or ASSUMED))))
