"""`dlrun export`: a file that other programs use, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import ROOT, Dlrun, Done, Hide, setting, smoke
from tests.experiments.use import finished, flip, moved

REVIEW = 'A wonderful film!<br />"Superb" actors,\tand isn\'t it moving? xyzzy\nNot boring.'
WITHOUT = "import sys; sys.modules['dlrun'] = None; "  # importing it raises ModuleNotFoundError


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


@pytest.mark.parametrize(
    ("name", "classes"), [("text-dense", 2), pytest.param("text-lstm", 10, marks=pytest.mark.slow)]
)
def test_the_docs_example_classifies_as_the_run(tmp_path: Path, name: str, classes: int) -> None:
    rows = [f"class {i % classes},word{i % classes} some film {i % 7}" for i in range(300)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["label,text", *rows]))
    run = Run.open(finished(tmp_path, [*smoke(name), str(table), *setting("data.validation=20")]))
    assert len(run.labels) == classes
    file = tmp_path / "network.onnx"
    harness.run(tmp_path, "export", run.folder, "--out", file).is_told(0)
    assert not list(tmp_path.glob(".new-*"))
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


def test_a_missing_package(cli: Dlrun, done: Done, tmp_path: Path, without_package: Hide) -> None:
    without_package("onnxruntime")
    cli("export", done("imdb-lasso"), "--out", "x").is_told(2, "pip install 'dlrun[export]'")
    assert not (tmp_path / "x").exists()
