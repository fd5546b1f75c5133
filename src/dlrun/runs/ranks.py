"""Whether this process is one of several that train one network together."""

import contextlib
import os
from collections.abc import Iterator

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError

RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")
# What else tells Lightning and torch that a process is one of several.
WORLD = (
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_LOCALID",
    "SLURM_NODEID", "SLURM_JOB_NAME", "JSM_NAMESPACE_RANK",
)  # fmt: skip


def is_helper(config: ExperimentConfig) -> bool:
    """Whether this process helps another, which owns the run.

    Only a run that several processes share has helpers, and only where whoever started them said
    how many they are; whatever else a scheduler left here, a run is its own.
    """
    return _is_shared(config) and any(_number(rank) > 0 for rank in RANKS)


@contextlib.contextmanager
def alone(config: ExperimentConfig) -> Iterator[None]:
    """A run that no others were started for does not see ranks that are left here."""
    names = () if _is_shared(config) else (*RANKS, *WORLD)
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_shared(config: ExperimentConfig) -> bool:
    return config.world != 1 and max(_number("WORLD_SIZE"), _number("SLURM_NTASKS")) > 1


def _number(name: str) -> int:
    """An environment variable's number; 0 where there is none."""
    value = os.environ.get(name, "")
    try:
        return int(value or 0)
    except ValueError:
        raise ConfigError(
            f"the environment's {name}={value!r} is no number", f"unset {name}"
        ) from None
