"""Tell with which code, packages, machine and data a run was done, to compare it with another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dlrun.runs.run import Run


@dataclass(frozen=True)
class RunProvenance:
    """Holds the code, packages, machine and data of a run, each by names.

    A value is None if it was not recorded.
    """

    code: Mapping[str, object]
    packages: Mapping[str, object]
    machine: Mapping[str, object]
    data: Mapping[str, object]

    @classmethod
    def of_run(cls, run: Run) -> Self:
        environment = run.environment
        record = run.record
        return cls(
            code={"dlrun": environment.dlrun, "digest": environment.code},
            packages={"python": environment.python, **environment.packages},
            machine={
                "system": environment.platform,
                "processor": environment.processor,
                "cores": environment.threads,
                "threads": record.threads,
                "accelerator": record.accelerator.used if record.accelerator else None,
            },
            data={"origin": record.data, "digest": record.data_digest},
        )

    def differences(self, other: Self) -> list[str]:
        """Name what differs: `code`, `packages`, `machine` or `data`."""
        return [name for name, values in vars(self).items() if values != getattr(other, name)]
