"""The network that skips its padding is the plain one."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlrun.models.lstm import LSTMClassifier, _spans

Result = tuple[Tensor, list[Tensor]]


def pair() -> tuple[LSTMClassifier, LSTMClassifier]:
    torch.manual_seed(0)
    skip = LSTMClassifier(10_003, 32, 32)
    plain = LSTMClassifier(10_003, 32, 32, skip_padding=False)
    plain.load_state_dict(skip.state_dict())
    return skip, plain


def reviews(lengths: list[int], time: int = 500, dtype: torch.dtype = torch.int64) -> Tensor:
    random = np.random.default_rng(1)
    ids = np.zeros((len(lengths), time), int)
    for row, length in zip(ids, lengths, strict=True):
        row[time - length :] = random.integers(1, 10_003, length)
    return torch.from_numpy(ids).to(dtype)


def realistic(rows: int) -> list[int]:
    draws = np.random.default_rng(2).lognormal(5.2, 0.65, rows)
    return [int(n) for n in np.clip(draws, 11, 500)]


def run(model: nn.Module, ids: Tensor) -> Result:
    model.zero_grad()
    logits = model(ids)
    target = (torch.arange(len(ids)) % 2).float()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
    torch.autograd.backward(loss)
    return logits.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def same(ids: Tensor) -> None:
    (logits, grads), (plain_logits, plain_grads) = (run(model, ids) for model in pair())
    assert logits.shape == (len(ids),)
    torch.testing.assert_close(logits, plain_logits, rtol=0, atol=1e-5)
    assert len(grads) == len(plain_grads) == 7
    for grad, plain in zip(grads, plain_grads, strict=True):
        torch.testing.assert_close(grad, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_parameters() -> None:
    model = LSTMClassifier(10_003, 32, 32)
    assert sum(p.numel() for p in model.parameters()) == 328_577
    assert [name for name, _ in model.named_children()] == ["embedding", "lstm", "output"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_realistic_lengths(dtype: torch.dtype) -> None:
    same(reviews(realistic(300), dtype=dtype))


@pytest.mark.parametrize(
    "lengths",
    [
        [0] * 20,  # nothing but padding
        [500] * 20,  # no padding
        [1] * 20,
        [0, 500] * 10,
        [0] * 19 + [1],
        [25, 26, 24, 50, 51, 49] * 5,  # around the edges of the spans
        [475, 476, 474] * 7,
        [130],  # the small batch's plain path
    ],
)
def test_degenerate_lengths(lengths: list[int]) -> None:
    same(reviews(lengths))


@pytest.mark.parametrize("time", [1, 7, 25, 26, 103])
def test_other_widths(time: int) -> None:
    same(reviews([n % (time + 1) for n in range(40)], time))


def test_interior_zeros_count() -> None:
    ids = reviews(realistic(40))
    ids[:, -5:-2] = 0
    ids[::3, -1] = 0
    same(ids)


def test_no_grad_and_determinism() -> None:
    skip, plain = pair()
    ids = reviews(realistic(300))
    first, second = run(skip, ids), run(skip, ids)
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    with torch.no_grad():
        torch.testing.assert_close(skip(ids), plain(ids), rtol=0, atol=1e-5)


def test_bf16_is_as_close_to_float32_as_the_plain_path() -> None:
    skip, plain = pair()
    ids = reviews(realistic(300))
    exact = run(plain, ids)
    with torch.autocast("cpu", torch.bfloat16):
        low, ref = run(skip, ids), run(plain, ids)
    assert low[0].dtype == torch.bfloat16
    bound = 2 * float((ref[0] - exact[0]).abs().max())
    assert float((low[0] - exact[0]).abs().max()) <= bound
    for grad, reference, truth in zip(low[1], ref[1], exact[1], strict=True):
        assert float((grad - truth).norm()) <= 2 * float((reference - truth).norm()) + 1e-6


def test_errors() -> None:
    model = LSTMClassifier(10_003, 32, 32)
    with pytest.raises(TypeError, match="int32 or int64"):
        model(torch.zeros(20, 5))
    for shape in [(5,), (0, 5), (5, 0), (2, 3, 4)]:
        with pytest.raises(ValueError, match="non-empty"):
            model(torch.zeros(shape, dtype=torch.int64))


def test_summary_shapes() -> None:
    info = pytest.importorskip("torchinfo").summary(
        LSTMClassifier(10_003, 32, 32), input_data=reviews(realistic(10)), verbose=0
    )
    shapes = {layer.class_name: layer.output_size for layer in info.summary_list}
    assert shapes["Embedding"] == shapes["LSTM"] == [10, 500, 32]
    assert shapes["LSTMClassifier"] == [10]
    assert info.total_params == 328_577


def test_spans_cover_the_time_and_never_start_late() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        time = int(random.integers(1, 520))
        starts = sorted(int(n) for n in random.integers(0, time + 1, random.integers(1, 60)))
        spans = _spans(starts, time)
        assert [b for b, _, _ in spans] == [0, *(e for _, e, _ in spans[:-1])]
        assert spans[-1][1:] == (time, len(starts))
        for _, end, rows in spans[:-1]:  # who is not in yet has only padding up to the span's end
            assert all(start >= end for start in starts[rows:])
