"""How runs at once share this machine: cores, threads, memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.system.console import pluralize
from dlrun.system.threads import resolve_threads, usable_cores

ASSUMED = 1_200_000_000  # bytes of a run, before one was measured: more than each of the lab's
SPARED = 0.1  # share of what is free that is left to others


@dataclass(frozen=True)
class Share:
    """Runs at once, and the threads of each; None: as many as it would take alone.

    note: what the user should know of it. accelerator: asked for, where the user did not say how
    many run at once: a device that is found is for one of them; empty: the CPU.
    """

    jobs: int
    threads: int | None = None
    note: str = ""
    accelerator: str = ""


def share_cores(configs: Sequence[ExperimentConfig], jobs: int | None) -> Share:
    """As many runs as fill the cores, or `jobs`.

    Fewer threads than a run takes alone only where that changes none of its bits.
    """
    cores = usable_cores()
    networks = [one.accelerator for one in configs if isinstance(one, NetworkConfig)]
    devices = [one for one in networks if one != "cpu"] if jobs is None else []
    asked = devices[0] if devices else ""
    alone = max(resolve_threads(one.threads, one.max_threads, 1) for one in configs)
    if all(one.threads == "auto" and one.thread_invariant for one in configs):
        at_once = jobs or cores
        return Share(at_once, max(1, cores // at_once), accelerator=asked)
    at_once = jobs or max(1, cores // alone)
    note = ""
    if at_once > 1 and at_once * alone > cores:
        note = (
            f"each run keeps the {pluralize(alone, 'thread')} that it has alone, for they can "
            f"change its bits: {at_once} at once wait for {pluralize(cores, 'core')}"
        )
    return Share(at_once, None, note, asked)


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
