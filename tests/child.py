"""What a child process of the harness does: dlrun's command line, with harm at a moment."""

import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Python announces these before it does them: https://docs.python.org/3/library/audit_events.html
WRITES = {"open", "os.rename", "os.mkdir", "os.remove", "os.truncate", "os.symlink"}
ONCE, FROM_THEN_ON = "once", "from then on"


def run(
    arguments: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    harm: dict[str, Any],
    limits: dict[str, int],
) -> None:
    """Run `dlrun ARGUMENTS` in a folder; its output goes into the folder `.said` there.

    harm: {"at": n} and either {"kill": True} or {"errno": 28, "how": ONCE or FROM_THEN_ON}: what
    happens instead of the n-th file operation in the folder `runs`. The file `.said/operations`
    grows by a byte at each. limits: "memory", bytes that may be allocated beyond what is there at
    the start; "file_size", bytes that a file may have.
    """
    os.chdir(folder)
    os.environ.update(environment)
    said = folder / ".said"
    said.mkdir(exist_ok=True)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        new = os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(new, descriptor)
        os.close(new)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _watch(str(folder / "runs"), said / "operations", harm)
    if "memory" in limits:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + limits["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if "file_size" in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_size"],) * 2)
    sys.argv = ["dlrun", *arguments]
    from dlrun.__main__ import main

    main()


def _watch(watched: str, counter: Path, harm: dict[str, Any]) -> None:
    count = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event not in WRITES or not any(_is_in(watched, part) for part in arguments):
            return
        done += 1
        os.write(count, b".")
        at = harm.get("at")
        if at is None or done < at or (done > at and harm.get("how") != FROM_THEN_ON):
            return
        if harm.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(harm["errno"], os.strerror(harm["errno"]), str(arguments[0]))

    sys.addaudithook(hook)


def _is_in(folder: str, argument: Any) -> bool:
    if not isinstance(argument, str | os.PathLike):
        return False
    return os.path.abspath(os.fspath(argument)).startswith(folder)  # noqa: PTH100
