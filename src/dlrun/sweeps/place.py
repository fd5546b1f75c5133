"""Say where the runs of a sweep are executed: on this machine or on SLURM."""

from dataclasses import dataclass
from typing import TypeAlias

from dlrun.slurm.submit import SlurmOptions


@dataclass(frozen=True)
class ThisMachine:
    """Says that runs are executed in processes of this machine.

    jobs: how many run at once; None: as many as are useful.
    """

    jobs: int | None = None
    is_local = True


@dataclass(frozen=True)
class Slurm:
    """Says that runs are executed in jobs of SLURM.

    wait: whether the command waits until they have ended.
    """

    options: SlurmOptions
    wait: bool = False
    is_local = False


Place: TypeAlias = ThisMachine | Slurm
