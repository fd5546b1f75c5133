"""What a process of the harness runs: dlrun's command line, with a fault at a file operation."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Python announces these before it does them: https://docs.python.org/3/library/audit_events.html
WRITES = {"open", "os.rename", "os.mkdir", "os.remove", "os.truncate", "os.symlink"}
OUTPUT = ".output"  # the folder of stdout, stderr, and one byte for each file operation


@dataclass(frozen=True)
class Fault:
    """What happens instead of a file operation in the folder `runs`, counted from 1.

    errno: the OSError that is raised; 0 kills the process. lasting: later operations fail too.
    """

    at: int
    errno: int = 0
    lasting: bool = False


def run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    fault: Fault | None,
    largest_file: int | None,
) -> None:
    """Run `dlrun ARGUMENTS` in a folder; no file may have more bytes than `largest_file`."""
    os.chdir(folder)
    os.environ.update(environment)
    tempfile.tempdir = None  # where the environment says
    output = folder / OUTPUT
    output.mkdir(exist_ok=True)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _count_operations(str(folder / "runs"), output / "operations", fault)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    _find_packages(environment["PYTHONPATH"].split(os.pathsep))
    if {"sweep", "reproduce"} & {*arguments}:
        _fork_the_runs_of_a_sweep()
    sys.argv = ["dlrun", *arguments]
    from dlrun.__main__ import main

    main()


def _find_packages(folders: Sequence[str]) -> None:
    """Find the packages in other folders too, and import dlrun anew: it looked for plugins."""
    if more := [folder for folder in folders if folder not in sys.path]:
        sys.path[:0] = more
        for name in [*sys.modules]:
            if name.partition(".")[0] == "dlrun":
                del sys.modules[name]


def _fork_the_runs_of_a_sweep() -> None:
    """Fork them from this process, which has imported all: a fork server would take seconds."""
    from dlrun.sweeps import child_processes

    child_processes.CONTEXT = multiprocessing.get_context("fork")  # type: ignore[assignment]


def _count_operations(watched: str, counter: Path, fault: Fault | None) -> None:
    descriptor = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event not in WRITES or not any(_is_in(watched, part) for part in arguments):
            return
        done += 1
        os.write(descriptor, b".")
        if fault is None or done < fault.at or (done > fault.at and not fault.lasting):
            return
        if not fault.errno:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(fault.errno, os.strerror(fault.errno), str(arguments[0]))

    sys.addaudithook(hook)


def _is_in(folder: str, argument: Any) -> bool:
    if not isinstance(argument, str | os.PathLike):
        return False
    return os.path.abspath(os.fspath(argument)).startswith(folder)  # noqa: PTH100
