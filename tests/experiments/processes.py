"""Start several processes of one run, as users do, and find them by their rank."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dlrun.experiments import registry
from tests.conftest import clean_environment, setting

NAME = "imdb-dense"
(SMOKE,) = registry.entry(NAME).overlays("smoke")
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
DDP = setting("trainer.devices=2")
LIMIT = 60.0  # seconds in which all must have ended


def commands(how: str, program: list[str], words: list[str]) -> list[list[str]]:
    """Return the command of each node.

    `ddp` has dlrun start the processes, `torchrun` the user; `nodes` are two of them on loopback.
    """
    if how == "ddp":
        return [[sys.executable, *program, *words, *DDP]]
    if how == "torchrun":
        return [[TORCHRUN, "--nproc-per-node=2", *program, *words]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = ["--master-addr=127.0.0.1", f"--master-port={free.getsockname()[1]}"]
    nodes = ["--nnodes=2", "--nproc-per-node=1", *meeting]
    return [[TORCHRUN, *nodes, f"--node-rank={node}", *program, *words] for node in range(2)]


class Started:
    """Two processes that train together, each node's in a group of its own; all in `folder`."""

    def __init__(
        self, folder: Path, how: str, *words: str, program: tuple[str, ...] = ("-m", "dlrun")
    ) -> None:
        self.folder, self.how = folder, how
        folder.mkdir(parents=True, exist_ok=True)
        self.nodes = []
        for number, command in enumerate(commands(how, list(program), list(words))):
            with (folder / f"said-{number}").open("wb") as said:
                node = subprocess.Popen(
                    command,
                    stdout=said,
                    stderr=said,
                    cwd=folder,
                    env=clean_environment() | {"OMP_NUM_THREADS": "1"},
                    start_new_session=True,
                )
            self.nodes.append(node)
        self.known: set[int] = {node.pid for node in self.nodes}

    @property
    def said(self) -> str:
        """All that they have written so far."""
        files = sorted(self.folder.glob("said-*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def until(self, condition: Callable[[], object], seconds: float = 180) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def until_said(self, text: str) -> None:
        """Wait for a text, from living processes."""
        self.until(lambda: text in self.said or self.nodes[0].poll() is not None)
        assert text in self.said, self.said

    def ranks(self) -> list[int]:
        """The process ids of the owner of the run and its helper, once both are there."""
        found: dict[int, int] = {}

        def complete() -> bool:
            for node in self.nodes:
                children = [child for child in _children(node.pid) if "dlrun" in _line(child)]
                found.update({_rank(child): child for child in children})
            return found.keys() >= {0, 1}

        self.until(complete)
        self.known.update(found.values())
        return [found[0], found[1]]

    def end(self, limit: float = LIMIT) -> list[int]:
        """Wait until all have ended, some seconds at most; the exit code of each node."""
        self.until(lambda: all(node.poll() is not None for node in self.nodes), limit)
        self.until(lambda: not any(map(_is_there, self.known)), limit)
        return [node.returncode for node in self.nodes]

    def kill(self) -> None:
        """End what is left, whatever became of the test."""
        for node in self.nodes:
            if node.poll() is None:
                node.kill()
                node.wait()
        for pid in self.known:
            if _is_there(pid) and "dlrun" in _line(pid):
                os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    words = ["pgrep", "--parent", str(pid)]
    return [
        int(one) for one in subprocess.run(words, capture_output=True, check=False).stdout.split()
    ]


def _rank(pid: int) -> int:
    """Return the rank in a process's environment; -1 before there is one."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return -1
    known = dict(one.partition("=")[::2] for one in variables)
    return int(known.get("RANK", -1))


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _is_there(pid: int) -> bool:
    """Whether it lives; a process that has ended and that nobody waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
