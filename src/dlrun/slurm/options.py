"""The options of `--slurm`: from words of the command line to parameters of sbatch."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from dlrun.config.sections import PositiveInt, Section
from dlrun.config.validation import validate
from dlrun.config.yaml_loader import KeyPath, Layer
from dlrun.errors import ConfigError

SIGNAL_SECONDS = 90  # before the time is over; far longer than a step takes
_NEXT = re.compile(r",(?=[a-z_-]+=)")  # a value may have commas, as in nodelist=n1,n2


class SlurmOptions(Section):
    """The keys of `--slurm`; SLURM decides what is not given.

    Args:
        time: minutes, after which the job waits in the queue again and the run continues.
        cpus: of each process.
        mem: of each node, as SLURM writes it.
        gpus: of each node.
        tasks: processes on each node.
        parallel: how many points of a sweep run at once.
    """

    model_config = ConfigDict(strict=False, str_min_length=1)

    time: PositiveInt = 60
    partition: str | None = None
    cpus: PositiveInt | None = None
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None
    gpus: PositiveInt | None = None
    nodes: PositiveInt | None = None
    tasks: PositiveInt | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    reservation: str | None = None
    dependency: str | None = None
    parallel: PositiveInt | None = None

    def for_submitit(self, name: str, nodes: int, tasks: int) -> dict[str, Any]:
        """Return submitit's parameters for a job: its name, nodes and processes on each.

        SLURM checks the time once a minute, and may send the signal that much earlier: a quarter
        of a short job's time is enough.
        """
        found = self.model_dump(exclude={"nodes", "tasks", "reservation"}, exclude_none=True)
        names = {"cpus": "cpus_per_task", "gpus": "gpus_per_node", "parallel": "array_parallelism"}
        more: dict[str, Any] = {"requeue": True}
        if self.reservation is not None:
            more["reservation"] = self.reservation
        return {names.get(key, key): value for key, value in found.items()} | {
            "job_name": name,
            "nodes": nodes,
            "ntasks_per_node": tasks,
            "signal_delay_s": min(SIGNAL_SECONDS, self.time * 60 // 4),
            "additional_parameters": more,
            "wckey": None,
        }


def parse_options(texts: Sequence[str]) -> SlurmOptions:
    """Return the options of texts such as `partition=gpu,time=30`. Raises ConfigError."""
    values: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for text in texts:
        for part in _NEXT.split(text) if text else ():
            key, equals, value = part.partition("=")
            if not equals:
                raise ConfigError(f"--slurm {part}: expected KEY=VALUE", _hint())
            if key in values:
                raise ConfigError(f"--slurm {part}: {key} is given twice", "leave one out")
            values[key] = value
            origins[(key,)] = f"--slurm {part}"
    try:
        return validate(SlurmOptions, Layer(values, origins), "")
    except ConfigError as error:
        raise ConfigError(error.message, _hint()) from None


def _hint() -> str:
    return f"--slurm KEY=VALUE,...: {', '.join(SlurmOptions.model_fields)}"
