"""One child process: how long it takes, and the most memory it holds.

Standard library only: a child's ru_maxrss starts at its parent's, so the parent stays small.
"""

import contextlib
import csv
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = RESULTS / "work"  # arrays, photographs and runs; kept, so that a second benchmark is quicker
SCRIPT = Path(sys.executable).with_name("dlrun")
DLRUN = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "dlrun"]
# Each side may write its bytecode, and has as many threads as it wants.
ENVIRONMENT = {"DLRUN_OFFLINE": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": ""}


class FailedError(Exception):
    """A process ended otherwise than it should."""


class MissingError(Exception):
    """What a case needs is not on this machine."""


DISTURBED = 0.05  # share of the cores' time that others took
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Process:
    """What a process took.

    cpu: seconds of all cores, with its children's. others: the share of all cores' time that went
    to other processes meanwhile (steal included); None where the system does not tell. Torch's
    threads wait for each other, so that one busy neighbour can slow a run tenfold: a time measured
    beside others says nothing.
    """

    seconds: float
    cpu: float
    peak_bytes: int
    others: float | None

    @property
    def disturbed(self) -> bool:
        return self.others is not None and self.others > DISTURBED


def measure(command: Sequence[str], log: Path, *, expected: int = 0) -> Process:
    """Run a command to its end, its output into `log`; raises FailedError with the log's end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        _adopt_orphans()
        busy, started = _busy_seconds(), time.perf_counter()
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - started
    own = usage.ru_utime + usage.ru_stime
    with contextlib.suppress(ChildProcessError):  # until no adopted process is left
        while True:
            orphan = os.wait3(0)[2]
            own += orphan.ru_utime + orphan.ru_stime
    others = None
    if busy is not None:
        meanwhile = (_busy_seconds() or 0) - busy - own
        others = max(0.0, meanwhile) / (seconds * (os.cpu_count() or 1))
    process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it again
    if process.returncode != expected:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise FailedError(f"{' '.join(command)}\nended with {process.returncode}:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Process(seconds, own, usage.ru_maxrss * unit, others)


def _adopt_orphans() -> None:
    """Become the parent of a child's processes that outlive it, such as a fork server (Linux).

    Their time, and that of the processes they waited for, counts as the child's own.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _busy_seconds() -> float | None:
    """The time that all cores together have worked, or were taken by the hypervisor (Linux)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def output(command: Sequence[str]) -> Any:
    """The JSON that a command prints last."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | ENVIRONMENT, check=False
    )
    if done.returncode:
        raise FailedError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare(what: str, **options: object) -> Any:
    """Run a step of prepare.py, in a process of its own; what it prints as JSON."""
    words = [
        word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)
    ]
    return output([sys.executable, str(HERE / "prepare.py"), what, *map(str, words)])


def dlrun(
    experiment: str,
    settings: Mapping[str, object],
    runs: Path,
    data: Path,
    *more: str,
    accelerator: str = "cpu",
) -> list[str]:
    """The command line of an experiment. `runs` must be new: see run_folder."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    folders = ["--runs-dir", str(runs), "--data-dir", str(data)]
    device = ["--accelerator", accelerator, "--no-fallback"]
    return [*DLRUN, experiment, *more, "--quiet", *device, *folders, *sets]


def run_folder(runs: Path) -> Path:
    """The folder of the only run in a runs folder."""
    (results,) = runs.glob("*/*T*Z-*/results.json")
    return results.parent


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def column(path: Path, name: str) -> list[float]:
    """A column of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


def steady(seconds: Sequence[float]) -> float:
    """The median epoch, without the first: it also warms up."""
    return statistics.median(seconds[1:] or seconds)
