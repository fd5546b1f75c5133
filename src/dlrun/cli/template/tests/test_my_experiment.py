"""Test the experiment by a tiny run, which is opened and used again."""

from pathlib import Path

import my_experiment
import torch

import dlrun

SMOKE = Path(my_experiment.__file__).parent / "configs" / "smoke" / "my-experiment.yaml"


def test_it_learns_and_can_be_used_again(tmp_path: Path) -> None:
    """Train two epochs, then use the network that the run kept."""
    run = dlrun.run("my-experiment", config=SMOKE, runs_dir=tmp_path, accelerator="cpu")
    assert run.state == "finished"
    assert run.metrics["train_loss"].is_monotonic_decreasing
    assert run.results["metrics"]["test_accuracy"] > 0.3
    assert run.figures[0].is_file()
    assert run.network()(torch.zeros(5, run.assets["pixels"])).shape == (5, len(run.labels))
