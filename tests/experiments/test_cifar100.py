"""What is cifar100's own: its size, its columns, its data."""

from pathlib import Path

import pytest
import torch

from dlrun.experiments.cifar100.model import ConvNet
from dlrun.experiments.saved_run import Run
from tests.conftest import Dlrun, setting, smoke
from tests.data.test_cifar100 import archive_of, parts
from tests.experiments.use import results

NAME = "cifar100"
COLUMNS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds"


def test_size_and_columns(forked: Dlrun, tmp_path: Path) -> None:
    done = forked(*smoke(NAME), "--summary")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / NAME / "latest"
    assert results(run)["parameters"] == 964_516
    assert "964,516" in (run / "summary.txt").read_text()
    assert "964,516" in done.stdout
    assert (run / "metrics.csv").read_text().splitlines()[0] == COLUMNS
    assert len(Run.open(run).labels) == 100


def test_another_archive_stands_beside_no_book(forked: Dlrun, tmp_path: Path) -> None:
    archive = archive_of(tmp_path, parts())
    done = forked(*smoke(NAME), *setting("data.source=torchvision", f"data.archive={archive}"))
    assert done.returncode == 0, done.stderr
    assert f": {archive.name} is not the published file" in done.stdout
    assert "book" not in done.stdout.splitlines()[0]  # no column


@pytest.mark.parametrize(("classes", "shape"), [(10, (3, 10)), (2, (3,))])
def test_two_classes_need_one_logit(classes: int, shape: tuple[int, ...]) -> None:
    assert ConvNet([4, 8], 16, 0, classes)(torch.zeros(3, 3, 32, 32)).shape == shape
