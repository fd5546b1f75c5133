"""A tiny run, opened and used again."""

from pathlib import Path

import torch

import dlrun
from dlrun.experiments import registry


def test_it_learns_and_can_be_used_again(tmp_path: Path) -> None:
    """Train two epochs, then ask the network that the run kept."""
    smoke = registry.entry("my-experiment").overlays("smoke")
    run = dlrun.run("my-experiment", config=smoke, runs_dir=tmp_path, accelerator="cpu")
    assert run.state == "finished"
    assert run.metrics["train_loss"].is_monotonic_decreasing
    assert run.results["metrics"]["test_accuracy"] > 0.3
    assert run.figures[0].is_file()
    assert run.network()(torch.zeros(5, run.assets["pixels"])).shape == (5, len(run.labels))
