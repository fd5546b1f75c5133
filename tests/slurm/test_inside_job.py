"""A run that waits, and what its job does; nothing here needs a SLURM."""

import pickle
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from dlrun.api import Run
from dlrun.errors import DlrunError
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.folder import OutputFolder
from dlrun.runs.new_run import new_record, write_first_files
from dlrun.runs.options import RunOptions
from dlrun.slurm import watch
from dlrun.slurm.inside_job import RunJob, make_run_job
from dlrun.system.console import Screen
from tests import harness
from tests.conftest import Out, Patch, clean_environment, smoke
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import results

NAME, _, SMOKE = smoke(NETWORK)
OPTIONS = RunOptions(config=[Path(SMOKE)])


def waiting(folder: Path) -> Run:
    """A run that waits."""
    claimed = OutputFolder.claim_run(folder / "runs", NAME)
    config = load_experiment_config(find_experiment(NAME), OPTIONS)
    write_first_files(claimed, new_record(find_experiment(NAME), config, OPTIONS), OPTIONS, "dlrun")
    return Run.open(claimed.path)


def do(job: RunJob, *, folder: Path) -> int:
    """What the job's process does; its exit code."""
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())()"
    return subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(job), cwd=folder, env=clean_environment(), check=False,
    ).returncode  # fmt: skip


def test_a_run_that_waits_is_begun_by_resume(tmp_path: Path) -> None:
    run = waiting(tmp_path)
    assert run.state == "waiting" and run.record.steps is None
    with pytest.raises(DlrunError, match="waiting, so it cannot be used yet"):
        run.network()
    for words in (["runs", "show", run.name], ["runs", "check"], ["runs", "list"]):
        assert harness.run(tmp_path, *words).returncode == 0
    harness.run(tmp_path, "runs", "rm", "--experiment", run.record.experiment, "--yes").is_told(0)
    assert run.folder.exists()
    harness.run(tmp_path, "resume", run.name).is_told(0)
    begun = Run.open(run.folder)
    assert begun.state == "finished" and begun.record.id == run.record.id
    assert begun.record.resumed is None and begun.config.threads == "auto"


def test_a_job_is_the_words_of_a_command_line(tmp_path: Path) -> None:
    run = waiting(tmp_path)
    job = make_run_job(run.folder, replace(OPTIONS, data_dir=tmp_path / "data"))
    assert all(isinstance(one, str) for one in (job.run, *job.arguments))
    assert {field.name for field in fields(job)} == {"run", "arguments"}
    assert do(job, folder=tmp_path) == 0
    about = run.folder / "slurm"
    assert (about / "exit-code").read_text() == "0\n"
    assert "epoch 1/1" in (about / "stderr.txt").read_text()
    assert run.folder.name in (about / "stdout.txt").read_text()
    assert Run.open(run.folder).state == "finished"
    assert do(job, folder=tmp_path) == 0  # requeued for nothing
    assert "nothing to resume" in (about / "stderr.txt").read_text()


def test_a_run_that_cannot_begin_waits_no_more(tmp_path: Path) -> None:
    run = waiting(tmp_path)
    job = make_run_job(run.folder, OPTIONS)
    config = run.folder / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    assert do(job, folder=tmp_path) == 2
    assert (run.folder / "slurm" / "exit-code").read_text() == "2\n"
    assert results(run.folder)["status"] == "failed"
    assert "config.yaml: damaged, or edited" in results(run.folder)["error"]


def test_a_killed_job_is_shown_to_its_last_word(
    tmp_path: Path, monkeypatch: Patch, capsys: Out
) -> None:
    run = waiting(tmp_path)
    (run.folder / "slurm").mkdir()
    (run.folder / "slurm" / "stderr.txt").write_text("epoch 1/3\nepoch 2/")
    monkeypatch.setattr(watch, "TICK", 0)
    monkeypatch.setattr(watch, "jobs_in_queue", set)
    with pytest.raises(DlrunError, match="no longer in SLURM's queue"):
        watch.wait_for_job(run.folder, "7", Screen(), as_json=False)
    assert capsys.readouterr().err == "epoch 1/3\nepoch 2/\n"
