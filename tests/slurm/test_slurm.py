"""Against a real SLURM on loopback (conftest.py)."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from dlrun.runs.run import Run
from tests.conftest import NETWORKS, setting, smoke, until
from tests.experiments.test_resume import LONG, long, outcome
from tests.slurm.conftest import ASKING, DLRUN, Cluster

pytestmark = pytest.mark.slurm

NAME = next(name for name in LONG if name in NETWORKS)
SINGLE = next(name for name in LONG if name not in NETWORKS)
RUN = [*smoke(NAME), "--accelerator", "cpu"]
QUICK = smoke(SINGLE)  # starts in a second: it needs no torch
STEPPING = [*long(NAME), *setting("trainer.max_epochs=400"), "--accelerator", "cpu"]


def submitted(cluster: Cluster, *words: object) -> tuple[Path, str]:
    """The folder and the job of a run that is submitted and not waited for."""
    done = cluster.dlrun(*words, "--json")
    said = json.loads(done.stdout)
    assert said["status"] == "waiting"
    return Path(said["run"]), said["job"]


def named(cluster: Cluster, name: str = "*") -> Path:
    """The folder of the only run of that name."""
    (run,) = cluster.folder.glob(f"runs/*/*Z-{name}")
    return run


def steps(run: Path) -> int:
    table = run / "metrics.csv"
    return table.read_text().count("\n") - 1 if table.exists() else 0


def state(run: Path) -> str:
    return Run.open(run).state


def has_ended(cluster: Cluster, job: str) -> bool:
    return cluster.job(job)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


def test_waited_for_it_ends_as_the_same_run_alone(cluster: Cluster) -> None:
    there = cluster.dlrun(*QUICK, "--slurm", "time=10", "--slurm", "cpus=1,mem=1G", "--wait")
    run_there = named(cluster)
    here = cluster.dlrun(*QUICK, "--name", "here")
    assert outcome(run_there) == outcome(named(cluster, "here"))
    names = re.compile(rf"{cluster.folder}/|\S*Z-\w+|time .*")
    assert names.sub("", there.stdout) == names.sub("", here.stdout)
    first, *rest = there.stderr.splitlines()
    assert re.fullmatch(rf"submitted {SINGLE}/{run_there.name} as job \d+", first)
    assert any(line.startswith("lambda ") for line in rest)
    assert not re.search("sacct|submitit|warning", there.stderr)


def test_not_waited_for_it_is_a_run_that_waits(cluster: Cluster) -> None:
    done = cluster.dlrun(*QUICK, "--slurm", "partition=closed", "--name", "queued")
    run = named(cluster, "queued")
    job = re.findall(r"^job +(\d+)$", done.stdout, re.M)[0]
    (shown,) = re.findall(r"^run +(\S+)$", done.stdout, re.M)
    assert str(run).endswith(shown)
    assert "queued" in cluster.dlrun("runs", "list", "--status", "waiting").stdout
    assert state(run) == "waiting"
    cluster.run("scancel", job)
    cluster.dlrun("resume", run)  # here, without SLURM
    assert state(run) == "finished"


def test_a_requeued_run_ends_as_never_stopped(cluster: Cluster) -> None:
    """By the signal before its time is over, then by a job that takes its node."""
    run, job = submitted(cluster, *STEPPING, "--slurm", "time=10")
    until(lambda: steps(run) >= 3)
    cluster.run("scancel", "--signal=USR2", job)
    until(lambda: cluster.job(job)["Restarts"] == "1", pause=ASKING)
    assert state(run) == "interrupted"
    stopped = steps(run)
    assert 3 <= stopped < 400
    until(lambda: steps(run) > stopped)
    cluster.run("srun", "--partition=urgent", "--exclusive", "true")
    assert cluster.job(job)["Restarts"] == "2"
    cluster.dlrun(*STEPPING, "--name", "whole")
    until(lambda: has_ended(cluster, job), pause=ASKING)
    said = (run / "slurm" / "stderr.txt").read_text()
    assert state(run) == "finished", said
    assert said.count("stopping; every finished") >= 1
    assert "Traceback" not in said
    assert outcome(run) == outcome(named(cluster, "whole"))


def test_the_time_is_over(cluster: Cluster) -> None:
    """SLURM itself sends the signal to a run that lasts longer; it has the GPU it asked for."""
    endless = [*STEPPING, *setting("trainer.max_epochs=1000000")]
    # Of one minute, SLURM might send its signal after 15 s: too early for a step on a busy machine.
    run, job = submitted(cluster, *endless, "--slurm", "time=2,gpus=1")
    until(lambda: steps(run))
    assert cluster.job(job)["GRES"].startswith("gpu:1")
    until(lambda: cluster.job(job)["Restarts"] == "1", pause=ASKING)
    cluster.run("scancel", job)
    assert state(run) == "interrupted" and steps(run) > 0
    assert "error: out of time" in (run / "slurm" / "stderr.txt").read_text()


def test_no_step_in_all_its_time_is_no_reason_to_begin_again(cluster: Cluster) -> None:
    run, job = submitted(cluster, *STEPPING, "--slurm", "time=10")
    until(lambda: state(run) == "running")
    cluster.run("scancel", "--signal=USR2", job)
    until(lambda: has_ended(cluster, job), pause=ASKING)
    assert cluster.job(job)["Restarts"] == "0"
    assert cluster.job(job)["ExitCode"] == "140:0"
    assert state(run) == "interrupted"
    assert "no step was finished" in (run / "slurm" / "stderr.txt").read_text()


def test_a_run_that_fails(cluster: Cluster) -> None:
    lost = setting("optimizer.lr=1e30", "trainer.max_epochs=3")
    done = cluster.dlrun(*RUN, *lost, "--slurm", "time=10", "--wait", "--json", code=1)
    assert json.loads(done.stdout)["status"] == "failed"
    assert "try a smaller optimizer.lr" in done.stderr
    job = re.findall(r"as job (\d+)", done.stderr)[0]
    until(lambda: has_ended(cluster, job), pause=ASKING)
    assert (cluster.job(job)["JobState"], cluster.job(job)["ExitCode"]) == ("FAILED", "1:0")
    assert cluster.job(job)["Restarts"] == "0"


def test_a_job_that_is_cancelled(cluster: Cluster) -> None:
    waiting = cluster.start(*DLRUN, *STEPPING, "--slurm", "time=10", "--wait")
    queued = cluster.start(*DLRUN, *RUN, "--slurm", "partition=closed", "--wait")
    until(lambda: len([*cluster.folder.glob("runs/*/*Z-*/slurm/job")]) == 2)
    until(lambda: any(steps(run) for run in cluster.folder.glob("runs/*/*Z-*")))
    files = [*cluster.folder.glob("runs/*/*Z-*/slurm/job")]
    by_state = {state(file.parents[1]): file.read_text().strip() for file in files}
    cluster.run("scancel", *by_state.values())
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 143
    assert "continue with: dlrun resume" in said and "error: terminated" in said
    _, said = queued.communicate(timeout=60)
    assert queued.returncode == 1
    assert f"job {by_state['waiting']} is no longer in SLURM's queue, its run is waiting" in said


@pytest.mark.parametrize("words", [RUN, ["sweep", NAME, *RUN[1:], "--seeds", "1", "--json"]])
def test_ctrl_c_ends_the_waiting_and_not_the_job(cluster: Cluster, words: list[str]) -> None:
    waiting = cluster.start(*DLRUN, *words, "--slurm", "partition=closed", "--wait")
    until(lambda: [*cluster.folder.glob("runs/*/*Z-*/slurm/job")])
    time.sleep(1)  # until it waits
    waiting.send_signal(signal.SIGINT)
    stdout, said = waiting.communicate(timeout=60)
    (file,) = cluster.folder.glob("runs/*/*Z-*/slurm/job")
    job = file.read_text().strip()
    assert waiting.returncode == 130
    assert f"`scancel {job.partition('_')[0]}` ends" in said and "error: interrupted" in said
    assert cluster.job(job)["JobState"] == "PENDING"
    if "--json" in words:
        assert json.loads(stdout)["status"] == "interrupted"
    cluster.run("scancel", job.partition("_")[0])


def test_an_allocation_is_not_inherited(cluster: Cluster) -> None:
    around = {"SBATCH_PARTITION": "nowhere", "SLURM_MEM_PER_CPU": "999999"}
    inside = ["env", *(f"{name}={value}" for name, value in around.items()), *DLRUN]
    cluster.run("salloc", "-n2", "srun", "-n1", *inside, *RUN, "--slurm", "time=5,cpus=1", "--wait")
    cluster.run("salloc", "-n3", "bash", "-c", " ".join([*DLRUN, *RUN, "--name", "own"]))
    cluster.run("srun", "-n1", *DLRUN, *smoke(SINGLE))
    assert len([*cluster.folder.glob("runs/*/*Z-*")]) == 3


def test_a_sweep_is_an_array(cluster: Cluster) -> None:
    words = ["sweep", *QUICK, "--seeds", "2", "--name"]
    done = cluster.dlrun(*words, "there", "--slurm", "partition=closed,parallel=2")
    (job,) = re.findall(r"^jobs +(\d+)$", done.stdout, re.M)
    runs = sorted(cluster.folder.glob("runs/*/*-there-?"))
    assert [state(run) for run in runs] == ["waiting"] * 2
    numbers = [(run / "slurm" / "job").read_text().strip() for run in runs]
    assert numbers == [f"{job}_0", f"{job}_1"]
    more = cluster.dlrun("sweep", "--resume", "there", "--slurm", "time=5")  # all are queued
    assert re.findall(r"^jobs +(\d+)$", more.stdout, re.M) == [job]
    cluster.run("scancel", job)
    done = cluster.dlrun("sweep", "--resume", "there", "--slurm", "time=5,parallel=2", "--wait")
    here = cluster.dlrun(*words, "here", "--jobs", "2")
    others = sorted(cluster.folder.glob("runs/*/*-here-?"))
    assert len([*cluster.folder.glob("runs/*/*Z-*")]) == 4
    assert [outcome(run) for run in runs] == [outcome(run) for run in others]
    assert done.stdout.splitlines()[:2] == here.stdout.splitlines()[:2]  # the table
    tables = [
        (cluster.folder / "runs" / "sweeps" / name / "table.csv").read_text()
        for name in ("there", "here")
    ]
    assert tables[0].count("\n") == tables[1].count("\n")
    last = cluster.dlrun("sweep", "--resume", "there", "--slurm", "time=5")  # nothing is missing
    assert "table" in last.stdout


def test_a_sweep_of_two_experiments_is_one_array(cluster: Cluster) -> None:
    words = ["sweep", "hitters-linear,hitters-lasso", "data.source=sample", "--name", "two"]
    cluster.dlrun(*words, "--slurm", "time=5", "--wait")
    runs = sorted(cluster.folder.glob("runs/*/*-two-?"))
    assert [run.parent.name for run in runs] == ["hitters-lasso", "hitters-linear"]
    arrays = {(run / "slurm" / "job").read_text().partition("_")[0] for run in runs}
    assert len(arrays) == 1 and [state(run) for run in runs] == ["finished"] * 2
