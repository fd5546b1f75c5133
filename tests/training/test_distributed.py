"""Where the processes of a SLURM step connect."""

from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.training.distributed import SrunEnvironment, cluster_environment

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
}
ALLOCATION = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "4"}


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SrunEnvironment:
    """A process of a step within a larger allocation; no name server knows its nodes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in (STEP | ALLOCATION).items():
        monkeypatch.setenv(name, value)
    environment = cluster_environment()
    assert isinstance(environment, SrunEnvironment)
    return environment


def test_the_processes_of_a_step_connect(
    step: SrunEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho NodeName=$4 NodeAddr=10.1.0.7 Port=6818\n")
    scontrol.chmod(0o755)
    step.validate_settings(num_devices=2, num_nodes=2)
    assert (step.world_size(), step.global_rank(), step.local_rank()) == (4, 1, 1)
    assert step.main_address == "10.1.0.7"
    port = step.main_port
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    assert step.main_port == port + 1
    monkeypatch.setenv("MASTER_ADDR", "10.1.0.8")
    monkeypatch.setenv("MASTER_PORT", "4711")
    assert (step.main_address, step.main_port) == ("10.1.0.8", 4711)


def test_a_node_without_an_address_is_not_waited_for(step: SrunEnvironment) -> None:
    with pytest.raises(ConfigError, match="gpu07") as error:
        _ = step.main_address
    assert "MASTER_ADDR" in error.value.hint


def test_torchrun_goes_first(step: SrunEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "GROUP_RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    assert not isinstance(cluster_environment(), SrunEnvironment)
