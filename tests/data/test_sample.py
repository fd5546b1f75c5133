from collections import Counter

import numpy as np
import pytest

from dlrun.data import cifar100, sample
from dlrun.data.encoding import split_words


def test_reviews_repeat_with_their_seed() -> None:
    (texts, labels), (again, labels_again) = sample.reviews(40, 3), sample.reviews(40, 3)
    assert texts == again
    assert labels.tolist() == labels_again.tolist()
    assert sample.reviews(40, 4)[0] != texts


@pytest.mark.parametrize("count", [10, 11])
def test_reviews_hold_both_labels_in_halves(count: int) -> None:
    texts, labels = sample.reviews(count, 0)
    assert len(texts) == len(labels) == count
    assert Counter(labels.tolist()) == {0: (count + 1) // 2, 1: count // 2}


def test_reviews_differ_and_their_words_tell_the_label() -> None:
    texts, labels = sample.reviews(400, 0)
    assert len(set(texts)) == 400
    wonderful = np.array([split_words(text).count("wonderful") for text in texts])
    assert wonderful[labels == 1].mean() > 1.3 * wonderful[labels == 0].mean() > 0


def test_images_repeat_with_their_seed() -> None:
    (pixels, labels), (again, labels_again) = sample.images(120, 5), sample.images(120, 5)
    assert np.array_equal(pixels, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(sample.images(120, 6)[0], pixels)


def test_images_have_the_shape_of_cifar100_and_every_class() -> None:
    pixels, labels = sample.images(200, 0)
    assert (pixels.shape, pixels.dtype) == ((200, 32, 32, 3), np.uint8)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [2] * 100
    assert pixels.min() < 50 < 200 < pixels.max()


def test_images_of_a_class_look_alike_across_seeds() -> None:
    def colours(seed: int) -> np.ndarray:
        pixels, labels = sample.images(300, seed)
        return np.stack([pixels[labels == label].mean((0, 1, 2)) for label in range(100)])

    one, two = colours(0), colours(1)
    distance = np.linalg.norm(one[:, None] - two[None], axis=2)
    assert (distance.argmin(1) == np.arange(100)).mean() > 0.5


def test_generated_cifar100_is_labelled_as_generated() -> None:
    data = cifar100.generate(100, seed=2)
    assert data.train.pixels.shape == (100, 3, 32, 32)
    assert data.test.pixels.shape == (20, 3, 32, 32)
    assert data.train.pixels.flags.c_contiguous
    assert data.origin == "generated sample images (100 + 20, seed 2)"
    assert data.differs == "the data are generated"
    assert data.names[99] == "generated 99"
    assert not np.array_equal(data.train.pixels[:20], data.test.pixels)
    pixels, _ = sample.images(100, 2)
    assert np.array_equal(data.train.pixels, pixels.transpose(0, 3, 1, 2))
