"""How many processes a run has, and who starts them."""

import pytest

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError
from dlrun.execution import distributed
from dlrun.execution.checks import load_experiment_config
from dlrun.execution.distributed import is_helper_process, set_devices_from_launcher
from dlrun.run_context import RunSettings

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "4",
    "RANK": "1",
}
NNODES = TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_TASKS_PER_NODE": "4"}
SRUN = ALLOCATION | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1"}
BATCH = ALLOCATION | {"SLURM_PROCID": "0"}  # its script, outside any step
ALONE = BATCH | {"SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "1"}


def config_of(name: str, *sets: str) -> ExperimentConfig:
    return set_devices_from_launcher(load_experiment_config(name, RunSettings(overrides=sets)))


def started(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("sets", [[], ["trainer.devices=4"]])
def test_torchrun_sets_the_devices(monkeypatch: pytest.MonkeyPatch, sets: list[str]) -> None:
    started(monkeypatch, **TORCHRUN)
    config = config_of("imdb-dense", *sets)
    assert config.processes == 4
    assert distributed.count_processes_to_start(config) == 1
    assert is_helper_process()


@pytest.mark.parametrize(
    ("by", "name", "sets", "words"),
    [
        (TORCHRUN, "imdb-dense", ["trainer.devices=3"], "devices: 3, but torchrun starts 4"),
        (TORCHRUN, "imdb-lasso", [], "torchrun starts 4 processes, .* runs in one"),
        (SRUN, "imdb-dense", [], "srun starts 4 processes"),
        (NNODES, "imdb-dense", [], "--nnodes starts 4 processes"),
        ({}, "imdb-dense", ["trainer.num_nodes=2"], "num_nodes"),
    ],
)
def test_other_processes_are_a_config_error(
    monkeypatch: pytest.MonkeyPatch, by: dict[str, str], name: str, sets: list[str], words: str
) -> None:
    started(monkeypatch, **by)
    with pytest.raises(ConfigError, match=words):
        config_of(name, *sets)
    assert is_helper_process() == bool(by)  # one process prints the error


@pytest.mark.parametrize(
    "around",
    [ALLOCATION, BATCH, ALONE, {"RANK": "1", "SLURM_PROCID": "1"}],
    ids=["salloc", "batch", "srun -n1", "rank"],
)
@pytest.mark.parametrize("sets", [[], ["trainer.devices=2"]])
def test_an_allocation_or_a_rank_alone_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, around: dict[str, str], sets: list[str]
) -> None:
    """A run in it is its own, and starts its processes itself."""
    started(monkeypatch, **around)
    config = config_of("imdb-dense", *sets)
    assert config.processes == distributed.count_processes_to_start(config) == len(sets) + 1
    assert not is_helper_process()


def test_a_resumed_run_has_the_processes_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("imdb-dense", "trainer.devices=2")
    assert distributed.count_processes_to_start(config) == 2
    started(monkeypatch, **TORCHRUN)
    assert distributed.count_processes_to_start(config) == 1
    assert set_devices_from_launcher(config, resumed=True).processes == 4
