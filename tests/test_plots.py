"""Figures: drawn from files, whatever stands in the names."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun import plots

EPOCHS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds\n"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(EPOCHS + "1,0.6,0.7,0.65,0.6,1\n2,0.4,0.8,0.5,0.7,1\n")
    return path


def is_drawn(path: Path) -> bool:
    """A PNG with more than a background."""
    with Image.open(path) as image:
        return image.format == "PNG" and len(set(image.convert("L").getdata())) > 20


def test_learning_curves(metrics: Path, tmp_path: Path) -> None:
    test = {"test_loss": 0.55, "test_accuracy": 0.72}
    plots.learning_curves(metrics, test, tmp_path / "a.png", title="generated $data")
    assert is_drawn(tmp_path / "a.png")


@pytest.mark.parametrize("compared", [True, False])
def test_lasso_path(metrics: Path, tmp_path: Path, compared: bool) -> None:
    lasso = tmp_path / "lasso.csv"
    lasso.write_text("lambda,train_accuracy,valid_accuracy,test_accuracy\n9,.5,.5,.5\n3,.8,.7,.7\n")
    (tmp_path / "results.json").write_text(json.dumps({"metrics": {"test_accuracy": 0.7}}))
    plots.lasso_path(lasso, 100, 1, tmp_path if compared else None, tmp_path / "a.png", title="x")
    assert is_drawn(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_contact_sheet(tmp_path: Path, count: int) -> None:
    names = [f"{number}$\n\x1b[0m\N{SMILING FACE WITH SMILING EYES}.jpg" for number in range(count)]
    pixels = np.zeros((30, 40, 3), np.uint8)
    labels = [("a label with $ and \\", 0.6), ("b", 0.4)]
    plots.contact_sheet(
        [(name, pixels) for name in names],
        dict.fromkeys(names, labels),
        tmp_path / "a.png",
        title="network",
    )
    assert is_drawn(tmp_path / "a.png")


def test_epoch_times(tmp_path: Path) -> None:
    plots.epoch_times(["cpu", "cuda"], [3.0, 0.5], tmp_path / "a.png", title="x")
    assert is_drawn(tmp_path / "a.png")
