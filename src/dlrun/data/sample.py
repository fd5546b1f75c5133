"""Generated data in the shapes of the real ones, from a seed.

They let every experiment run without a download. Results on them say nothing about the real
data, so wherever one is shown it is labelled as generated.
"""

import numpy as np
from numpy.typing import NDArray

_GOOD = (
    "wonderful great superb moving brilliant delightful charming gripping funny beautiful fresh "
    "clever honest touching excellent perfect rich warm memorable thrilling"
).split()
_BAD = (
    "awful dull terrible boring weak clumsy tedious flat predictable shallow annoying lifeless "
    "messy silly poor forgettable cheap painful cold pointless"
).split()
_NOUNS = (
    "film movie story plot acting cast script music ending scene director camera dialogue hero "
    "villain pace humour mood city family summer war train winter letter journey"
).split()
_FRAMES = (
    "the {noun} was {word} and i will remember the {other}",
    "i found the {noun} {word} but the {other} went on",
    "it's a {word} {noun} about a {other}",
    "the {noun} and the {other} were {word}",
    "my friends said that this {noun} is {word}",
    "we watched the {noun} with the {other} in mind",
)
_AGREE = 0.66  # share of the words of judgement that agree with the review's label


def reviews(count: int, seed: int) -> tuple[list[str], NDArray[np.int8]]:
    """Return generated reviews of 2 to 40 sentences and their labels, half of them positive."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 2).astype(np.int8)
    return [_review(bool(label), random) for label in labels], labels


def _review(positive: bool, random: np.random.Generator) -> str:
    sentences = []
    for _ in range(int(random.integers(2, 41))):
        agrees = random.random() < _AGREE
        words = _GOOD if positive == agrees else _BAD
        frame = _FRAMES[random.integers(len(_FRAMES))]
        noun, other = random.choice(_NOUNS, 2, replace=False)
        # Squared: a few words are frequent and many are rare, as in a language.
        word = words[int(len(words) * random.random() ** 2)]
        sentences.append(frame.format(noun=noun, other=other, word=word))
    return ". ".join(sentences) + "."


def images(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return generated images in CIFAR100's shape, (count, 32, 32, 3), and labels 0-99.

    Each class has a colour and a stripe pattern of its own; noise hides part of both.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 100)
    classes = np.random.default_rng(100)  # the same classes for training and test
    colour = classes.uniform(60, 200, (100, 3))
    frequency = classes.uniform(-0.9, 0.9, (100, 2))
    y, x = np.mgrid[:32, :32]
    phase = random.uniform(0, 2 * np.pi, count)[:, None, None]
    along, across = frequency[labels].T[:, :, None, None]
    stripes = 40 * np.sin(along * x + across * y + phase)
    noise = random.normal(0, 30, (count, 32, 32, 3))
    pixels = colour[labels][:, None, None, :] + stripes[..., None] + noise
    return pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64)
