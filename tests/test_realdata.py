"""The experiments on the real reviews and photographs, against what lab.md and the book say."""

import csv
import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun.api import Run
from dlrun.data import dataset_catalog
from dlrun.system.console import Screen
from tests.conftest import Dlrun, Done, setting, smoke
from tests.data.test_labelled_texts import config
from tests.data.use import shipped_data
from tests.experiments.use import finished, results
from tests.reports.example_runs import sections
from tests.reports.test_overview_table import overview
from tests.reproduction.lab import assert_editions_are_explained

PUBLISHED_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
pytestmark = pytest.mark.realdata


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reviews are prepared once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, real_data: Path, data_dir: Path) -> Done:
    """The run of an experiment on the real reviews, done once for all tests."""
    more = {"imdb-lstm": setting("trainer.max_epochs=4")}

    @functools.cache
    def of(name: str) -> Path:
        sets = setting(f"data.archive={real_data / 'aclImdb_v1.tar.gz'}") + more.get(name, [])
        return finished(tmp_path_factory.mktemp(name), [name, *sets, "--data-dir", str(data_dir)])

    return of


def why_not_compared(real_data: Path, *differences: str) -> str | None:
    """What a run's `reference_differs` says: an archive may hold other reviews."""
    with (real_data / "aclImdb_v1.tar.gz").open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").hexdigest()
    other = [] if digest == PUBLISHED_MD5 else ["not the book's data"]
    return ", ".join([*other, *differences]) or None


def test_words_and_ids_are_kerass(real_data: Path, data_dir: Path) -> None:
    data = config(archive=real_data / "aclImdb_v1.tar.gz", num_words=10_000)
    reviews = dataset_catalog.IMDB.load(data, data_dir, 0, Screen(quiet=True))
    assert len(reviews.train.ids) == len(reviews.test.ids) == 25_000
    assert reviews.train.labels.sum() == reviews.test.labels.sum() == 12_500
    assert len(reviews.vocabulary) == 10_000 - 4
    assert reviews.vocabulary[:12] == "the and a of to is br in it i this that".split()
    lengths = np.diff(reviews.train.ids.offsets)
    assert lengths.mean() == pytest.approx(238.70, abs=0.005)
    assert (lengths <= 500).mean() == pytest.approx(0.916, abs=0.0005)
    assert reviews.train.ids.ids.max() < 10_000


def test_dense_reaches_the_books_accuracy(trained: Done, real_data: Path) -> None:
    found = results(trained("imdb-dense"))
    assert 0.845 <= found["metrics"]["test_accuracy"] <= 0.875
    assert found["parameters"] == 160_353
    assert found["data"].startswith("IMDB reviews (")
    assert found["reference_differs"] == why_not_compared(real_data)


def test_lstm_learns(trained: Done, real_data: Path) -> None:
    """Four of the twenty epochs; all of them end at .847 and .844 (README)."""
    found = results(trained("imdb-lstm"))
    assert found["metrics"]["test_accuracy"] > 0.8
    assert found["parameters"] == 328_577
    epochs = "trainer.max_epochs is 4 (book: 20)"
    assert found["reference_differs"] == why_not_compared(real_data, epochs)


def test_lasso_peaks_where_the_book_does(trained: Done, real_data: Path) -> None:
    found = results(trained("imdb-lasso"))
    assert found["reference_differs"] == why_not_compared(real_data)
    path = Run.open(trained("imdb-lasso")).table
    assert 0.875 <= max(path["valid_accuracy"]) <= 0.888
    assert 0.875 <= max(path["test_accuracy"]) <= 0.885
    nonzero = path["nonzero"]
    assert len(nonzero) == 50
    assert nonzero[0] <= 1 and 5_000 < nonzero[-1] < 6_000


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso", "imdb-lstm"])
def test_its_own_test_set_is_predicted(
    forked: Dlrun, trained: Done, tmp_path: Path, data_dir: Path, name: str
) -> None:
    """And again from the words of its reviews alone, 10,000 of them as a table."""
    run = trained(name)
    done = forked("predict", run, "--test", "--data-dir", data_dir).is_told(0)
    assert "row for row as in the run's predictions.csv" in done.stdout
    opened = Run.open(run)
    reviews = dataset_catalog.IMDB.load(
        opened.config.data, data_dir, opened.config.seed, Screen(quiet=True)
    )  # type: ignore[attr-defined]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["text"])
        for row in range(10_000):
            # Words beyond the vocabulary are one id to the network, and one word here.
            words = reviews.decode(reviews.test.ids.review(row)[1:])
            table.writerow([words.replace("<UNK>", "\N{SNOWMAN}")])
    forked("predict", run, "--csv", "in.csv", "--out", "out.csv").is_told(0)
    kept = list(csv.DictReader(opened.read("predictions.csv").decode().splitlines()))
    with (tmp_path / "out.csv").open(newline="") as stream:
        for one, other in zip(csv.DictReader(stream), kept[:10_000], strict=True):
            assert one["predicted"] == other["predicted"]
            assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-5)


def digits(forked: Dlrun, tmp_path: Path, real_data: Path, name: str, epochs: int) -> dict:
    sets = setting(f"data.archive={real_data / 'mnist'}", f"trainer.max_epochs={epochs}")
    forked(name, *sets).is_told(0)
    return results(tmp_path / "runs" / name / "latest")


def test_mnist_is_the_published_one(forked: Dlrun, real_data: Path) -> None:
    archive = "--set", f"data.archive={real_data / 'mnist'}"
    done = forked("data", "fetch", "mnist", *archive).is_told(0)
    assert done.stdout.replace("\n", " ").count("as published") == 4
    assert "60,000 training and 10,000 test rows" in done.stdout.replace("\n", " ")


def test_the_logistic_fit_is_the_notebooks(forked: Dlrun, tmp_path: Path, real_data: Path) -> None:
    found = digits(forked, tmp_path, real_data, "mnist-logistic", 30)
    assert found["metrics"]["test_accuracy"] == pytest.approx(0.916, abs=0.02)
    assert (found["parameters"], found["reference_differs"]) == (7_850, None)


def test_the_network_knows_digits_in_files(forked: Dlrun, tmp_path: Path, real_data: Path) -> None:
    """Three of the thirty epochs; ten of its test images as files, of them some on white paper."""
    found = digits(forked, tmp_path, real_data, "mnist-dense", 3)
    assert found["metrics"]["test_accuracy"] > 0.92 and found["parameters"] == 235_146
    data = shipped_data("mnist-dense", archive=real_data / "mnist")
    images = dataset_catalog.MNIST.load(data, tmp_path, 0, Screen(quiet=True)).test
    (tmp_path / "digits").mkdir()
    for index in range(10):
        pixels = images.pixels[index] if index % 2 else 255 - images.pixels[index]
        Image.fromarray(pixels).save(tmp_path / "digits" / f"{index}.png")
    done = forked("predict", "latest", "digits", "--json").is_told(0)
    opened = Run.open("latest", tmp_path / "runs")
    kept = list(csv.DictReader(opened.read("predictions.csv").decode().splitlines()))[:10]
    for line, row in zip(done.stdout.splitlines(), kept, strict=True):
        assert json.loads(line)["label"] == row["predicted"]


def test_the_book_reproduced(forked: Dlrun, tmp_path: Path, real_data: Path) -> None:
    """Both accuracies are the book's; the photographs are classified, by whichever network."""
    (tmp_path / "data" / "imdb").mkdir(parents=True)
    (tmp_path / "data" / "imdb" / "aclImdb_v1.tar.gz").symlink_to(real_data / "aclImdb_v1.tar.gz")
    (tmp_path / "data" / "book_images").symlink_to(real_data / "book_images")
    names = ["imdb-dense", "imdb-lasso", "classify-images"]
    done = forked("reproduce", *names, "--json", "--accelerator", "cpu").is_told(0)
    found = {
        (one["experiment"], row["metric"]): row
        for one in json.loads(done.stdout)["experiments"]
        for row in one["rows"]
    }
    for experiment in ("imdb-dense", "imdb-lasso"):
        row = found[experiment, "test_accuracy"]
        assert row["book_is"] is None and row["count"] == 5
        assert abs(row["mean"] - row["book"]) < 0.02, "eight of the texts are others"
    photographs = found["classify-images", "first labels of 6"]
    assert (photographs["book"], photographs["notebook"]) == (6, 4)
    assert photographs["mean"] >= 3


def test_photographs_have_the_books_labels(forked: Dlrun, tmp_path: Path, real_data: Path) -> None:
    forked(*smoke("classify-images"), real_data / "book_images").is_told(0)
    found: dict[str, dict[str, float]] = {}
    with (tmp_path / "runs/classify-images/latest/predictions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            labels = found.setdefault(Path(row["image"]).name, {})
            labels[row["label"]] = float(row["probability"])
    assert len(found) == 6
    for image, label, probability in (
        ("Flamingo.jpg", "flamingo", 0.577),
        ("Lhasa_Apso.jpg", "Lhasa", 0.49),
        ("Hawk_cropped.jpg", "kite", 0.30),
    ):
        assert next(iter(found[image])) == label
        assert found[image][label] == pytest.approx(probability, abs=0.02)


def test_demo_reproduction_and_page_have_the_lasso_of_both_editions(
    forked: Dlrun, tmp_path: Path, real_data: Path
) -> None:
    """The scaled fit equals the notebook's number, the other one the printed one."""
    data = ["--data-dir", str(tmp_path / "data")]
    (tmp_path / "data" / "hitters").mkdir(parents=True)
    (tmp_path / "data" / "hitters" / "Hitters.csv").symlink_to(real_data / "Hitters.csv")
    shown = forked("demo", "hitters-lasso", *data).is_told(0).stdout
    lines = [line.split() for line in shown.splitlines()[2:4]]
    assert lines == [
        ["hitters-lasso", "mae", "235.6755", "235.6755"],
        ["scale=false", "mae", "257.2382", "257.2382"],
    ]
    assert_editions_are_explained(shown)
    done = forked("reproduce", "hitters-lasso", *data, "--json").is_told(0)
    parts = json.loads(done.stdout)["experiments"]
    rows = [part["rows"][0] for part in parts]
    assert [(row["book"], row["book_is"]) for row in rows] == [(None, None), (257.2382, "equal")]
    notebook = [(row["notebook"], row["notebook_is"]) for row in rows]
    assert notebook == [(235.6754837, "equal"), (None, None)]
    runs = [Run.open(tmp_path / folder) for part in parts for folder in part["runs"]]
    shown_rows = overview(sections(*runs)).table.rows
    cells = [row.cells for row in shown_rows]
    published = [(row["published"].striptags(), row["position"]) for row in cells]
    assert published == [("235.6755 notebook", "equal"), ("257.2382 book", "equal")]
