"""What --slurm asks for; nothing here needs a SLURM."""

import json
from pathlib import Path

import pytest

from dlrun.slurm.submit import parse_slurm_options
from tests.conftest import NETWORKS, Dlrun, smoke


def test_the_signal_comes_early_enough() -> None:
    """As early as submitit has it, but never in the first three quarters of the time."""
    seconds = {time: _submitit(f"time={time}")["signal_delay_s"] for time in (1, 4, 6, 600)}
    assert seconds == {1: 15, 4: 60, 6: 90, 600: 90}


def test_what_is_asked_for_is_what_submitit_is_given() -> None:
    found = _submitit("gpus=2,cpus=3,mem=500M,constraint=a100&nvlink,parallel=7,account=007")
    assert found["gpus_per_node"] == 2 and found["cpus_per_task"] == 3 and found["mem"] == "500M"
    assert found["additional_parameters"] == {"requeue": True}
    assert found["constraint"] == "a100&nvlink"
    assert found["array_parallelism"] == 7 and found["account"] == "007"
    assert (found["ntasks_per_node"], found["job_name"]) == (1, "a name")
    submitit = pytest.importorskip("submitit")
    assert set(found) <= submitit.SlurmExecutor._valid_parameters()


def _submitit(text: str) -> dict:
    return parse_slurm_options([text]).submitit_parameters("a name")


def test_all_ends_before_anything_is_written(forked: Dlrun, tmp_path: Path) -> None:
    run = smoke(NETWORKS[0])
    nowhere = {"PATH": str(tmp_path)}
    sweep = ["sweep", *run, "--seeds", "2", "--slurm", "time=5"]
    for words, said in (
        ([*run, "--slurm", "time=5"], "no sbatch on the PATH"),
        (sweep, "no sbatch on the PATH"),
    ):
        done = forked(*words, **nowhere)
        assert (done.returncode, done.stdout) == (2, "") and said in done.stderr
    done = forked(*run, "--slurm", "cpu=5", "--json", **nowhere)
    assert done.returncode == 2 and "did you mean 'cpus'" in json.loads(done.stdout)["error"]
    assert not [*tmp_path.glob("runs/*")]


def test_a_dry_run_shows_the_config_as_it_does_without_slurm(forked: Dlrun, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "srun"):  # that are there, and are not called
        (programs / name).write_text("#!/bin/false\n")
        (programs / name).chmod(0o755)
    words, asked = [*smoke(NETWORKS[0]), "--dry-run"], ["--slurm", "time=5"]
    for how in ([], ["--json"]):
        here = forked(*words, *how)
        there = forked(*words, *how, *asked, PATH=str(programs))
        assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr
        assert "dry run: the config is valid" in there.stderr
    assert not [*tmp_path.glob("runs/*")]
