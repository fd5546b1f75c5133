"""How many processes a run has, and who starts them."""

import pytest

from dlrun.errors import ConfigError
from dlrun.run_context import RunSettings
from dlrun.runs import distributed
from dlrun.runs.distributed import as_started, is_helper
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
    with pytest.raises(ConfigError, match="srun starts 4 processes"):
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
    """A run in it is its own, and starts its processes itself."""
    started(monkeypatch, **around)
    config = load_config("imdb-dense", RunSettings(overrides=sets))
    assert config.world == len(sets) + 1
    assert not distributed.is_helper(config) and not distributed.is_told_by_another()
    assert distributed.processes_to_start(config) == len(sets) + 1


def test_nodes_that_nobody_started_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = RunSettings(overrides=["trainer.num_nodes=2"])
    started(monkeypatch, NODE_RANK="0", MASTER_ADDR="localhost")
    with pytest.raises(ConfigError, match="num_nodes") as error:
        load_config("imdb-dense", nodes)
    assert "torchrun --nnodes=2" in error.value.hint


@pytest.mark.parametrize(
    ("value", "count"), [("1", 1), ("2", 2), ("[1, 3]", 2), ("auto", 3)], ids=str
)
def test_how_many_processes_are_started(
    monkeypatch: pytest.MonkeyPatch, value: str, count: int
) -> None:
    monkeypatch.setattr(distributed, "device_count", lambda _: 3)
    config = load_config("imdb-dense", RunSettings(overrides=[f"trainer.devices={value}"]))
    assert distributed.processes_to_start(config) == count
    started(monkeypatch, **TWO)
    assert distributed.processes_to_start(config) == 1
    assert distributed.processes_to_start(load_config("imdb-lstm", RunSettings())) == 1


def test_listed_devices_stay_those(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, TORCHELASTIC_RUN_ID="a", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    config = load_config("imdb-dense", RunSettings(overrides=["trainer.devices=[1, 3]"]))
    assert config.model_dump()["trainer"]["devices"] == [1, 3]
    assert config.world == 2


@pytest.mark.parametrize("ranks", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": "1"}])
def test_a_rank_alone_makes_no_helper(
    monkeypatch: pytest.MonkeyPatch, ranks: dict[str, str]
) -> None:
    started(monkeypatch, **ranks)
    assert not is_helper(load_config("imdb-dense", RunSettings()))


def test_a_run_that_is_resumed_takes_what_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("imdb-dense", RunSettings(overrides=["trainer.devices=3"]))
    started(monkeypatch, **TWO)
    assert as_started(config, resumed=True).world == 4
