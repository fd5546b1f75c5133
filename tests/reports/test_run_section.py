"""The report reads what a run left for readers, and notes damaged files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun.reports import highlights
from dlrun.reports.run_section import RunSection
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import OutputFolder
from dlrun.runs.run import Run
from tests.reports.example_runs import a_classification
from tests.runs.making import a_run

MISTAKE = {"row": 7, "label": "negative", "predicted": "positive", "probability": 0.99}


def section(run: Run) -> RunSection:
    return RunSection(1, run, 1_000)


def test_long_texts_of_mistakes_are_cut(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "e" / "r", mistakes=[MISTAKE | {"text": "x" * 9000}] * 3000)
    mistakes = section(run).mistakes
    assert len(mistakes) == highlights.MISTAKES_SHOWN
    assert {len(one.text) for one in mistakes} == {highlights.MAX_TEXT}


@pytest.mark.parametrize("labels", [["negative", "positive"], ["-1", "0", "1"]])
def test_each_class_has_the_words_that_speak_for_it(tmp_path: Path, labels: list[str]) -> None:
    words = [(f"w{n}", name, n / 10) for name in labels[1:] for n in range(20, -21, -1) if n]
    words.append(("w1", labels[0], -0.1))
    run = a_classification(tmp_path / "e" / "r", labels=labels, words=words)
    found = section(run).words_by_class
    first = [(f"w{n}", n / 10) for n in range(20, 20 - highlights.WORDS_SHOWN, -1)]
    assert found == dict.fromkeys(labels[1:], first)  # no word speaks for the first class
    words = [("w1", name, 0.1) for name in labels]
    run = a_classification(tmp_path / "e" / "s", labels=labels, words=words)
    assert list(section(run).words_by_class) == labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.csv", b"row,label,predicted,probability\n1,a\n"),
        ("predictions.csv", b"image,rank,label,probability,error\na.jpg,1,owl,x,\n"),
        ("mistakes.json", b'{"mistakes": [{"row": 1}]}'),
        ("words.csv", b"word,class,weight\ngood,positive,high\n"),
    ],
)
def test_nothing_damaged_is_shown(tmp_path: Path, name: str, content: bytes) -> None:
    """A file with another checksum, or of a run that recorded none with another content."""
    run = a_classification(
        tmp_path / "imdb-dense" / "r", mistakes=[MISTAKE], words=[("good", "positive", 1.0)]
    )
    (run.folder / name).write_bytes(content)
    unrecorded = Run(run.folder, run.record.model_copy(update={"files": {}, "status": "failed"}))
    for one, problem in ((run, f"{name}: damaged"), (unrecorded, f"{name}: not what a run")):
        found = section(one)
        shown = (found.evaluation, found.mistakes, found.words_by_class, found.photographs)
        assert sum(map(bool, shown)) == 2  # the other two files
        assert len(found.problems) == 1 and problem in found.problems[0]


def test_photographs(tmp_path: Path) -> None:
    reference = {"book": {"a.jpg": {"owl": 0.5}}}
    folder = a_run(tmp_path / "e" / "r", status="interrupted", reference=reference)
    run = OutputFolder(folder)
    rows: list[list[object]] = [["/x/a.jpg", 1, "hawk", 0.6, ""], ["/x/a.jpg", 2, "owl", 0.3, ""]]
    rows += [["/x/b.jpg", "", "", "", "no photograph"], ["/x/c.jpg", 1, "cat", 0.9, ""]]
    heads = ["image", "rank", "label", "probability", "error"]
    run.write("predictions.csv", to_csv([heads, *rows]))
    stream = io.BytesIO()
    np.savez(stream, *(_jpeg(colour) for colour in ("red", "green")))
    run.write("thumbnails.npz", stream.getvalue())
    a, b, c = section(Run.in_folder(folder)).photographs
    assert (a.name, a.labels) == ("a.jpg", [("hawk", 0.6), ("owl", 0.3)])
    assert a.published == {"book": [("owl", 0.5)]}
    assert (b.error, b.picture) == ("no photograph", "")
    assert a.picture != c.picture and c.picture.startswith("data:image/jpeg;base64,")


def _jpeg(colour: str) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    stream = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(stream, "JPEG")
    return np.frombuffer(stream.getvalue(), np.uint8)
