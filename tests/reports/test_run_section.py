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


def test_words_by_weight(tmp_path: Path) -> None:
    words = [(f"w{n}", n / 10) for n in range(-20, 21)]
    low, high = section(a_classification(tmp_path / "e" / "r", words=words)).words_by_class
    assert (low[0], low[1][0]) == ("negative", ("w-20", -2.0))
    assert (high[0], high[1][0]) == ("positive", ("w20", 2.0))
    assert len(low[1]) == len(high[1]) == highlights.WORDS_SHOWN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.csv", b"row,label,predicted,probability\n1,a\n"),
        ("predictions.csv", b"image,rank,label,probability,error\na.jpg,1,owl,x,\n"),
        ("mistakes.json", b'{"mistakes": [{"row": 1}]}'),
        ("words.csv", b"word,weight\ngood,high\n"),
    ],
)
def test_nothing_damaged_is_shown(tmp_path: Path, name: str, content: bytes) -> None:
    """A file with another checksum, or of a run that recorded none with another content."""
    run = a_classification(tmp_path / "imdb-dense" / "r", mistakes=[MISTAKE], words=[("good", 1.0)])
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
