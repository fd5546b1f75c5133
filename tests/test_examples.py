"""The examples, as their readers run them."""

import html
import json
import math
import os
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from dlrun.api import Run
from dlrun.reports.result_rows import place_beside_interval
from tests.conftest import LAB, ROOT, Dlrun, Patch, clean_environment, python
from tests.experiments.test_resume import outcome
from tests.experiments.use import results, table

EXAMPLES = ROOT / "examples"
TABLES = ("Hitters", "NYSE")


def installed(package: Path, tmp_path: Path) -> dict[str, str]:
    """Install a package into a folder of its own; the environment that finds it there."""
    source = shutil.copytree(package, tmp_path / "source" / package.name)
    target = tmp_path / "installed"
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(target)]
    python(tmp_path, "-m", "pip", "install", *options, str(source)).is_told(0)
    return {"PYTHONPATH": str(target)}


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: Patch) -> None:
    """On the book's tables, if DLRUN_TEST_DATA or the package islp has them."""
    data_dir = tmp_path / "data"
    for name in TABLES:
        table = Path(os.environ.get("DLRUN_TEST_DATA") or "/nowhere", f"{name}.csv")
        if table.is_file():
            (data_dir / name.lower()).mkdir(parents=True)
            (data_dir / name.lower() / table.name).symlink_to(table.resolve())
    for name in ("DLRUN_DATA_DIR", "DLRUN_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", clean_environment()["PYTHONPATH"])
    notebook = nbformat.read(EXAMPLES / "lab.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]
    shown = [output["data"] for output in outputs]
    tables = html.unescape("".join(data.get("text/html", "") for data in shown))
    for name in LAB:
        runs = [Run.in_folder(folder) for folder in (tmp_path / "runs" / name).glob("*Z-*")]
        assert runs and all(run.record.data in tables for run in runs)
    assert sum("image/png" in data for data in shown) > len(LAB)
    for name in filter(lambda name: (data_dir / name.lower()).exists(), TABLES):
        for kind in ("linear", "lasso") if name == "Hitters" else ("linear",):
            (run, *_) = (tmp_path / "runs" / f"{name.lower()}-{kind}").glob("*Z-*")
            record = Run.in_folder(run).record
            (metric, published), *_ = record.reference["book"].items()
            found = record.metrics[metric]
            assert found and place_beside_interval(published, (found, found)) == "within"
    positive = dict(re.findall(r"<th>the film was (\w+) and \w+</th>\s*<td>(.*?)</td>", tables))
    assert float(positive["wonderful"]) > 0.5 > float(positive["dull"])


def test_an_experiment_from_outside_is_like_one_of_ours(forked: Dlrun, tmp_path: Path) -> None:
    env = installed(EXAMPLES / "diabetes", tmp_path)
    assert "Progression of diabetes" in forked("--help", **env).stdout
    assert "model.delta=0.5" in forked("diabetes", "--help", **env).stdout
    forked("diabetes", "--set", "model.delt=1", **env).is_told(2, "did you mean 'delta'?")
    smoke = tmp_path / "source/diabetes/src/diabetes_regression/configs/smoke/diabetes.yaml"
    done = forked("diabetes", "--config", smoke, **env).is_told(0)
    assert "test_r2" in done.stdout
    (run,) = (tmp_path / "runs" / "diabetes").glob("*Z-*")
    assert {"train_loss", "train_mae", "train_r2", "valid_r2"} <= table(run)[0].keys()
    tested = json.loads(forked("predict", "latest", "--test", "--json", **env).is_told(0).stdout)
    assert (tested["test_rows"], tested["different_rows"]) == (88, 0)
    assert tested["test_mae"] > 0 and "test_r2" in tested and "different_classes" not in tested
    (tmp_path / "patients.csv").write_text(
        "age;sex;bmi;bp;s1;s2;s3;s4;s5;s6;name\n59;2;32.1;101;157;93.2;38;4;4.8598;87;Ann\n"
    )
    told = forked("predict", "latest", "--csv", "patients.csv", "--json", **env).is_told(0).stdout
    assert json.loads(told)["predicted"] > 0
    forked("verify", "latest", **env).is_told(0)
    script = "import dlrun, torch\nprint(dlrun.open().network()(torch.zeros(2, 10)).shape)"
    used = python(tmp_path, "-c", f"{script}\nprint(dlrun.__file__)", **env)
    assert used.stdout == f"torch.Size([2, 1])\n{ROOT / 'src/dlrun/__init__.py'}\n", used.stderr
    forked("resume", "latest").is_told(2, "no experiment 'diabetes'")  # without the package


def test_a_lightning_module_of_others_is_an_experiment(forked: Dlrun, tmp_path: Path) -> None:
    env = installed(EXAMPLES / "autoencoder", tmp_path)
    lines = [*(EXAMPLES / "autoencoder").rglob("*.py")]
    assert sum(len(file.read_text().splitlines()) for file in lines) < 65
    assert "compressed to a few numbers" in forked("--help", **env).stdout
    forked("autoencoder", "--set", "widht=1", **env).is_told(2, "did you mean 'width'?")
    smoke = tmp_path / "source/autoencoder/src/digit_autoencoder/configs/smoke/autoencoder.yaml"
    forked("autoencoder", "--config", smoke, **env).is_told(0)
    (run,) = (tmp_path / "runs" / "autoencoder").glob("*Z-*")
    assert [*table(run)[0]] == ["epoch", "train_loss", "valid_loss", "lr-Adam", "seconds"]
    record = results(run)
    assert set(record["metrics"]) == {"train_loss", "valid_loss", "lr-Adam", "test_loss"}
    assert record["best_epoch"]["metric"] == "valid_loss"
    forked("verify", "latest", **env).is_told(0)
    forked("resume", "latest", "trainer.max_epochs=5", **env).is_told(0)
    longer = (run.parent / "latest").resolve()
    forked("autoencoder", "trainer.max_epochs=5", "--name", "whole", **env).is_told(0)
    (whole,) = run.parent.glob("*-whole")
    assert outcome(longer) == outcome(whole)
    forked("report", run, "--out", "report.html", **env).is_told(0)
    forked("predict", "latest", "a", **env).is_told(1, "its class would need the method")
    options = "width=2,16", "--config", smoke
    forked("sweep", "autoencoder", *options, **env).is_told(0)
    script = "import dlrun, torch\nprint(dlrun.open().network().encoder(torch.zeros(2, 64)).shape)"
    used = python(tmp_path, "-c", script, **env)
    assert used.stdout.startswith("torch.Size([2, "), used.stderr


def test_new_writes_a_package_whose_own_test_passes(forked: Dlrun, tmp_path: Path) -> None:
    done = forked("new", "digit-net").is_told(0)
    package = tmp_path / "digit-net"
    assert "pip install --editable 'digit-net[test]'" in done.stderr
    tested = python(
        tmp_path, "-m", "pytest", "-q", str(package / "tests"), **installed(package, tmp_path)
    )
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr
    for file in (tmp_path / "source").rglob("*.*"):
        assert "my_experiment" not in file.name
        assert not file.is_file() or "my_experiment" not in file.read_text()


def test_the_commands_that_new_prints_are_words_for_a_shell(cli: Dlrun, tmp_path: Path) -> None:
    folder = "a'b;touch x"
    printed = cli("new", "net", "--into", folder).is_told(0).stderr.splitlines()
    install, _, test = (shlex.split(line) for line in printed[-3:])
    assert install[-1] == f"{folder}/net[test]" and test[-1] == f"{folder}/net"
    assert (tmp_path / test[-1] / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    "name", ["imdb-dense", "torch", "class", "Big", "99", "../up", "-x", "mine"]
)
def test_new_refuses_names_that_are_taken_or_invalid(cli: Dlrun, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    done = cli("new", "--", name).is_told(2)
    assert re.search("choose another|a small letter, then|is there already", done.stderr)


def test_gradient_descent_ends_in_the_valley_below_its_beginning(tmp_path: Path) -> None:
    done = python(tmp_path, EXAMPLES / "gradient_descent.py").is_told(0)
    ends = [float(end) for end in re.findall(r"steps to (\S+),", done.stdout)]
    assert [math.cos(end) for end in ends] == pytest.approx([-0.1, -0.1], abs=1e-4)
    assert 3 < ends[0] < 6 and -3 < ends[1] < 0
    assert (tmp_path / "gradient_descent.png").read_bytes().startswith(b"\x89PNG")
