"""The network that skips its padding is the plain one."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlrun.kernels.numba_simd import LANES as WIDTH
from dlrun.networks.reviews import LSTMClassifier
from dlrun.system.library_settings import temporary_library_settings

WORDS = 10_003
Result = tuple[Tensor, list[Tensor]]


def pair(
    words: int = WORDS, embedding: int = 32, hidden: int = 32
) -> tuple[LSTMClassifier, LSTMClassifier]:
    torch.manual_seed(0)
    skip = LSTMClassifier(words, embedding, hidden)
    plain = LSTMClassifier(words, embedding, hidden)
    plain.last_state.applies = lambda *_: False  # type: ignore[method-assign]
    plain.load_state_dict(skip.state_dict())
    return skip, plain


def reviews(lengths: list[int], time: int = 500, words: int = WORDS) -> Tensor:
    """Frequent words are frequent, as in real reviews."""
    random = np.random.default_rng(1)
    ids = np.zeros((len(lengths), time), np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[time - length :] = random.zipf(1.3, length) % (words - 1) + 1
    return torch.from_numpy(ids)


def realistic(rows: int) -> list[int]:
    draws = np.random.default_rng(2).lognormal(5.2, 0.65, rows)
    return [int(n) for n in np.clip(draws, 11, 500)]


def run(model: nn.Module, ids: Tensor) -> Result:
    model.zero_grad()
    logits = model(ids)
    target = (torch.arange(len(ids)) % 4 == 0).float()  # halves would cancel out
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
    torch.autograd.backward(loss)
    return logits.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def close(found: Result, expected: Result) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)
    assert len(found[1]) == len(expected[1]) == 7
    for grad, plain in zip(found[1], expected[1], strict=True):
        assert float((grad - plain).norm()) <= 1e-5 * float(plain.norm())


def assert_equivalent(ids: Tensor, **sizes: int) -> None:
    skip, plain = pair(**sizes)
    found = run(skip, ids)
    assert found[0].shape == (len(ids),)
    close(found, run(plain, ids))
    with torch.no_grad():
        torch.testing.assert_close(skip(ids), plain(ids), rtol=0, atol=1e-6)


def equal(first: Result, second: Result) -> bool:
    pairs = zip([first[0], *first[1]], [second[0], *second[1]], strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


LENGTHS = {
    "realistic": realistic(300),
    "only rows of padding": [0] * 20,
    "one full row": [500],
    "no padding": [500] * 20,
    "the longest and the shortest": [0, 500] * 10,
    "one word in the batch": [0] * 19 + [1],
    "around the edges of the tiles": [31, 32, 33, 63, 64, 65] * 5,
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_lengths(lengths: list[int]) -> None:
    assert_equivalent(reviews(lengths))


SIZES = [(1, 1), (5, 3), (7, WIDTH), (WIDTH, 33), (WIDTH + 1, 2 * WIDTH), (16, 100)]


@pytest.mark.parametrize(("embedding", "hidden"), SIZES)
def test_other_sizes(embedding: int, hidden: int) -> None:
    assert_equivalent(reviews(realistic(30)), embedding=embedding, hidden=hidden)


def test_other_widths_of_a_batch_and_few_words() -> None:
    for time in (1, 7, 33):
        assert_equivalent(reviews([n % (time + 1) for n in range(40)], time).long())
    for words in (1, 2, 3, 50):
        assert_equivalent(torch.arange(20 * 9).reshape(20, 9) % words, words=words)


def test_the_edges_of_the_vocabulary_and_of_a_larger_array() -> None:
    ids = reviews(realistic(40))
    ids[:, -1], ids[::2, -2] = WORDS - 1, 0
    ids[:, -9:-4] = 0  # within a review it counts
    assert_equivalent(ids[::2, 7:])
    for model in pair():
        for wrong in (-1, WORDS, 2**32):
            others = ids.long()
            others[3, 400] = wrong
            with pytest.raises(IndexError):
                model(others)


def test_same_bits_for_any_number_of_threads_and_again() -> None:
    skip, _ = pair()
    ids = reviews(realistic(301))
    results = []
    for threads in (1, 2, 3, 40, 1):
        model = LSTMClassifier(WORDS, 32, 32)
        model.load_state_dict(skip.state_dict())
        with temporary_library_settings(threads, torch_threads=1):
            results += [run(model, ids), run(model, ids)]
    assert all(equal(results[0], other) for other in results[1:])


def test_batches_between_forward_and_backward() -> None:
    skip, plain = pair()
    first, second = reviews(realistic(30)), reviews(realistic(20))

    def both(model: LSTMClassifier) -> Result:
        model.zero_grad()
        one, two = model(first), model(second)
        with torch.no_grad():
            model(first[:25])
        torch.autograd.backward(one.sum() + two.square().sum())
        return torch.cat([one, two]).detach(), [p.grad for p in model.parameters()]  # type: ignore[misc]

    close(both(skip), both(plain))
    logits = skip(first)
    logits.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second forward"):
        logits.sum().backward()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["embedding.weight", "lstm.weight_hh_l0", "lstm.bias_ih_l0"])
def test_what_is_not_finite_is_not_hidden(name: str, value: float) -> None:
    ids = reviews(realistic(40))
    skip, plain = pair()
    for model in (skip, plain):
        with torch.no_grad():
            model.get_parameter(name).view(-1)[40:70] = value
    ids[:, 490] = 2  # its vector is hit
    (logits, grads), (expected, _) = run(skip, ids), run(plain, ids)
    assert torch.equal(logits.isnan(), expected.isnan())
    if math.isnan(value):
        assert logits.isnan().all() and all(grad.isnan().any() for grad in grads)


def test_bf16_computes_the_lstm_in_float32() -> None:
    """On every CPU: many have no kernel of an LSTM in bfloat16."""
    ids = reviews(realistic(300))
    for model in pair():
        exact = run(model, ids)
        with torch.autocast("cpu", torch.bfloat16):
            low = run(model, ids)
        assert low[0].dtype == torch.bfloat16
        torch.testing.assert_close(low[0].float(), exact[0], rtol=1e-2, atol=1e-3)
        for grad, truth in zip(low[1], exact[1], strict=True):
            assert float((grad - truth).norm()) <= 1e-2 * float(truth.norm())


def test_errors() -> None:
    model = LSTMClassifier(WORDS, 32, 32)
    with pytest.raises(TypeError, match="int32 or int64"):
        model(torch.zeros(20, 5))
    for shape in [(5,), (0, 5), (5, 0), (2, 3, 4)]:
        with pytest.raises(ValueError, match="non-empty"):
            model(torch.zeros(shape, dtype=torch.int64))
