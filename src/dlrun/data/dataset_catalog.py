"""Declare dlrun's data sets, each with the sources from which it can be read.

MNIST (LeCun, Cortes and Burges, 1998) is known by the MD5 of its unpacked files, because copies are
often unpacked, or packed again. CIFAR100: Krizhevsky (2009). IMDB: Maas et al., ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment/. Hitters.csv and NYSE.csv are files of the authors'
package `islp`.
"""

import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from dlrun.data.datasets_and_sources import GENERATED, Dataset, RemoteFile, Source


def lazy_reader(location: str) -> Callable[..., Any]:
    """Return a function of dlrun by `module:name`, which imports its module when called.

    The modules import numpy, pandas and Pillow, which commands that read no data do without.
    """

    def read(*arguments: object) -> Any:
        return pkgutil.resolve_name(f"dlrun.{location}")(*arguments)

    return read


def mnist_files(url: str, digests: Iterable[str]) -> tuple[RemoteFile, ...]:
    """Describe the four files of MNIST, or of data in its format, by their URL and MD5 digests."""
    names = "train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1".split()
    return tuple(
        RemoteFile(f"{name}-ubyte.gz", f"{url}/{name}-ubyte.gz", "md5", digest, gzipped=True)
        for name, digest in zip(names, digests, strict=True)
    )


def _file_of_islp(name: str, sha256: str) -> RemoteFile:
    """Describe a table of the authors' package `islp`, which is also in their repository."""
    path = f"ISLP/data/{name}"
    url = f"https://raw.githubusercontent.com/intro-stat-learning/ISLP/main/{path}"
    return RemoteFile(name, url, "sha256", sha256, packaged=path)


REVIEWS_ARCHIVE = RemoteFile(
    "aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "md5",
    "7c2ac02c03563afcf9b574c7e56c153a",
)
CIFAR100_ARCHIVE = RemoteFile(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5",
    "eb9058c3a382ffc7106e4002c42a8d85",
)
MNIST_FILES = mnist_files(
    "https://ossci-datasets.s3.amazonaws.com/mnist",  # torchvision's addresses: this one has https
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

read_reviews = lazy_reader("data.labelled_texts:read_stanford_reviews")
generate_reviews = lazy_reader("data.labelled_texts:read_generated_reviews")
read_own_texts = lazy_reader("data.labelled_texts:read_own_texts")
load_reviews = lazy_reader("data.labelled_texts:load_reviews")
read_cifar100 = lazy_reader("data.small_images:read_cifar100")
read_mnist = lazy_reader("data.small_images:read_mnist_files")
generate_images = lazy_reader("data.small_images:read_generated_images")
read_own_images = lazy_reader("data.small_images:read_own_images")
make_images = lazy_reader("data.small_images:make_images")
read_table_files = lazy_reader("tables.table:read_table_files")
generate_rows = lazy_reader("tables.generated_tables:generate_rows")
read_header = lazy_reader("tables.read_table:read_header")
describe_table = lazy_reader("tables.table:describe_table")
make_table = lazy_reader("tables.table:make_table")
make_lagged_days = lazy_reader("tables.trading_days:make_lagged_days")

IMDB = Dataset(
    "imdb",
    (
        Source(
            "stanford", "IMDB reviews", read_reviews, (REVIEWS_ARCHIVE,), SENTIMENTS, is_book=True
        ),
        Source(GENERATED, "reviews", generate_reviews, labels=SENTIMENTS),
    ),
    load_reviews,
    sample_rows="sample_reviews",
)
CIFAR100 = Dataset(
    "cifar100",
    (
        Source("torchvision", "CIFAR100", read_cifar100, (CIFAR100_ARCHIVE,), is_book=True),
        Source(GENERATED, "images", generate_images, labels=GENERATED_CLASSES),
    ),
    make_images,
    sample_rows="sample_images",
)
MNIST = Dataset(
    "mnist",
    (
        Source("torchvision", "MNIST", read_mnist, MNIST_FILES, DIGITS, is_book=True),
        Source(GENERATED, "digits", generate_images, labels=DIGITS),
    ),
    make_images,
    sample_rows="sample_images",
)
HITTERS = Dataset(
    "hitters",
    (
        Source("hitters", "Hitters", read_table_files, (HITTERS_CSV,), is_book=True),
        Source(GENERATED, "players", generate_rows),
    ),
    make_table,
    read_header=read_header,
)
NYSE = Dataset(
    "nyse",
    (
        Source("nyse", "NYSE", read_table_files, (NYSE_CSV,), is_book=True),
        Source(GENERATED, "days", generate_rows),
    ),
    make_lagged_days,
    read_header=read_header,
)

TEXTS = Dataset("texts", (Source("own", "own texts", read_own_texts),), load_reviews)
IMAGES = Dataset("images", (Source("own", "own images", read_own_images),), make_images)
TABLE = Dataset(
    "table",
    (Source("own", "own table", read_table_files),),
    make_table,
    read_header=read_header,
    describe=describe_table,
)
