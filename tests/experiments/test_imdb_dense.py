"""imdb-dense: its network, its size, its columns, its data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from dlrun.experiments.imdb_dense.model import DenseNet
from dlrun.kernels.bag_linear import Bags
from tests.conftest import Dlrun, setting, smoke
from tests.data.test_imdb import REVIEWS, archive_of
from tests.experiments.use import finished, results, rows

NAME = "imdb-dense"
COLUMNS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds"


def test_size_and_columns(forked: Dlrun, tmp_path: Path) -> None:
    done = forked(*smoke(NAME), "--summary")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / NAME / "latest"
    assert results(run)["parameters"] == 160_353
    assert "160,353" in (run / "summary.txt").read_text()
    assert "160,353" in done.stdout
    assert (run / "metrics.csv").read_text().splitlines()[0] == COLUMNS


def test_training_that_diverges_is_no_result(forked: Dlrun, tmp_path: Path) -> None:
    options = setting("optimizer.lr=1e30", "trainer.max_epochs=5", "batch_size=100")
    done = forked(*smoke(NAME), *options)
    assert done.returncode == 1, done.stderr
    assert "loss is" in done.stderr and "optimizer.lr" in done.stderr
    assert results(tmp_path / "runs" / NAME / "latest")["status"] == "failed"


@pytest.mark.slow
def test_reviews_may_have_moved_but_not_changed(forked: Dlrun, tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    sets = setting(f"data.archive={archive}", "data.source=stanford", "data.validation=1")
    run = finished(tmp_path, [*smoke(NAME), *sets, *setting("trainer.max_epochs=2")])
    assert results(run)["reference_differs"].startswith("reviews.tar.gz is not the published file")
    moved = archive.rename(tmp_path / "moved.tar.gz")
    more = setting("trainer.max_epochs=3")
    assert forked("resume", run, *more).returncode != 0
    done = forked("resume", run, *more, "--set", f"data.archive={moved}")
    assert done.returncode == 0, done.stderr
    other = archive_of(tmp_path, REVIEWS | {"train/pos/9_9.txt": "another review"})
    done = forked("resume", run, *setting("trainer.max_epochs=4", f"data.archive={other}"))
    assert done.returncode == 1
    assert "the data have changed since the run began" in done.stderr
    assert len(rows(run)) == 3


def test_run_that_failed_before_its_first_step_begins_there(forked: Dlrun, tmp_path: Path) -> None:
    sets = setting("trainer.max_epochs=2", "data.source=stanford", "data.validation=1")
    damaged = tmp_path / "data" / "imdb" / "aclImdb_v1.tar.gz"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no archive")
    failed = forked(*smoke(NAME), *sets)
    assert failed.returncode == 1
    run = (tmp_path / "runs" / NAME / "latest").resolve()
    assert results(run)["status"] == "failed"
    (run.parent / "latest").unlink()
    done = forked("resume", "latest", *setting(f"data.archive={archive_of(tmp_path)}"))
    assert done.returncode == 0, done.stderr
    found = results(run)
    assert (found["status"], found["steps"], found["error"]) == ("finished", 2, None)
    assert len(rows(run)) == 2


def test_parameters_are_the_labs() -> None:
    assert sum(p.numel() for p in DenseNet(10_003, [16, 16]).parameters()) == 160_353


@pytest.mark.parametrize("hidden", [[], [16, 16]])
def test_effects_of_words_are_differences_of_logits(hidden: list[int]) -> None:
    torch.manual_seed(0)
    network, bags = DenseNet(50, hidden), torch.zeros(51, 50)
    bags[:, 1] = 1
    bags[torch.arange(50), torch.arange(50)] = 1
    alone = network(bags)
    effects = network.words_alone(start=1)
    others = torch.arange(50) != 1
    torch.testing.assert_close(effects[others], (alone[:50] - alone[50])[others])
    ids = torch.tensor([1, 7, 30])
    bag = torch.zeros(50).index_fill(0, ids, 1)
    without = bag.repeat(3, 1).index_put((torch.arange(3), ids), torch.tensor(0.0))
    torch.testing.assert_close(network.words_left_out(ids), network(bag) - network(without))


@pytest.mark.parametrize(("classes", "shape"), [(2, (4,)), (5, (4, 5))])
def test_two_classes_need_one_logit(classes: int, shape: tuple[int, ...]) -> None:
    bags = Bags(sparse.csr_matrix(np.eye(4, 9)), np.arange(4))
    network = DenseNet(9, [3], classes)
    assert network(bags).shape == network(torch.zeros(4, 9)).shape == shape
