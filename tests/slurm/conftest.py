"""A SLURM of our own on loopback: munged, slurmctld and slurmd, which end with the tests."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import clean_environment

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "salloc", "setpriv")
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
KillWait=3
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
"""
# AuthInfo: a requeued job waits until the credential of its first start has expired.


@dataclass(frozen=True)
class Cluster:
    """How the cluster is reached, and commands in an empty folder."""

    environment: dict[str, str]
    folder: Path

    def run(
        self, *words: object, timeout: float = 120, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            list(map(str, words)),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            check=False,
            env=self.environment | env,
        )

    def dlrun(self, *words: object, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run `dlrun WORDS` to its end."""
        return self.run(*DLRUN, *words, **env)

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Start `dlrun WORDS`."""
        return subprocess.Popen(
            [*DLRUN, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )

    def job(self, number: str) -> dict[str, str]:
        """What scontrol says of a job."""
        shown = self.run("scontrol", "--oneliner", "show", "job", number).stdout
        return dict(word.partition("=")[::2] for word in shown.split())


DLRUN = (sys.executable, "-m", "dlrun")


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which the cluster is reached; skips, or fails where it must be there."""
    if missing := _missing():
        if os.environ.get("DLRUN_REQUIRE_SLURM"):
            pytest.fail(missing)
        pytest.skip(missing)
    with (
        tempfile.TemporaryDirectory(prefix="dlrun-slurm-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        config = folder / "slurm.conf"
        host = socket.gethostname().partition(".")[0]
        config.write_text(CONFIG.format(folder=folder, host=host, ports=_free_ports(2)))
        environment = clean_environment() | {"SLURM_CONF": str(config), "OMP_NUM_THREADS": "1"}
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid"}
        files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        settings = [f"--{option}={folder / file}" for option, file in files.items()]
        for command in (
            ["munged", "--foreground", "--force", *settings],
            ["slurmctld", "-D", "-f", str(config)],
            ["slurmd", "-D", "-f", str(config), "-N", host],
        ):
            stack.enter_context(_daemon(command, folder, environment))
            if command[0] == "munged":
                _wait((folder / "munge.socket").exists, folder)

        def idle() -> bool:
            said = subprocess.run(
                ["sinfo", "--noheader", "--format=%T"],
                env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            return "idle" in said.stdout

        _wait(idle, folder)
        yield environment
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)


@pytest.fixture
def cluster(slurm: dict[str, str], tmp_path: Path) -> Cluster:
    """The cluster, seen from an empty folder."""
    return Cluster(slurm, tmp_path)


def _missing() -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"no SLURM: {', '.join(missing)} missing (Debian: slurm-wlm, munge)"
    return "a SLURM of our own needs root" if os.geteuid() else None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A daemon that ends with the block, and with this process, whatever becomes of it."""
    path = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
    with (folder / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            stdout=out, stderr=out, env=environment | {"PATH": path},
        )  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            said = [f"{file.name}: {file.read_text()[-2000:]}" for file in folder.glob("*.out")]
            pytest.fail("SLURM does not start: " + "\n".join(said))
        time.sleep(0.2)
