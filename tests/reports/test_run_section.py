"""The report reads what a run left for readers, and refuses damaged files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun.errors import DataError
from dlrun.experiments.saved_run import Run
from dlrun.reports import run_section
from dlrun.run_folder.folder import RunFolder, to_csv
from tests.reports.example_runs import a_classification, a_picture
from tests.run_folder.making import a_run

MISTAKE = {"row": 7, "label": "negative", "predicted": "positive", "probability": 0.99}


def test_texts_and_labels_are_cut_so_that_all_mistakes_have_room(tmp_path: Path) -> None:
    long = MISTAKE | {"text": "x" * 9000, "label": "l" * 5000}
    run = a_classification(tmp_path / "e" / "r", mistakes=[long] * 3000)
    for room, length in ((200_000, run_section.MAX_TEXT), (20_000, 800)):
        mistakes = run_section.read_mistakes(run, room)
        assert len(mistakes) == run_section.MISTAKES_SHOWN
        assert {one.text for one in mistakes} == {"x" * length + run_section.CUT}
        assert {len(one.label) for one in mistakes} == {run_section.MAX_NAME + 4}


def test_as_many_pictures_of_mistakes_as_have_room(tmp_path: Path) -> None:
    picture = a_picture()
    mistakes = [MISTAKE | {"row": n, "image": picture} for n in range(20)]
    run = a_classification(tmp_path / "e" / "r", mistakes=mistakes)
    room = 3 * (len(picture) + run_section.MARKUP + 30)
    assert [one.row for one in run_section.read_mistakes(run, room)] == [0, 1, 2]


def test_only_a_png_is_a_picture(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "e" / "r", mistakes=[MISTAKE | {"image": a_picture()}])
    (mistake,) = run_section.read_mistakes(run, 50_000)
    assert mistake.image and mistake.image.startswith("data:image/png;base64,iVBOR")
    run = a_classification(tmp_path / "e" / "s", mistakes=[MISTAKE | {"image": "PHN2Zz4="}])
    with pytest.raises(DataError, match="not a PNG"):
        run_section.read_mistakes(run, 50_000)


def test_words_by_weight(tmp_path: Path) -> None:
    words = [(f"w{n}", n / 10) for n in range(-20, 21)]
    negative, positive = run_section.read_word_weights(
        a_classification(tmp_path / "e" / "r", words=words)
    )
    assert negative[0] == ("w-20", -2.0) and len(negative) == run_section.WORDS_SHOWN
    assert positive[0] == ("w20", 2.0) and len(positive) == run_section.WORDS_SHOWN


def test_nothing_damaged_is_shown(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "e" / "r", mistakes=[MISTAKE])
    for name, read in (
        ("predictions.csv", lambda: run_section.read_test_predictions(run)),
        ("mistakes.json", lambda: run_section.read_mistakes(run, 9999)),
        ("words.csv", lambda: run_section.read_word_weights(run)),
    ):
        content = (run.folder / name).read_bytes()
        (run.folder / name).write_bytes(content.replace(b"e", b"a", 1))
        with pytest.raises(DataError, match=f"{name}: damaged"):
            read()


def test_a_file_that_a_finished_run_does_not_know_is_not_its_own(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "e" / "r")
    (folder / "words.csv").write_text("word,weight\nplanted,1\n")
    assert Run.in_folder(folder).read_if_written("words.csv") is None
    folder = a_run(tmp_path / "e" / "s", status="failed")
    (folder / "words.csv").write_text("word,weight\nits own,1\n")
    assert run_section.read_word_weights(Run.in_folder(folder)) == ([], [("its own", 1.0)])


def test_photographs(tmp_path: Path) -> None:
    folder = a_run(
        tmp_path / "e" / "r", status="interrupted", reference={"book": {"a.jpg": {"owl": 0.5}}}
    )
    run, rows = RunFolder(folder), []
    rows += [["/x/a.jpg", 1, "hawk", 0.6, ""], ["/x/a.jpg", 2, "owl", 0.3, ""]]
    rows += [["/x/b.jpg", "", "", "", "no photograph"], ["/x/c.jpg", 1, "cat", 0.9, ""]]
    heads = ["image", "rank", "label", "probability", "error"]
    run.write("predictions.csv", to_csv([heads, *rows]))
    stream = io.BytesIO()
    np.savez(stream, *(_jpeg(colour) for colour in ("red", "green")))
    run.write("thumbnails.npz", stream.getvalue())
    a, b, c = run_section.read_classified_photographs(Run.in_folder(folder), 100_000)
    assert (a.name, a.labels) == ("a.jpg", [("hawk", 0.6), ("owl", 0.3)])
    assert a.published == {"book": [("owl", 0.5)]}
    assert (b.error, b.picture) == ("no photograph", "")
    assert a.picture != c.picture and c.picture.startswith("data:image/jpeg;base64,")
    assert [
        bool(one.picture)
        for one in run_section.read_classified_photographs(Run.in_folder(folder), 10)
    ] == [False] * 3


def _jpeg(colour: str) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    stream = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(stream, "JPEG")
    return np.frombuffer(stream.getvalue(), np.uint8)
