"""`dlrun predict`, on tiny finished runs."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from dlrun.api import Run
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments.experiment import Implementation
from dlrun.runs.predictions_csv import OF_CLASS
from tests import harness
from tests.conftest import Done, clean_environment, setting, smoke
from tests.experiments.use import finished, moved, put

pytestmark = pytest.mark.slow
TEXTS = ["imdb-dense", "imdb-lasso", "imdb-lstm"]


def review(run: Run) -> str:
    return " ".join(run.vocabulary[10:30])


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "64-true"])
@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lstm"])
def test_its_own_test_set_in_the_runs_precision(tmp_path: Path, name: str, precision: str) -> None:
    run = finished(tmp_path, [*smoke(name), *setting(f"trainer.precision={precision}")])
    found = json.loads(harness.run(tmp_path, "predict", run, "--test", "--json").stdout)
    assert (found["different_rows"], found["different_classes"]) == (0, 0)
    assert found["largest_difference"] < (1e-6 if precision == "64-true" else 1e-12)


def test_differences_from_its_own_test_set_are_measured(tmp_path: Path, done: Done) -> None:
    run = moved(done("imdb-dense"), tmp_path)
    head, first, second, *rest = (run / "predictions.csv").read_text().splitlines()
    row, label, predicted, *numbers = first.split(",")
    swapped = "negative" if predicted == "positive" else "positive"
    names, _, close = second.rpartition(",")
    changed = [",".join([row, label, swapped, *numbers]), f"{names},{float(close) - 0.25}"]
    put(run, "predictions.csv", "\n".join([head, *changed, *rest, ""]).encode())
    ended = harness.run(tmp_path, "predict", run, "--test", "--json").is_told(1)
    found = json.loads(ended.stdout)
    assert (found["different_rows"], found["different_classes"]) == (2, 1)
    assert found["largest_difference"] == pytest.approx(0.25)


@pytest.mark.parametrize("name", TEXTS)
def test_its_words_are_counted(done: Done, name: str) -> None:
    run = Run.open(done(name))
    (prediction,) = run.predict([f"{review(run)} qqqq"])
    assert (prediction.words, prediction.unknown) == (21, 1)
    labels = dict(prediction.labels)
    assert labels.keys() == {*run.labels} and sum(labels.values()) == pytest.approx(1)


def test_an_lstm_has_the_probability_of_each_beginning_of_a_text(done: Done) -> None:
    run = Run.open(done("imdb-lstm"))
    words = [*run.vocabulary[10:30], "qqqq", *run.vocabulary[5:8]]
    by_word = run.by_word(" ".join(words))
    assert [word.word for word in by_word.words] == words
    assert [word.word for word in by_word.words if not word.is_known] == ["qqqq"]
    beginnings = [" ".join(words[: end + 1]) for end in range(-1, len(words))]
    expected = [dict(one.labels)[by_word.label] for one in run.predict(beginnings)]
    values = [by_word.base, *(word.value for word in by_word.words)]
    assert values == pytest.approx(expected, abs=1e-6)
    assert values[-1] == pytest.approx(by_word.prediction.probability, abs=1e-6)
    assert list(by_word.frame["probability"]) == values[1:]


def log_odds(run: Run, text: str, label: str) -> float:
    (prediction,) = run.predict([text])
    probability = dict(prediction.labels)[label]
    return math.log(probability / sum(p for name, p in prediction.labels if name != label))


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso"])
def test_a_bag_of_words_tells_what_is_lost_without_a_word(done: Done, name: str) -> None:
    run = Run.open(done(name))
    words = [*run.vocabulary[10:30], "qqqq", *run.vocabulary[10:13], "zzzz"]
    by_word = run.by_word(" ".join(words))
    assert [word.word for word in by_word.words] == [*words[:20], "qqqq zzzz"]
    whole = log_odds(run, " ".join(words), by_word.label)
    for one in by_word.words:
        without = " ".join(word for word in words if word not in one.word.split())
        expected = whole - log_odds(run, without, by_word.label)
        assert one.value == pytest.approx(expected, abs=1e-5)
    if name == "imdb-lasso":
        assert by_word.base + by_word.frame["log_odds"].sum() == pytest.approx(whole)
        weights = {row["word"]: row for row in csv.DictReader((run.folder / "words.csv").open())}
        shown = {one.word: one.value for one in by_word.words if one.word in weights}
        assert shown
        for word, value in shown.items():
            speaks_for = weights[word]["class"] == by_word.label
            size = float(weights[word]["weight"])
            assert value == pytest.approx(size if speaks_for else -size, rel=1e-6)


@pytest.mark.parametrize("name", ["text-dense", "text-lasso", "text-lstm"])
def test_of_three_classes_the_values_are_of_the_predicted_one(tmp_path: Path, name: str) -> None:
    kinds = "good", "bad", "odd"
    rows = [f"{kinds[i % 3]},a {kinds[i % 3]} film {i % 7}" for i in range(210)]
    (tmp_path / "own.csv").write_text("\n".join(["label,text", *rows]))
    own = [str(tmp_path / "own.csv"), *setting("data.validation=30")]
    run = Run.open(finished(tmp_path, [*smoke(name), *own]))
    by_word = run.by_word("an odd film")
    (prediction,) = run.predict(["an odd film"])
    assert by_word.label == prediction.label
    if name == "text-lstm":
        assert by_word.words[-1].value == pytest.approx(prediction.probability, abs=1e-6)
    if name == "text-lasso":
        assert by_word.label == "odd"
        assert max(by_word.words, key=lambda word: word.value).word == "odd"


@pytest.mark.parametrize("name", TEXTS)
def test_word_by_word_is_shown_and_written(tmp_path: Path, done: Done, name: str) -> None:
    run = Run.open(done(name))
    text = f"{review(run)} qqqq"
    (tmp_path / "one.txt").write_text(text)
    words = [word.word for word in run.by_word(text).words]
    *lines, head = (
        harness.run(tmp_path, "predict", run.folder, "--by-word", "one.txt")
        .is_told(0)
        .stdout.splitlines()
    )
    assert [line.split()[0] for line in lines] == words
    assert lines[-1].endswith("unknown") and head.startswith(run.predict([text])[0].label)
    for out in "words.csv", "words.png":
        command = "predict", run.folder, "--by-word", text, "--out", out
        found = json.loads(harness.run(tmp_path, *command, "--json").is_told(0).stdout)
        assert [one["word"] for one in found["by_word"]] == words
        assert harness.run(tmp_path, *command).is_told(2, "exists already")
    table = list(csv.DictReader((tmp_path / "words.csv").read_text().splitlines()))
    assert [row["word"] for row in table] == words
    assert Image.open(tmp_path / "words.png").size > (300, 100)


@pytest.mark.parametrize("name", TEXTS)
def test_words_have_colours_where_there_are_colours(done: Done, name: str) -> None:
    text = review(Run.open(done(name)))
    command = [sys.executable, "-m", "dlrun", "predict", str(done(name)), "--by-word", text]
    colours = clean_environment() | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    coloured = subprocess.check_output(command, env=colours, text=True)
    assert "\x1b[" in coloured
    plain = subprocess.check_output(command, env=colours | {"NO_COLOR": "1"}, text=True)
    assert "\x1b[" not in plain and len(plain.splitlines()) == 1 + len(text.split())


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("imdb-lasso", "a b", 2),
        ("imdb-lasso", "", 2),
        ("imdb-lasso", "-", 2),
        ("imdb-lasso", "good --test", 2),
        ("imdb-lasso", "good --csv table.csv", 2),
        ("imdb-lasso", "good --out out.txt", 2),
        ("imdb-lasso", "...", 2),
        ("imdb-lasso", "large.txt", 2),
        ("imdb-lasso", "binary.txt", 1),
        ("mnist-dense", "good", 2),
        ("hitters-linear", "good", 2),
    ],
)
def test_mistakes_of_word_by_word(
    tmp_path: Path, done: Done, name: str, words: str, code: int
) -> None:
    (tmp_path / "large.txt").write_text("some words " * 10_000)
    (tmp_path / "binary.txt").write_bytes(b"\x00")
    command = "predict", done(name), "--by-word", *words.split()
    ended = harness.run(tmp_path, *command).is_told(code)
    assert not ended.stdout and not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_every_kind(tmp_path: Path, done: Done, name: str) -> None:
    (tmp_path / "large.txt").write_text("some unusual words of a text " * 350_000)  # 10 MB
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01\x02")
    words = "", "qqqq zzzz", "large.txt", "binary.txt"
    ended = harness.run(tmp_path, "predict", done(name), *words, "--json").is_told(1)
    *read, binary = map(json.loads, ended.stdout.splitlines())
    assert [one["words"] for one in read] == [0, 2, 2_100_000]
    assert [one["unknown"] for one in read][:2] == [0, 2]
    assert binary == {"row": 3, "input": "binary.txt", "error": "not a text: it has a zero byte"}


@pytest.mark.parametrize("name", TEXTS)
def test_a_table_in_gives_a_table_out(tmp_path: Path, done: Done, name: str) -> None:
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    text = review(Run.open(done(name)))
    table.write_bytes("\ufefftext\n".encode() + f'"{text}"\n'.encode() * 600 + b"caf\xe9\n")
    words = "--csv", table, "--out", out, "--json"
    ended = harness.run(tmp_path, "predict", done(name), *words).is_told(0)
    assert json.loads(ended.stdout.splitlines()[600])["row"] == 600
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["row"]) for row in rows] == list(range(601))
    (one,) = Run.open(done(name)).predict([text])
    assert rows[0]["predicted"] == one.label
    assert float(rows[0]["probability"]) == pytest.approx(one.probability, abs=1e-5)
    (head, *_) = (done(name) / "predictions.csv").read_text().splitlines()
    of_classes = [column for column in head.split(",") if column.startswith(OF_CLASS)]
    assert len(of_classes) == 2
    assert [column for column in rows[0] if column.startswith(OF_CLASS)] == of_classes
    assert sum(float(rows[0][column]) for column in of_classes) == pytest.approx(1)
    assert rows[600]["words"] == "1"
    assert not list(tmp_path.glob(".new-*"))


def test_standard_input_is_read_line_by_line(done: Done) -> None:
    command = [sys.executable, "-m", "dlrun", "predict", str(done("imdb-lasso")), "--json"]
    given = b"\xef\xbb\xbfgood\r\n\nfine \x1b[31m film\n"
    said = subprocess.check_output(command, input=given, env=clean_environment())
    assert b"\x1b" not in said
    found = [json.loads(line)["input"] for line in said.splitlines()]
    assert found == ["good", "", "fine \x1b[31m film"]


@pytest.mark.parametrize("name", ["cifar100", "classify-images", "mnist-dense"])
def test_images(tmp_path: Path, done: Done, name: str) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("L", (300, 200), 99).save(pictures / "grey.png")
    (pictures / "none.jpg").write_text("no image")
    ended = harness.run(tmp_path, "predict", done(name), "pictures", "--json").is_told(1)
    grey, none = map(json.loads, ended.stdout.splitlines())
    assert name == "classify-images" or grey["label"] in Run.open(done(name)).labels
    assert 1 < len(grey["probabilities"]) <= (10 if name == "mnist-dense" else 5)
    assert "not an image" in none["error"]
    assert (grey["path"], none["path"]) == ("grey.png", "none.jpg")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "is empty"),
        ("-", "is empty"),
        ("--out out.csv", "is empty"),
        ("missing.txt", "missing.txt: no such file"),
        ("table.csv", "--csv table.csv --column NAME"),
        (".", "is a folder"),
        ("--csv table.csv", "no column 'text'"),
        ("--csv table.csv good", "both texts and --csv"),
        ("--test good", "--test: only --out"),
        ("--test --column text", "--test: only --out"),
    ],
)
def test_mistakes_are_one_message(tmp_path: Path, done: Done, words: str, said: str) -> None:
    (tmp_path / "table.csv").write_text("id,review\n1,good\n")
    harness.run(tmp_path, "predict", done("imdb-lasso"), *words.split()).is_told(2, said)
    assert (tmp_path / "table.csv").read_text() == "id,review\n1,good\n"
    assert not (tmp_path / "out.csv").exists()


def test_other_data_are_not_its_test_set(tmp_path: Path) -> None:
    rows = [f"{'ab'[i % 2]},{'good' if i % 2 else 'bad'} film {i % 7}" for i in range(200)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["label,text", *rows]))
    own = [str(table), *setting("data.validation=20")]
    run = finished(tmp_path, [*smoke("text-lasso"), *own])
    assert "row for row" in harness.run(tmp_path, "predict", run, "--test").is_told(0).stdout
    table.write_text("\n".join(["label,text", *rows]).replace("good", "great"))
    harness.run(tmp_path, "predict", run, "--test").is_told(2, "data have changed since the run")


@pytest.mark.parametrize("name", ["table-linear", "table-dense"])
def test_another_value_in_a_column_that_is_not_used_is_another_table_for_all(
    tmp_path: Path, name: str
) -> None:
    rows = [f"{i},{i % 7},word{i},{3 * i % 11}" for i in range(60)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["x,z,remark,y", *rows]))
    own = [str(table), *setting("data.target=y", "data.ignore=[remark]")]
    few = setting("trainer.max_epochs=1") if name == "table-dense" else []
    run = finished(tmp_path, [name, *own, *few])
    harness.run(tmp_path, "verify", run).is_told(0)
    table.write_text("\n".join(["x,z,remark,y", *rows]).replace("word5,", "other,"))
    harness.run(tmp_path, "verify", run).is_told(1, "different")
    harness.run(tmp_path, "predict", run, "--test").is_told(2, "data have changed")
    if few:
        more = ["resume", run, "trainer.max_epochs=2"]
        harness.run(tmp_path, *more).is_told(2, "data have changed")


def test_what_python_may_give(done: Done) -> None:
    run = Run.open(done("imdb-lasso"))
    assert len(run.predict("good film")) == 1
    good, bad = run.predict(iter(["good film", "bad"]))
    frame = pd.DataFrame({"text": ["good film", "bad"]})
    assert run.predict(frame["text"]) == [good, bad]
    assert run.predict(frame)["predicted"].tolist() == [good.label, bad.label]
    (empty,) = run.predict([""])
    assert run.predict(pd.DataFrame({"text": [None]}))["predicted"].tolist() == [empty.label]
    with pytest.raises(DataError, match="no column 'text'; did you mean 'texts'"):
        run.predict([{"texts": "good film"}])
    wrong: Any
    for wrong in (5, [5], [b"good"]):
        with pytest.raises(ConfigError, match="neither a text nor"):
            run.predict(wrong)
    with pytest.raises(DlrunError, match="does not say how"):  # an experiment without predictor()
        Implementation.predictor(run.experiment.load_implementation(), run, run.config)
