"""Hand runs to SLURM, through submitit."""

import contextlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlrun.errors import ConfigError
from dlrun.runs import distributed
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, Job
from dlrun.slurm.options import SlurmOptions

# Of the allocation or the processes that dlrun itself runs in; SBATCH_* would overrule --slurm.
OURS = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_")
CLIENT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})  # how SLURM is reached
REQUEUES = 1000  # a job that finishes no step is not requeued (Job)


def check() -> None:
    """Raises ConfigError where nothing can be submitted from here."""
    if started := distributed.find_process_group():
        raise ConfigError(f"{started}, each of which would submit", f"leave {started.by} out")
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError("--slurm needs the package submitit", "pip install 'dlrun[slurm]'")
    if missing := [name for name in ("sbatch", "srun") if shutil.which(name) is None]:
        raise ConfigError(
            f"--slurm: no {missing[0]} on the PATH", "submit on a login node of SLURM"
        )


def submit(
    jobs: Sequence[Job],
    folder: Path,
    asked: SlurmOptions,
    name: str,
    nodes: int = 1,
    tasks: int = 1,
) -> list[str]:
    """Submit the jobs, several as an array; their ids, which their runs' folders hold too.

    Args:
        jobs: at least one.
        folder: where submitit keeps its files.
        asked: of SLURM.
        name: of the job, for squeue.
        nodes: for each job.
        tasks: processes of each job on each node.

    Raises ConfigError where SLURM refuses them.
    """
    import submitit  # imports numpy

    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    with _outside(), contextlib.redirect_stderr(io.StringIO()):  # its errors come as exceptions
        try:
            executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
            executor.update_parameters(**asked.for_submitit(name, nodes, tasks))
            submitted: list[submitit.Job[Any]] = []
            with executor.batch():
                submitted += [executor.submit(job) for job in jobs]
            numbers = [job.job_id for job in submitted]
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as e:
            lines = [line.removeprefix("sbatch: error: ") for line in str(e).splitlines() if line]
            raise ConfigError(
                f"SLURM refuses it: {'; '.join(lines)}", "sinfo shows the partitions"
            ) from None
    for job, number in zip(jobs, numbers, strict=True):
        about = Path(job.run, SLURM_FOLDER)
        about.mkdir(exist_ok=True)
        (about / NUMBER).write_text(f"{number}\n", encoding="utf-8")
    return numbers


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """In this block nothing is known of the allocation or the processes that this one is in."""
    names = [
        name
        for name in os.environ
        if (name.startswith(OURS) and name not in CLIENT)
        or name in (*distributed.RANKS, *distributed.WORLD)
    ]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)
