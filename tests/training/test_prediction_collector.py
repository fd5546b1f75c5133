import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from dlrun.training.network_module import PredictionCollector
from dlrun.training.objective import classification

CPU = torch.device("cpu")


def test_two_classes_to_their_last_digit() -> None:
    collector = PredictionCollector(classification(2))
    logits = torch.tensor([30.0, -30.0, 0.0, -1.5])
    collector.add(logits[:3], torch.tensor([1, 1, 0]))
    collector.add(logits[3:], torch.tensor([0]))
    labels, predicted, probability = collector.finish(CPU)
    assert labels.tolist() == [1, 1, 0, 0]
    assert predicted.tolist() == [1, 0, 0, 0]  # 0 is no more than 0, as for the accuracy
    assert probability == pytest.approx(1 / (1 + np.exp([-30.0, -30.0, 0.0, -1.5])), rel=1e-15)
    assert probability[0] < 1  # in single precision it would be 1


def test_more_classes() -> None:
    collector = PredictionCollector(classification(3))
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    collector.add(logits, torch.tensor([2, 0]))
    labels, predicted, probability = collector.finish(CPU)
    assert (labels.tolist(), predicted.tolist()) == ([2, 0], [1, 0])
    assert probability == pytest.approx(logits.softmax(-1).max(-1).values.tolist(), rel=1e-6)


def collect_share(rank: int, world: int, rows: int, folder: str) -> None:
    """Test every so-many-th row in one process of several."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    own = torch.arange(rank, rows, world)
    collector = PredictionCollector(classification(2))
    if len(own):
        collector.add(own - rows / 2, own % 2)
    np.save(Path(folder) / f"{rank}.npy", collector.finish(CPU))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [7, 1])
def test_several_processes_give_each_row_once_in_order(tmp_path: Path, rows: int) -> None:
    multiprocessing.spawn(collect_share, args=(2, rows, str(tmp_path)), nprocs=2)
    alone = PredictionCollector(classification(2))
    alone.add(torch.arange(rows) - rows / 2, torch.arange(rows) % 2)
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), alone.finish(CPU))
