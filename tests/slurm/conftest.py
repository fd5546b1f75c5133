"""A SLURM of our own on loopback, one node: its daemons end with the tests."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Ended, clean_environment, completed, free_ports, missing, started, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "salloc", "setpriv")
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
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
SchedulerParameters=sched_min_interval=100000,sched_interval=1,bf_interval=1,batch_sched_delay=0
KillWait=3
SlurmdTimeout=12
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=4000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10
"""
# AuthInfo: a requeued job waits until the credential of its first start has expired.
GPUS = "NodeName=n1 Name=gpu File=/dev/null\nNodeName=n1 Name=gpu File=/dev/zero\n"  # stand-ins
ASKING = 0.2  # seconds between two questions to SLURM: each is a process


@dataclass(frozen=True)
class Slurm:
    """The environment in which it is reached, and its daemons."""

    environment: dict[str, str]
    folder: Path
    daemons: contextlib.ExitStack

    def start(self, *command: object) -> None:
        """Start a daemon, which ends with the tests, and with this process if that is killed."""
        with (self.folder / f"{command[0]}.out").open("ab") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
                stdout=out, stderr=out, env=self.environment | {"PATH": _path()},
            )  # fmt: skip
        self.daemons.callback(_end, process)

    def said(self) -> str:
        """What the daemons said last."""
        return "\n".join(
            f"{one.name}: {one.read_text()[-2000:]}" for one in self.folder.glob("*.out")
        )


@dataclass(frozen=True)
class Cluster:
    """A SLURM, and commands in an empty folder."""

    slurm: Slurm
    folder: Path

    def run(self, *words: object, code: int = 0) -> Ended:
        """Run a command to its end, and assert its exit code."""
        done = completed(self.folder, *words, timeout=120, **self.slurm.environment)
        assert done.returncode == code, done.stderr
        return done

    def dlrun(self, *words: object, code: int = 0) -> Ended:
        """Run `dlrun WORDS` to its end."""
        return self.run(*DLRUN, *words, code=code)

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Start a command."""
        return started(self.folder, *words, **self.slurm.environment)

    def job(self, number: str) -> dict[str, str]:
        """What scontrol says of a job."""
        shown = self.run("scontrol", "--oneliner", "--detail", "show", "job", number).stdout
        return dict(word.partition("=")[::2] for word in shown.split())


DLRUN = (sys.executable, "-m", "dlrun")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """An idle node; skips, or fails where it must be there."""
    if what := _what_is_missing():
        missing(what, "DLRUN_REQUIRE_SLURM")
    with (
        tempfile.TemporaryDirectory(prefix="dlrun-slurm-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        config = folder / "slurm.conf"
        host = socket.gethostname().partition(".")[0]
        config.write_text(CONFIG.format(folder=folder, host=host, ports=free_ports(2)))
        (folder / "gres.conf").write_text(GPUS)
        environment = clean_environment() | {"SLURM_CONF": str(config), "OMP_NUM_THREADS": "1"}
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid"}
        files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        settings = [f"--{option}={folder / file}" for option, file in files.items()]
        slurm = Slurm(environment, folder, stack)
        slurm.start("munged", "--foreground", "--force", *settings)
        until((folder / "munge.socket").exists, said=slurm.said)
        slurm.start("slurmctld", "-D", "-f", config)
        slurm.start("slurmd", "-D", "-f", config, "-N", "n1")

        def idle() -> bool:
            said = Cluster(slurm, folder).start("sinfo", "--noheader", "--format=%T")
            return {*said.communicate()[0].split()} == {"idle"}

        until(idle, said=slurm.said, pause=ASKING)
        yield slurm
        Cluster(slurm, folder).start("scancel", "--user=root").wait()


@pytest.fixture
def cluster(slurm: Slurm, tmp_path: Path) -> Cluster:
    """The cluster, seen from an empty folder."""
    return Cluster(slurm, tmp_path)


def _what_is_missing() -> str | None:
    programs = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if programs:
        return f"no SLURM: {', '.join(programs)} missing (Debian: slurm-wlm, munge)"
    return "a SLURM of our own needs root" if os.geteuid() else None


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
