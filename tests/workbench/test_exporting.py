"""`dlrun export`: a file that other programs use, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dlrun.data.text import START, Ragged, split_words
from dlrun.runs.run import Run
from tests import harness
from tests.conftest import NAMES, ROOT, Done
from tests.experiments.use import flip, moved

REVIEW = 'A wonderful film!<br />"Superb" actors,\tand isn\'t it moving? xyzzy\nNot boring.'
WITHOUT = "import sys; sys.modules['dlrun'] = None; "  # importing it raises ModuleNotFoundError


def exported(folder: Path, run: Path, format_: str) -> Path:
    out = folder / f"network.{format_}"
    harness.run(folder, "export", run, "--format", format_, "--out", out).is_told(0)
    assert [file.name for file in folder.iterdir() if file.is_file()] == [out.name]
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_onnx_file_is_the_network(tmp_path: Path, done: Done, name: str) -> None:
    run = Run.open(done(name))
    file = exported(tmp_path, run.folder, "onnx")
    onnx.checker.check_model(str(file), full_check=True)
    session = onnxruntime.InferenceSession(file)
    about = json.loads(session.get_modelmeta().custom_metadata_map["dlrun"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, found.name) == (about["input"]["name"], about["output"]["name"])
    assert given.shape == about["input"]["shape"] and given.shape[0] == "batch"
    assert (about["experiment"], about["run"]) == (name, run.name)
    assert len(about["labels"]) >= 2 and about["preprocessing"]
    made = run.exported()
    for rows in (2, 33):  # others than those that the command compares
        inputs = made.inputs(rows)
        with torch.inference_mode():
            expected = run.network()(inputs).numpy()
        got = session.run(None, {given.name: inputs.numpy()})[0]
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_torch_file_needs_torch_alone(tmp_path: Path, done: Done, name: str) -> None:
    run = Run.open(done(name))
    file = exported(tmp_path, run.folder, "torch")
    inputs = run.exported().inputs(5)
    torch.save(inputs, tmp_path / "inputs.pt")
    script = (
        f"{WITHOUT}import json, torch; more = {{'dlrun': ''}}\n"
        "network = torch.jit.load(sys.argv[1], _extra_files=more)\n"
        "with torch.inference_mode(): found = network(torch.load(sys.argv[2]))\n"
        "print(json.dumps([json.loads(more['dlrun']), found.tolist()]))\n"
    )
    command = [sys.executable, "-c", script, str(file), str(tmp_path / "inputs.pt")]
    about, found = json.loads(subprocess.check_output(command, text=True))
    with torch.inference_mode():
        expected = run.network()(inputs)
    assert np.array(found) == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-5)
    assert about["run"] == run.name and len(about["labels"]) >= 2


def test_the_lines_in_the_readme(tmp_path: Path, done: Done) -> None:
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?onnxruntime.*?)```", readme, flags=re.DOTALL)
    lines = [line.removeprefix("  ") for line in block.rstrip().splitlines()]
    assert len(list(filter(None, lines))) == 10
    run = Run.open(done("imdb-lstm"))
    exported(tmp_path, run.folder, "onnx").rename(tmp_path / "reviews.onnx")
    (tmp_path / "lines.py").write_text("\n".join(lines))
    for text in (REVIEW, "", "dull " * 600):
        said = subprocess.run(
            [sys.executable, "-c", f"{WITHOUT}exec(open('lines.py').read())"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        label, probability = said.split()
        expected = by_the_run(run, text)
        assert float(probability) == pytest.approx(max(expected, 1 - expected), abs=1e-5)
        assert label == run.labels[int(expected > 0.5)]


def by_the_run(run: Run, text: str) -> float:
    """The probability of a text by the run's own code."""
    ids = run.assets["preprocessing"]["ids"]
    known = {word: ids["first_word"] + place for place, word in enumerate(run.vocabulary)}
    words = [known.get(word, ids["unknown"]) for word in split_words(text)]
    review = Ragged.from_ids([words], run.assets["width"])
    assert review.review(0)[0] == START
    sequence = torch.from_numpy(review.padded(run.config.data.max_length)).long()  # type: ignore[attr-defined]
    with torch.inference_mode():
        logit = run.network()(sequence)
    return float(logit.sigmoid())


def test_nothing_is_overwritten_or_left_half(tmp_path: Path, done: Done) -> None:
    run, out = moved(done("imdb-lasso"), tmp_path), tmp_path / "there.onnx"
    out.write_text("mine")

    def told(code: int, *words: object, about: str) -> None:
        harness.run(tmp_path, "export", *words).is_told(code, about)
        assert out.read_text() == "mine" and not list(tmp_path.glob(".new-*"))

    told(2, run, "--out", out, about="--force replaces it")
    told(2, run, "--out", tmp_path, "--force", about="is a folder")
    told(2, run, "--out", tmp_path / "no" / "folder", about="there is no folder")
    told(2, run, about="--out")
    told(2, run, "--out", "x", "--format", "keras", about="keras")
    told(2, "nothing", "--out", "x", about="no such run")
    whole = (run / "coefficients.npz").read_bytes()
    flip(run / "coefficients.npz", at=-3)
    told(1, run, "--out", out, "--force", about="coefficients.npz: damaged")
    (run / "coefficients.npz").write_bytes(whole)
    harness.run(tmp_path, "export", run, "--out", out, "--force").is_told(0)
    onnx.checker.check_model(str(out), full_check=True)


def test_missing_package_is_named(tmp_path: Path, done: Done) -> None:
    script = (
        "import importlib.util, sys; from dlrun.cli.main import run\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'onnxruntime' else found(name)\n"
        "sys.exit(run(['export', *sys.argv[1:]]))\n"
    )
    command = [sys.executable, "-c", script, str(done("imdb-lasso")), "--out", str(tmp_path / "x")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "needs the package onnxruntime" in ended.stderr
    assert "pip install 'dlrun[export]'" in ended.stderr and not (tmp_path / "x").exists()
