"""A source of data is one object: what may be chosen, fetched and compared follows from it."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dlrun.api import Run
from dlrun.data import dataset_catalog
from dlrun.data.datasets_and_sources import DataOrigin, Dataset, ReadContext, Source
from dlrun.data.small_images import make_images
from dlrun.experiments import digits
from dlrun.experiments.registry import find_experiment
from tests.conftest import Dlrun, Patch, setting
from tests.data.test_mnist import contents, folder_of
from tests.experiments.use import contents as file_contents
from tests.experiments.use import latest

CLOTHES = tuple(f"cloth {number}" for number in range(10))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Silence."""


def declare(monkeypatch: Patch, data: Dataset) -> None:
    """Let mnist-dense have another data set."""
    monkeypatch.setattr(digits, "MNIST_DENSE", replace(digits.MNIST_DENSE, data=data))
    find_experiment.cache_clear()


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: Patch) -> Iterator[list[str]]:
    """The digests of the files of a further source of MNIST, which a server on loopback has."""
    files = contents(train=100, test=50)
    folder = folder_of(tmp_path / "published", files)
    md5 = [hashlib.md5(content).hexdigest() for content in files.values()]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    mnist = dataset_catalog.MNIST.sources[0]
    remote = dataset_catalog.mnist_files(f"http://127.0.0.1:{server.server_port}", md5)
    options = {"files": remote, "labels": CLOTHES}
    sources = (*dataset_catalog.MNIST.sources, Source("clothes", "Clothes", mnist.read, **options))
    declare(monkeypatch, replace(dataset_catalog.MNIST, sources=sources))
    with server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield md5
        server.shutdown()
    monkeypatch.undo()
    find_experiment.cache_clear()


def test_a_declared_source_is_chosen_and_fetched(
    cli: Dlrun, tmp_path: Path, digests: list[str]
) -> None:
    chosen = setting("data.source=clothes")
    mnist = folder_of(tmp_path / "data" / "mnist", contents(train=20, test=10))  # named alike
    before = file_contents(mnist)
    done = cli("data", "fetch", "mnist", *chosen).is_told(0)
    assert all(digest in done.stdout for digest in digests)
    assert file_contents(mnist).items() >= before.items()
    cli("mnist-dense", "data.source=cloths").is_told(2, "did you mean 'clothes'?")


def test_a_file_of_another_source_is_named(cli: Dlrun, tmp_path: Path, digests: list[str]) -> None:
    chosen = setting("data.source=clothes")
    cli("data", "fetch", "mnist", *chosen).is_told(0)
    clothes = tmp_path / "data" / "mnist" / "clothes"
    archive = setting(f"data.archive={clothes}")
    cli("data", "fetch", "mnist", *archive).is_told(1, "train-images-idx3-ubyte.gz of Clothes")
    other = folder_of(tmp_path / "other", contents(train=20, test=10))
    done = cli("data", "fetch", "mnist", *setting(f"data.archive={other}")).is_told(1)
    assert "Clothes" not in done.stderr


def test_a_download_tells_the_digest_that_a_new_source_needs(
    cli: Dlrun, digests: list[str], monkeypatch: Patch
) -> None:
    data = digits.MNIST_DENSE.data
    assert data is not None
    *others, clothes = data.sources
    unknown = replace(clothes, files=tuple(replace(file, digest="?") for file in clothes.files))
    declare(monkeypatch, replace(data, sources=(*others, unknown)))
    cli("data", "fetch", "mnist", "data.source=clothes").is_told(2, digests[0])


@pytest.mark.parametrize("is_book", [False, True])
def test_a_source_that_is_not_declared_as_the_books_is_never_compared(
    cli: Dlrun, tmp_path: Path, digests: list[str], monkeypatch: Patch, is_book: bool
) -> None:
    """Whatever its loader returns."""

    def make(context: ReadContext) -> object:
        images = make_images(context)
        return replace(images, origin=DataOrigin(images.origin.text, is_book=is_book))

    data = digits.MNIST_DENSE.data
    assert data is not None
    declare(monkeypatch, replace(data, make=make))
    words = ["mnist-dense", "data.source=clothes", "trainer.max_epochs=1"]
    done = cli(*words, "batch_size=50").is_told(0)
    run = Run.open(latest(tmp_path, "mnist-dense"))
    assert run.record.data == "Clothes (mnist)" and run.labels == [*CLOTHES]
    assert (run.record.reference_differs or "").startswith("not the book's data, ")
    assert run.record.expected == {}
    assert "Clothes" in run.experiment.load_implementation().title(run)
    assert "notebook" not in done.stdout
