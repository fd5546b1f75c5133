"""What is each network's own: its logits, its data, what it says when training fails."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dlrun.api import Run
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.kernels.bag_linear import BagLinear
from dlrun.networks.dense import DenseNetwork
from dlrun.networks.images import ConvNet
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.use import latest, results

DENSE = "imdb-dense"


def test_weights_have_the_names_that_saved_runs_have() -> None:
    names = [*ConvNet([8, 16], 32, 0, 5).state_dict()]
    assert names[:3] == ["blocks.0.0.weight", "blocks.0.0.bias", "blocks.1.0.weight"]


def test_a_sparse_first_layer_is_drawn_as_a_dense_one() -> None:
    networks = [DenseNetwork(784, [64], [0.5], 10, first) for first in (BagLinear(784, 64), None)]
    weights = [next(network.parameters()) for network in networks]
    assert weights[0].std().item() == pytest.approx(weights[1].std().item(), rel=0.02)


def test_each_hidden_layer_has_its_own_dropout() -> None:
    HiddenLayersConfig(hidden=[2, 3], dropout=[0, 0.5])
    assert HiddenLayersConfig(hidden=[2, 3], dropout=0).dropouts == [0, 0]
    for hidden, dropout in (([2], []), ([], [0.5]), ([2], [1.0]), ([0], [0.5])):
        with pytest.raises(ValidationError):
            HiddenLayersConfig(hidden=hidden, dropout=dropout)


@pytest.mark.parametrize("name", ["imdb-dense", "text-dense"])
def test_a_network_of_texts_has_dropout_only_if_asked(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    layers = []
    for values in ([], ["model.dropout=[0.3,0]"]):
        forked(*smoke(name), *setting(*values)).is_told(0)
        run = Run.open(latest(tmp_path, name))
        layers.append([type(layer).__name__ for layer in run.network().modules()])
        forked("predict", run.folder, "--test").is_told(0)
    plain, dropping = layers
    assert "FastDropout" not in plain
    assert [one for one in dropping if one != "FastDropout"] == plain
    assert dropping.count("FastDropout") == 2
    forked(*smoke(name), *setting("model.dropout=[0.3]")).is_told(2, "model.dropout")
    forked(*smoke(name), *setting("model.hidden=[]")).is_told(2, "model.hidden")


def test_training_that_diverges_is_no_result(forked: Dlrun, tmp_path: Path) -> None:
    options = setting("optimizer.lr=1e30", "trainer.max_epochs=5", "batch_size=100")
    forked(*smoke(DENSE), *options).is_told(1, "optimizer.lr")
    found = results(tmp_path / "runs" / DENSE / "latest")
    assert found["status"] == "failed" and not found["steps"]  # not even its first epoch counts
