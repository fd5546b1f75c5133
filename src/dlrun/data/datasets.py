"""Declare the data sets, each with its sources; to add a source, add an object here.

MNIST (LeCun, Cortes and Burges, 1998) is known by the MD5 of its unpacked files, because copies are
often unpacked, or packed again. CIFAR100: Krizhevsky (2009). IMDB: Maas et al., ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment/, or as keras.datasets.imdb. Hitters.csv and NYSE.csv
are files of the authors' package `islp`. The readers are imported when they are called.
"""

import pkgutil
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dlrun.data.sources import GENERATED, Dataset, RemoteFile, Source


def _call(module: str, name: str, *arguments: Any) -> Any:
    return pkgutil.resolve_name(f"dlrun.data.{module}:{name}")(*arguments)


def _function_of(module: str) -> Callable[[str], Callable[..., Any]]:
    """Return a function that returns the function of a name, which imports its module if called."""
    return lambda name: partial(_call, module, name)


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


def _file(address: str, algorithm: str, digest: str, key: str = "archive") -> RemoteFile:
    return RemoteFile(address.rpartition("/")[2], address, algorithm, digest, key)


texts, images, tables = map(_function_of, ("labelled_texts", "small_images", "tables"))

STANFORD = (
    _file(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        "md5",
        "7c2ac02c03563afcf9b574c7e56c153a",
    ),
)
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
KERAS = (
    _file(
        f"{KERAS_URL}/imdb.npz",
        "sha256",
        "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    ),
    _file(
        f"{KERAS_URL}/imdb_word_index.json", "md5", "bfafd718b763782e994055a2d397834f", "word_index"
    ),
)
ARCHIVE = (
    _file(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "md5",
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
)
IDX = idx_files(
    "https://ossci-datasets.s3.amazonaws.com/mnist",  # of torchvision's, the one with https
    (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
)
HITTERS_CSV = _file_of_islp(
    "Hitters.csv", "ebf7b9dff89366b0544fea09c0ac2df9abdbf5b4ce8d96651316c2c12793d952"
)
NYSE_CSV = _file_of_islp(
    "NYSE.csv", "4bb3e2e9872b2f7e6e8701afb8873cd9f4b7e66ee0b1ba62c116ff2b3a2eec60"
)

SENTIMENTS = ("negative", "positive")
GENERATED_CLASSES = tuple(f"generated {number}" for number in range(100))
DIGITS = tuple(map(str, range(10)))

stanford, keras = texts("read_stanford_reviews"), texts("read_keras_reviews")
cifar100, mnist = images("read_cifar100"), images("read_idx_images")
rows = tables("check_table")
IMDB = Dataset(
    "imdb",
    (
        Source("stanford", "IMDB reviews", stanford, STANFORD, SENTIMENTS, is_book=True),
        Source("keras", "IMDB reviews", keras, KERAS, SENTIMENTS, is_book=True),
        Source(GENERATED, "reviews", texts("read_generated_reviews"), labels=SENTIMENTS),
    ),
    texts("make_reviews"),
    texts("show_reviews"),
    "sample_reviews",
)
CIFAR100 = Dataset(
    "cifar100",
    (
        Source("torchvision", "CIFAR100", cifar100, ARCHIVE, is_book=True),
        Source(GENERATED, "images", images("read_generated_images"), labels=GENERATED_CLASSES),
    ),
    images("make_images"),
    sample_rows="sample_images",
)
MNIST = Dataset(
    "mnist",
    (
        Source("torchvision", "MNIST", mnist, IDX, DIGITS, is_book=True),
        Source(GENERATED, "digits", images("read_generated_digits"), labels=DIGITS),
    ),
    images("make_images"),
    images("show_digits"),
    sample_rows="sample_images",
)
table, days = tables("read_table"), tables("read_days")
HITTERS = Dataset(
    "hitters",
    (
        Source("hitters", "Hitters", table, HITTERS_CSV, (), rows, is_book=True),
        Source(GENERATED, "players", tables("read_generated_players")),
    ),
    tables("make_table"),
    tables("show_rows"),
)
NYSE = Dataset(
    "nyse",
    (
        Source("nyse", "NYSE", days, NYSE_CSV, (), tables("check_days"), is_book=True),
        Source(GENERATED, "days", tables("read_generated_days")),
    ),
    tables("make_days"),
    tables("show_rows"),
)
OWN_TEXTS = Source("own", "own texts", texts("read_own_texts"), check=texts("check_own_texts"))
OWN_IMAGES = Source(
    "own", "own images", images("read_own_images"), check=images("check_own_images")
)
OWN_TABLE = Source("own", "own table", table, check=rows)
TEXTS = Dataset("texts", (OWN_TEXTS,), texts("make_reviews"), texts("show_reviews"))
IMAGES = Dataset("images", (OWN_IMAGES,), images("make_images"))
TABLE = Dataset("table", (OWN_TABLE,), tables("make_table"), tables("show_rows"))
