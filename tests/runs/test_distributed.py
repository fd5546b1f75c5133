"""How many processes a run has, where its environment says so."""

import os
from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.runs import distributed
from dlrun.runs.distributed import as_started, is_helper
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import load_config

TWO = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_TASKS_PER_NODE": "4"}
BATCH = ALLOCATION | {"SLURM_PROCID": "0"}  # its script, outside any step
ALONE = BATCH | {"SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "1"}


def started(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("sets", [[], ["trainer.devices=2"], ["trainer.devices=auto"]])
@pytest.mark.parametrize("by", [TWO, ALLOCATION | STEP], ids=["torchrun", "srun"])
def test_who_started_it_says_devices_and_nodes(
    monkeypatch: pytest.MonkeyPatch, by: dict[str, str], sets: list[str]
) -> None:
    started(monkeypatch, **by)
    config = load_config("imdb-dense", RunSettings(overrides=sets))
    assert config.world == 4
    trainer = config.model_dump()["trainer"]
    assert (trainer["devices"], trainer["num_nodes"], trainer["strategy"]) == (2, 2, "ddp")


@pytest.mark.parametrize(
    ("name", "sets", "words"),
    [
        ("imdb-dense", ["trainer.devices=3"], "3 devices .* torchrun starts 2 of 4 processes"),
        ("imdb-dense", ["trainer.num_nodes=4"], "4 nodes"),
        ("imdb-lasso", [], "runs in one"),
    ],
)
def test_another_number_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, name: str, sets: list[str], words: str
) -> None:
    started(monkeypatch, **TWO)
    with pytest.raises(ConfigError, match=words):
        load_config(name, RunSettings(overrides=sets))


def test_srun_gives_each_node_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, **STEP | {"SLURM_STEP_TASKS_PER_NODE": "3,1"})
    with pytest.raises(ConfigError, match="srun starts 4 processes, 3,1 on the nodes"):
        load_config("imdb-dense", RunSettings())


def test_one_of_several_that_srun_started_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, **ALLOCATION | STEP)
    assert distributed.is_helper(load_config("imdb-dense", RunSettings()))
    assert distributed.is_told_by_another()
    with pytest.raises(ConfigError, match="srun starts 2 of 4 .* runs in one"):
        load_config("imdb-lasso", RunSettings())


@pytest.mark.parametrize("around", [ALLOCATION, BATCH, ALONE], ids=["salloc", "batch", "srun -n1"])
@pytest.mark.parametrize("sets", [[], ["trainer.devices=2"]])
def test_an_allocation_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, around: dict[str, str], sets: list[str]
) -> None:
    """A run in it is its own, and starts its processes itself: SLURM's numbers are hidden."""
    started(monkeypatch, **around)
    config = load_config("imdb-dense", RunSettings(overrides=sets))
    assert config.world == len(sets) + 1
    assert not distributed.is_helper(config) and not distributed.is_told_by_another()
    with distributed.alone(config):
        assert "SLURM_NTASKS" not in os.environ
    assert os.environ["SLURM_NTASKS"] == "4"


def test_the_processes_of_a_step_meet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the step runs, whatever the allocation is; another step meets elsewhere."""
    scontrol = tmp_path / "scontrol"  # no name server knows gpu07
    scontrol.write_text("#!/bin/sh\necho NodeName=$4 NodeAddr=10.1.0.7 Port=6818\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    stale = {"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "4"}
    started(monkeypatch, **ALLOCATION | STEP | stale, SLURM_STEP_NODELIST="gpu[07-08]")
    config = load_config("imdb-dense", RunSettings())
    with distributed.alone(config):
        there = {name: os.environ[name] for name in (*stale, "MASTER_ADDR")}
        port = os.environ["MASTER_PORT"]
    assert there == {
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "2",
        "MASTER_ADDR": "10.1.0.7",
    }
    assert {name: os.environ[name] for name in stale} == stale and "MASTER_ADDR" not in os.environ
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    with distributed.alone(config):
        assert os.environ["MASTER_PORT"] != port
    monkeypatch.setenv("SLURM_STEP_NODELIST", "localhost")
    with distributed.alone(config):
        assert os.environ["MASTER_ADDR"] == "localhost"


def test_a_node_without_an_address_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    started(monkeypatch, **ALLOCATION | STEP, SLURM_STEP_NODELIST="gpu[07-08]")
    config = load_config("imdb-dense", RunSettings())
    nowhere = pytest.raises(ConfigError, match="the name of gpu07, .* leads nowhere")
    with nowhere as error, distributed.alone(config):
        pytest.fail("it would wait for five minutes")
    assert "MASTER_ADDR" in error.value.hint


def test_nodes_that_nobody_started_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = RunSettings(overrides=["trainer.num_nodes=2"])
    with pytest.raises(ConfigError, match="which of them this is"):
        load_config("imdb-dense", nodes)
    started(monkeypatch, NODE_RANK="0")
    assert load_config("imdb-dense", nodes).world == 2
    assert not is_helper(load_config("imdb-dense", nodes))
    started(monkeypatch, NODE_RANK="1")
    assert is_helper(load_config("imdb-dense", nodes))


def test_a_run_that_is_resumed_takes_what_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("imdb-dense", RunSettings(overrides=["trainer.devices=3"]))
    started(monkeypatch, **TWO)
    assert as_started(config, whatever_it_says=True).world == 4
