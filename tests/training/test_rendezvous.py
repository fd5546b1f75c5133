"""Where the processes of a SLURM step connect."""

from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.training.fit import SRUN_VARIABLES, cluster_environment

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


@pytest.fixture(autouse=True)
def step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process of a step within a larger allocation; no name server knows its nodes."""
    for name in (*SRUN_VARIABLES, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in (STEP | ALLOCATION).items():
        monkeypatch.setenv(name, value)


def test_the_processes_of_a_step_connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho NodeName=$4 NodeAddr=10.1.0.7 Port=6818\n")
    scontrol.chmod(0o755)
    first = cluster_environment()
    first.validate_settings(num_devices=2, num_nodes=2)
    assert (first.world_size(), first.global_rank(), first.local_rank()) == (4, 1, 1)
    assert first.main_address == "10.1.0.7"
    port = first.main_port
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    monkeypatch.delenv("MASTER_PORT")
    assert cluster_environment().main_port == port + 1
    monkeypatch.setenv("MASTER_ADDR", "10.1.0.8")
    monkeypatch.setenv("MASTER_PORT", "4711")
    given = cluster_environment()
    assert (given.main_address, given.main_port) == ("10.1.0.8", 4711)


def test_a_node_without_an_address_is_not_waited_for() -> None:
    with pytest.raises(ConfigError, match="gpu07") as error:
        cluster_environment()
    assert "MASTER_ADDR" in error.value.hint


def test_torchrun_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "GROUP_RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    assert cluster_environment().global_rank() == 0
