"""The experiments on a user's own data: run, resumed, opened, shown; refused where they must be."""

import csv
import json
import os
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from dlrun.api import Run
from dlrun.data.labelled_texts import generate_reviews
from tests import harness
from tests.conftest import Dlrun, setting
from tests.experiments.test_resume import outcome
from tests.experiments.use import killed_and_resumed, latest, results, table

NETWORKS, LASSO = ["text-dense", "text-lstm"], "text-lasso"
THREE = ["<b>bad</b>", "=1+1", "good"]


def texts(path: Path, names: list[str], count: int = 120) -> Path:
    """A CSV file of texts that tell their class at their end, `class0 a0 class0 b0 ...`."""
    reviews, _ = generate_reviews(count, 0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        for number, review in enumerate(reviews):
            which = number % len(names)
            of_class = " ".join(f"class{which} {word}{which}" for word in "abcdefghijkl")
            rows.writerow([f"{review} {of_class}", names[which]])
    return path


def sets(path: Path, *more: str) -> list[str]:
    return [str(path), *setting("data.validation=20", *more)]


def check_accuracy(run: Run, names: list[str], folder: Path) -> None:
    """Of the classes in their order: a good one, and that of the network as it is kept."""
    assert run.labels == sorted(names)
    assert run.test(folder).metrics["accuracy"] == run.record.metrics["test_accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_texts_of_three_classes(forked: Dlrun, tmp_path: Path, name: str) -> None:
    words = sets(texts(tmp_path / "a.csv", THREE), "batch_size=16", "optimizer.lr=0.01")
    done = forked(name, *words, *setting("trainer.max_epochs=3")).is_told(0)
    assert "book" not in done.stdout
    folder = latest(tmp_path, name)
    run = Run.open(folder)
    assert run.record.data.startswith("own texts (a.csv, ") and run.record.source is None
    check_accuracy(run, THREE, tmp_path / "again")
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    more = setting("trainer.max_epochs=4", f"data.path={tmp_path / 'b.csv'}")
    forked("resume", folder, *more).is_told(0)
    assert results(latest(tmp_path, name))["steps"] == 4
    texts(tmp_path / "b.csv", THREE, count=110)
    forked("resume", folder, *more).is_told(2, "data")


@pytest.mark.parametrize("names", [["1", "-1"], THREE])
def test_the_lasso_on_texts(tmp_path: Path, names: list[str]) -> None:
    """It is run, killed and resumed, used, repeated and shown, with two classes or three."""
    words = [LASSO, *sets(texts(tmp_path / "a.csv", names), "path.values=8")]
    whole = harness.run(tmp_path, *words).is_told(0)
    folder = latest(tmp_path, LASSO)
    resumed = killed_and_resumed(tmp_path / "killed", words, whole.operations, 0.5)
    assert outcome(resumed) == outcome(folder)
    run = Run.open(folder)
    best = max(run.rows, key=lambda row: row["valid_accuracy"])
    assert len(run.rows) == 8
    assert run.record.metrics["lambda"] == pytest.approx(best["lambda"])
    check_accuracy(run, names, tmp_path / "again")
    rows = table(folder, "words.csv")
    words_by_class = {row["class"]: row["word"] for row in reversed(rows)}
    for which, name in enumerate(names):
        cell = f"'{name}" if name[0] in "=-" else name  # a spreadsheet reads no formula
        assert words_by_class[cell].endswith(str(which))
        answer = harness.run(tmp_path, "predict", folder, f"a film class{which} a{which}", "--json")
        assert json.loads(answer.is_told(0).stdout)["label"] == name
    assert "row for row" in harness.run(tmp_path, "predict", folder, "--test").is_told(0).stdout
    harness.run(tmp_path, "verify", folder).is_told(0)
    harness.run(tmp_path, "report", folder).is_told(0)
    page = (tmp_path / "report.html").read_text()
    assert [name for name in names if f"<caption>For {escape(name)}</caption>" not in page] == []


def test_the_lasso_warns_of_a_class_without_a_text_to_fit(forked: Dlrun, tmp_path: Path) -> None:
    """The class has one training text, which validates with some seed."""
    path = texts(tmp_path / "a.csv", ["bad", "good"])
    with path.open("a") as stream:
        stream.write("alone,rare\nanother,rare\n")
    told = [
        "'rare'" in forked(LASSO, *sets(path, "path.values=3", f"seed={seed}")).is_told(0).stderr
        for seed in range(8)
    ]
    assert set(told) == {True, False}


@pytest.mark.parametrize("name", ["text-dense", LASSO])
def test_a_run_goes_not_on_with_exchanged_words(forked: Dlrun, tmp_path: Path, name: str) -> None:
    """The arrays stay the same; only the vocabulary tells."""
    file = texts(tmp_path / "a.csv", ["pos", "neg"])
    length = ["path.values=1000"] if name == LASSO else []
    child = harness.start(tmp_path, name, *sets(file, *length))
    harness.wait_until((tmp_path / "runs" / name / "latest" / "checkpoint").exists, child)
    child.end(after=0)
    run = latest(tmp_path, name).resolve()
    whole = file.read_text()
    exchanged = whole.replace("class0", "x").replace("class1", "class0").replace("x ", "class1 ")
    file.write_text(exchanged)
    more = [] if name == LASSO else setting("trainer.max_epochs=31")
    before = {file.name: file.read_bytes() for file in run.glob("checkpoint*")}
    forked("resume", run, *more).is_told(2, "data have changed")
    assert {file.name: file.read_bytes() for file in run.glob("checkpoint*")} == before


@pytest.mark.parametrize("name", [LASSO, "image-cnn"])
def test_a_changed_file_of_a_folder_is_noticed_whatever_its_size_and_time(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    """Of texts and of images: by a new run, a resumed sweep, a longer run and a new test."""
    root = tmp_path / "own"
    for place in range(20):
        file = root / "ab"[place % 2] / f"{place:02}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if name == LASSO:
            file.write_text(f"word{place % 2} some other{place:02}")
        else:
            Image.new("RGB", (32, 32), (place, 0, 255 * (place % 2))).save(f"{file}.bmp")
    few = "path.values=3" if name == LASSO else "trainer.max_epochs=1"
    words = ["own", *setting("data.validation=4", few)]
    forked(name, *words).is_told(0)
    forked("sweep", name, *words, "--seeds", "1", "--name", "mine").is_told(0)
    run = Run.open(latest(tmp_path, name))
    changed = sorted((root / "a").iterdir())[0]
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    forked("sweep", "--resume", "mine").is_told(2, "own has changed")
    forked("predict", run.folder, "--test").is_told(2, "the data have changed")
    forked(name, *words).is_told(0)
    again = Run.open(latest(tmp_path, name))
    assert again.record.data_digest != run.record.data_digest
    assert again.record.data != run.record.data


@pytest.mark.parametrize("name", ["table-linear", "table-dense", "text-dense", LASSO])
def test_the_baseline_is_the_largest_class_of_the_training_rows(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    """It is b in the training rows, and has a quarter of the test rows; list and page agree."""
    for part, classes in (("train", "abb" * 20), ("test", "aaba" * 5)):
        rows = [f"{row},some word{row},{label}" for row, label in enumerate(classes)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["x,text,label", *rows]))
    words = ["train.csv", *setting("data.test=test.csv")]
    if name.startswith("table"):
        target = ("data.target=label", "data.task=classification", "data.ignore=[text]")
        words += setting(*target)
    words += setting(*["trainer.max_epochs=1"] if name.endswith("dense") else [])
    done = forked(name, *words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    assert run.record.classes and run.record.classes.model_dump() == {
        "number": 2,
        "largest": "b",
        "share": 0.25,
    }
    shown = next(line for line in done.stdout.splitlines() if "always the largest" in line)
    assert shown.split()[-1] == "0.2500"
    listed = forked("runs", "list", "--where", "classes.share=0.25").is_told(0)
    assert run.name in listed.stdout
    forked("report").is_told(0)
    (page,) = tmp_path.rglob("*.html")
    _, _, after = page.read_text().partition("always the largest class")
    assert "0.2500" in after[:200]
