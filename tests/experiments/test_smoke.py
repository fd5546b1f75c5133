"""Every experiment, tiny, from the command line: what it leaves and what it says."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from dlrun.execution.checks import load_experiment_config
from dlrun.experiments import registry
from dlrun.experiments.predictions import read_predictions
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.record import FORMAT
from dlrun.stats import wilson_interval
from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from tests.child import OUTPUT
from tests.conftest import NAMES, NETWORKS, Dlrun, Done, Ended, smoke
from tests.experiments.use import latest, results

NETWORK = "imdb-dense"  # where one stands for all of them
PARAMETERS = {"imdb-dense": 160_353, "imdb-lstm": 328_577, "cifar100": 964_516}  # the lab's
PARAMETERS |= {"mnist-dense": 235_146, "mnist-logistic": 7_850}
PARAMETERS |= {"hitters-dense": 1_051, "nyse-rnn": 217, "nyse-dense": 705}


def run(dlrun: Dlrun, name: str, *options: object, code: int = 0) -> Ended:
    return dlrun(*smoke(name), *options).is_told(code)


@pytest.mark.parametrize("name", NAMES)
def test_run_leaves_everything_and_says_where(done: Done, name: str) -> None:
    folder = done(name)
    stdout, stderr = said(folder)
    found = results(folder)
    assert (found["status"], found["format"], found["experiment"]) == ("finished", FORMAT, name)
    overlays = registry.experiment_entry(name).overlays("smoke")
    config = load_experiment_config(name, RunSettings(config=overlays))
    assert config.total_steps in (None, found["steps"])
    assert found["accelerator"].keys() == {"requested", "used", "reason", "agreement"}
    assert found["seconds"]["total"] > 0
    assert found["figures"] and found["files"]
    for file in ("config.yaml", "environment.json", "log.txt", *found["figures"]):
        assert (folder / file).stat().st_size > 0
    assert not list(folder.glob(".*"))
    assert all(figure in stdout for figure in found["figures"])
    for file, digest in found["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    values = yaml.safe_load((folder / "config.yaml").read_text())
    for file in overlays:
        for section, overlay in yaml.safe_load(file.read_text()).items():
            overlay.pop("path", None)  # it has become absolute
            assert overlay.items() <= values[section].items()
    assert "Traceback" not in stderr
    assert "\x1b" not in stdout + stderr
    if found["source"] == "sample":
        check_result(found, stdout)
        (check_classes if found["classes"] else check_values)(folder, found, stdout)
    if name in NETWORKS:
        check_network(folder, found, stdout)


def said(run: Path) -> list[str]:
    """What the process of a run wrote to stdout and stderr."""
    return [(run.parents[2] / OUTPUT / name).read_text() for name in ("stdout", "stderr")]


def check_result(found: dict, stdout: str) -> None:
    """Of generated data: beside no book."""
    assert "generated" in found["data"] and "generated" in stdout
    assert found["expected"] == {}
    assert found["reference"]["source"].startswith("ISLP")
    assert found["reference_differs"] == "not the book's data"
    assert "book   not compared" in stdout
    assert "notebook" not in stdout


def check_classes(folder: Path, found: dict, stdout: str) -> None:
    """Of a classification: with an interval and a baseline."""
    correct = found["metrics"]["test_accuracy"] * found["test_rows"]
    assert correct == pytest.approx(round(correct), abs=1e-3)
    low, high = wilson_interval(round(correct), found["test_rows"])
    assert "interval of a test set" in stdout and f"{low:.4f}-{high:.4f}" in stdout
    assert 0 < found["classes"]["share"] <= 0.5 and found["classes"]["number"] >= 2
    assert 0 <= found["metrics"]["test_macro_f1"] <= 1
    places = [
        stdout.index(name)
        for name in ("test_accuracy", "test_macro_f1", "always the largest class")
    ]
    assert places == sorted(places)
    assert found["reference"]["book"] == {} or "(its test_accuracy 0." in stdout


def check_values(folder: Path, found: dict, stdout: str) -> None:
    """Of a regression: each metric is that of predictions.csv, and is shown."""
    predictions = read_predictions(Run.open(folder))
    assert predictions and len(predictions) == found["test_rows"]
    for name, value in predictions.test_metrics.items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-5)
        assert f"{value:.4f}" in stdout


def check_network(folder: Path, found: dict, stdout: str) -> None:
    header, *rows = (folder / "metrics.csv").read_text().splitlines()
    columns = {*header.split(",")}
    (metric,) = {"accuracy", "mae", "r2"} & {name.removeprefix("valid_") for name in columns}
    measured = {f"{stage}_{name}" for stage in ("train", "valid") for name in ("loss", metric)}
    assert measured <= columns
    assert len(rows) == found["epochs"] == 1
    parameters = sum(one.numel() for one in Run.open(folder).network().parameters())
    assert found["parameters"] == parameters == PARAMETERS.get(found["experiment"], parameters)
    assert f"{parameters:,}" in (folder / "summary.txt").read_text()
    assert f"{parameters:,}" in stdout  # --summary
    assert measured | {"test_loss", f"test_{metric}"} <= found["metrics"].keys()
    assert (folder / "weights.pt").stat().st_size > 4 * parameters


def test_json_prints_results_alone_and_quiet_leaves_them(forked: Dlrun, tmp_path: Path) -> None:
    done = run(forked, NETWORK, "--json")
    assert json.loads(done.stdout) == results(latest(tmp_path, NETWORK))
    done = run(forked, NETWORK, "--quiet", "--name", "mine", "--runs-dir", "elsewhere")
    assert done.stderr == "" and "test_accuracy" in done.stdout
    folders = (tmp_path / "elsewhere" / NETWORK).glob("2*")
    assert [path.name[-5:] for path in folders] == ["-mine"]


@pytest.mark.parametrize("device", ACCELERATORS)
def test_missing_accelerator(forked: Dlrun, tmp_path: Path, device: str) -> None:
    """It runs on the CPU and says why; without a fallback it is refused before the run."""
    if why_accelerator_unavailable(device) is None:
        pytest.skip(f"this machine has {device}")
    done = run(forked, NETWORK, "--accelerator", device, "--no-fallback", code=1)
    assert device in done.stderr
    assert not (tmp_path / "runs").exists()
    done = run(forked, NETWORK, "--accelerator", device)
    report = results(latest(tmp_path, NETWORK))["accelerator"]
    assert (report["requested"], report["used"]) == (device, "cpu")
    assert report["reason"] in done.stderr
    assert done.stderr.count("warning:") == 1
