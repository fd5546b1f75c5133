"""Declare the data sets, each with its sources; to add a source, add an object here.

MNIST (LeCun, Cortes and Burges, 1998) is known by the MD5 of its unpacked files, because copies are
often unpacked, or packed again. CIFAR100: Krizhevsky (2009). IMDB: Maas et al., ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment/, or as keras.datasets.imdb. Hitters.csv and NYSE.csv
are files of the authors' package `islp`. The readers are imported when they are called.
"""

import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from dlrun.data.sources import GENERATED, Dataset, RemoteFile, Source


def _function(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports and calls a function of a module of dlrun.data."""

    def call(*arguments: Any) -> Any:
        return pkgutil.resolve_name(f"dlrun.data.{module}:{name}")(*arguments)

    return call


def idx_files(url: str, digests: Iterable[str]) -> tuple[RemoteFile, ...]:
    """Return MNIST's four files, or others of the same format, by the MD5 of their content."""
    names = "train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1".split()
    return tuple(
        RemoteFile(f"{name}-ubyte.gz", f"{url}/{name}-ubyte.gz", "md5", digest, gzipped=True)
        for name, digest in zip(names, digests, strict=True)
    )


def _file_of_islp(name: str, sha256: str) -> tuple[RemoteFile]:
    path = f"ISLP/data/{name}"
    url = f"https://raw.githubusercontent.com/intro-stat-learning/ISLP/main/{path}"
    return (RemoteFile(name, url, "sha256", sha256, packaged=path),)


KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
DIGITS = tuple(map(str, range(10)))
SENTIMENTS = ("negative", "positive")

IMDB = Dataset(
    "imdb",
    (
        Source(
            "stanford",
            "IMDB reviews",
            _function("labelled_texts", "read_stanford_reviews"),
            files=(
                RemoteFile(
                    "aclImdb_v1.tar.gz",
                    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                    "md5",
                    "7c2ac02c03563afcf9b574c7e56c153a",
                ),
            ),
            labels=SENTIMENTS,
            is_book=True,
        ),
        Source(
            "keras",
            "IMDB reviews",
            _function("labelled_texts", "read_keras_reviews"),
            files=(
                RemoteFile(
                    "imdb.npz",
                    f"{KERAS}/imdb.npz",
                    "sha256",
                    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
                ),
                RemoteFile(
                    "imdb_word_index.json",
                    f"{KERAS}/imdb_word_index.json",
                    "md5",
                    "bfafd718b763782e994055a2d397834f",
                    key="word_index",
                ),
            ),
            labels=SENTIMENTS,
            is_book=True,
        ),
        Source(
            GENERATED,
            "reviews",
            _function("labelled_texts", "read_generated_reviews"),
            labels=SENTIMENTS,
        ),
    ),
    _function("labelled_texts", "make_reviews"),
    _function("labelled_texts", "show_reviews"),
    "sample_reviews",
)
TEXTS = Dataset(
    "texts",
    (
        Source(
            "own",
            "own texts",
            _function("labelled_texts", "read_own_texts"),
            check=_function("labelled_texts", "check_own_texts"),
        ),
    ),
    _function("labelled_texts", "make_reviews"),
    _function("labelled_texts", "show_reviews"),
)
CIFAR100 = Dataset(
    "cifar100",
    (
        Source(
            "torchvision",
            "CIFAR100",
            _function("small_images", "read_cifar100"),
            files=(
                RemoteFile(
                    "cifar-100-python.tar.gz",
                    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                    "md5",
                    "eb9058c3a382ffc7106e4002c42a8d85",
                ),
            ),
            is_book=True,
        ),
        Source(
            GENERATED,
            "images",
            _function("small_images", "read_generated_images"),
            labels=tuple(f"generated {number}" for number in range(100)),
        ),
    ),
    _function("small_images", "make_images"),
    sample_rows="sample_images",
)
IMAGES = Dataset(
    "images",
    (
        Source(
            "own",
            "own images",
            _function("small_images", "read_own_images"),
            check=_function("small_images", "check_own_images"),
        ),
    ),
    _function("small_images", "make_images"),
)
MNIST = Dataset(
    "mnist",
    (
        Source(
            "torchvision",
            "MNIST",
            _function("small_images", "read_idx_images"),
            files=idx_files(
                # torchvision's address of MNIST; its other one is no https.
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                (
                    "6bbc9ace898e44ae57da46a324031adb",
                    "a25bea736e30d166cdddb491f175f624",
                    "2646ac647ad5339dbf082846283269ea",
                    "27ae3e4e09519cfbb04c329615203637",
                ),
            ),
            labels=DIGITS,
            is_book=True,
        ),
        Source(
            GENERATED,
            "digits",
            _function("small_images", "read_generated_digits"),
            labels=DIGITS,
        ),
    ),
    _function("small_images", "make_images"),
    _function("small_images", "show_digits"),
    sample_rows="sample_images",
)
HITTERS = Dataset(
    "hitters",
    (
        Source(
            "hitters",
            "Hitters",
            _function("tables", "read_table"),
            files=_file_of_islp(
                "Hitters.csv", "ebf7b9dff89366b0544fea09c0ac2df9abdbf5b4ce8d96651316c2c12793d952"
            ),
            is_book=True,
            check=_function("tables", "check_table"),
        ),
        Source(GENERATED, "players", _function("tables", "read_generated_players")),
    ),
    _function("tables", "make_table"),
    _function("tables", "show_rows"),
)
NYSE = Dataset(
    "nyse",
    (
        Source(
            "nyse",
            "NYSE",
            _function("tables", "read_days"),
            files=_file_of_islp(
                "NYSE.csv", "4bb3e2e9872b2f7e6e8701afb8873cd9f4b7e66ee0b1ba62c116ff2b3a2eec60"
            ),
            is_book=True,
            check=_function("tables", "check_days"),
        ),
        Source(GENERATED, "days", _function("tables", "read_generated_days")),
    ),
    _function("tables", "make_days"),
    _function("tables", "show_rows"),
)
TABLE = Dataset(
    "table",
    (
        Source(
            "own",
            "own table",
            _function("tables", "read_table"),
            check=_function("tables", "check_table"),
        ),
    ),
    _function("tables", "make_table"),
    _function("tables", "show_rows"),
)
