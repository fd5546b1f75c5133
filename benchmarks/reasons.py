"""Time torch's way and dlrun's of one piece of an update: docs/explanation/why-faster.md.

Needs the reviews in the data folder (DLRUN_DATA_DIR). Prints milliseconds, the least of 20 times.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from dlrun import datasets
from dlrun.kernels.bag_linear import BagLinear, BagOfWordsBatch
from dlrun.kernels.batch_parts import FastDropout
from dlrun.kernels.lstm import LSTMLastState
from dlrun.kernels.rmsprop import OnePassRMSprop


def milliseconds(compute: Callable[[], object]) -> float:
    times = []
    for _ in range(20):
        started = time.perf_counter()
        compute()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def tell(
    what: str, torchs: Callable[[], object], ours: Callable[[], object], about: str = ""
) -> None:
    our_time = milliseconds(ours)
    torchs_time = milliseconds(torchs)
    times = f"{torchs_time:.3g} ms, {our_time:.3g} ms, {torchs_time / our_time:.2g} times"
    sys.stdout.write(f"{what}: {times}{about}\n")


def bags() -> None:
    X: Any = datasets.imdb_bags().train.X
    rows, layer, sparse_layer = np.arange(512), nn.Linear(10_003, 16), BagLinear(10_003, 16)
    share = f"; {X.nnz / np.prod(X.shape):.2%} of the matrix are ones"
    tell(
        "a layer on 512 bags, forward and backward",
        lambda: layer(torch.from_numpy(X[rows].toarray())).sum().backward(),
        lambda: sparse_layer(BagOfWordsBatch(X, rows)).sum().backward(),
        share,
    )


def lstm() -> None:
    X = datasets.imdb_sequences().train.X
    batches = np.random.default_rng(0).permutation(X)[:3000].reshape(10, 300, -1)
    ids = torch.from_numpy(batches[0])
    embedding, layer, last_state = nn.Embedding(10_003, 32), nn.LSTM(32, 32), LSTMLastState()
    layer.batch_first = True
    words = np.mean([len(np.unique(batch)) for batch in batches])
    tell(
        "an LSTM on 300 reviews, forward and backward",
        lambda: layer(embedding(ids))[0][:, -1].sum().backward(),
        lambda: last_state(layer, embedding, ids).sum().backward(),  # type: ignore[no-untyped-call]
        f"; {np.mean(X == 0):.0%} is padding; a batch has {words:.0f} different words",
    )


def rmsprop() -> None:
    weights = [nn.Parameter(torch.randn(10_003, 16)) for _ in range(2)]
    for one in weights:
        one.grad = torch.randn(10_003, 16)
    theirs, ours = torch.optim.RMSprop(weights[:1]), OnePassRMSprop(weights[1:], lr=0.01)
    tell("RMSprop on 10,003 x 16 weights", theirs.step, ours.step)


def dropout() -> None:
    numbers = torch.randn(256, 2048)
    tell(
        "dropout of 256 x 2,048",
        lambda: nn.Dropout(0.4)(numbers),
        lambda: FastDropout(0.4)(numbers),
    )


if __name__ == "__main__":
    for measure in (bags, lstm, rmsprop, dropout):
        measure()
