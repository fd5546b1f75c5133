"""`dlrun export`: a file that other programs use, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, ROOT, Dlrun, Done, Hide, setting, smoke
from tests.experiments.use import finished, flip, moved

REVIEW = 'A wonderful film!<br />"Superb" actors,\tand isn\'t it moving? xyzzy\nNot boring.'
WITHOUT = "import sys; sys.modules['dlrun'] = None; "  # importing it raises ModuleNotFoundError


def exported(folder: Path, run: Path) -> Path:
    out = folder / "network.onnx"
    harness.run(folder, "export", run, "--out", out).is_told(0)
    assert [file.name for file in folder.iterdir() if file.is_file()] == [out.name]
    return out


def outputs(run: Run, inputs: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return run.network()(inputs).numpy()


def check_assets(about: dict[str, Any]) -> None:
    """The file says what its inputs and outputs mean."""
    if "labels" in about:
        assert len(about["labels"]) >= 2 and about["preprocessing"]
    else:
        assert about["columns"]["levels"] and about["target"] and about["scale"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "table-boosting"])  # trees
def test_onnx_file_is_the_network(tmp_path: Path, done: Done, name: str) -> None:
    run = Run.open(done(name))
    file = exported(tmp_path, run.folder)
    onnx.checker.check_model(str(file), full_check=True)
    session = onnxruntime.InferenceSession(file)
    about = json.loads(session.get_modelmeta().custom_metadata_map["dlrun"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, found.name) == (about["input"]["name"], about["output"]["name"])
    assert given.shape == about["input"]["shape"] and given.shape[0] == "batch"
    assert (about["experiment"], about["run"]) == (name, run.name)
    check_assets(about)
    made = run.exported()
    for rows in (2, 33):  # others than those that the command compares
        inputs = made.inputs(rows)
        (got,) = session.run(None, {given.name: inputs.numpy()})
        assert got == pytest.approx(outputs(run, inputs), rel=1e-5, abs=1e-5)


def by_the_example(file: Path, texts: list[str]) -> list[tuple[str, float]]:
    """What the docs' example, examples/onnx_text.py, says of texts without dlrun installed."""
    page = (ROOT / "docs/how-to/predict-and-export.md").read_text()
    (named,) = set(re.findall(r"examples/onnx_\w+\.py", page))
    code = f"{WITHOUT}import io, json\nfor text in json.loads(sys.argv[2]):\n    "
    code += f"sys.stdin = io.StringIO(text)\n    exec(open({str(ROOT / named)!r}).read())"
    command = [sys.executable, "-c", code, file, json.dumps(texts)]
    said = subprocess.check_output(command, text=True).splitlines()
    found = [line.rpartition(" ") for line in said]
    return [(label, float(probability)) for label, _, probability in found]


@pytest.mark.parametrize(("name", "classes"), [("text-dense", 2), ("text-lstm", 10)])
def test_the_docs_example_classifies_as_the_run(tmp_path: Path, name: str, classes: int) -> None:
    rows = [f"class {i % classes},word{i % classes} some film {i % 7}" for i in range(300)]
    (tmp_path / "own").mkdir()
    table = tmp_path / "own" / "own.csv"
    table.write_text("\n".join(["label,text", *rows]))
    own = [str(table), *setting("data.validation=20")]
    run = Run.open(finished(tmp_path, [*smoke(name), *own]))
    assert len(run.labels) == classes
    file = exported(tmp_path, run.folder)
    texts = [REVIEW, "", "Word7 some film " * 200]
    told = by_the_example(file, texts)
    for (label, probability), expected in zip(told, run.predict(texts), strict=True):
        assert label == expected.label
        assert probability == pytest.approx(expected.probability, abs=1e-5)


def test_nothing_is_overwritten_or_left_half(tmp_path: Path, done: Done) -> None:
    run, out = moved(done("imdb-lasso"), tmp_path), tmp_path / "there.onnx"
    out.write_text("mine")

    def told(code: int, *words: object, about: str) -> None:
        harness.run(tmp_path, "export", *words).is_told(code, about)
        assert out.read_text() == "mine" and not list(tmp_path.glob(".new-*"))

    told(2, run, "--out", out, about="--force replaces it")
    told(2, "nothing", "--out", "x", about="no such run")
    told(2, run, about="--out")
    harness.run(tmp_path, "export", run, "--out", out, "--force").is_told(0)
    onnx.checker.check_model(str(out), full_check=True)
    flip(run / "coefficients.npz", at=-3)
    out.write_text("mine")
    told(2, run, "--out", out, "--force", about="coefficients.npz: damaged")


def test_missing_package_is_named(
    cli: Dlrun, done: Done, tmp_path: Path, without_package: Hide
) -> None:
    without_package("onnxruntime")
    cli("export", done("imdb-lasso"), "--out", "x").is_told(2, "pip install 'dlrun[export]'")
    assert not (tmp_path / "x").exists()
