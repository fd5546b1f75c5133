"""Each experiment's tiny run: what it leaves, and how it is resumed, used, shown and repeated."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dlrun.api import Run
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.metrics import STAGES, describe_metric
from dlrun.runs.options import RunOptions
from dlrun.runs.predictions_csv import read_predictions
from dlrun.runs.record import FORMAT
from dlrun.stats import wilson_interval
from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from tests import harness
from tests.child import OUTPUT
from tests.conftest import NAMES, NETWORKS, Dlrun, Done, setting, smoke
from tests.experiments.test_resume import outcome
from tests.experiments.use import contents, killed_and_resumed, latest, moved, results, rows, table

NETWORK = "imdb-dense"  # where one stands for all of them
PARAMETERS = {"imdb-dense": 160_353, "imdb-lstm": 328_577, "cifar100": 964_516}  # the lab's
PARAMETERS |= {"mnist-dense": 235_146, "mnist-logistic": 7_850}
PARAMETERS |= {"hitters-dense": 1_051, "nyse-rnn": 217, "nyse-dense": 705}

each_experiment = pytest.mark.parametrize("name", NAMES)


@each_experiment
def test_run_leaves_everything_and_says_where(done: Done, name: str) -> None:
    folder = done(name)
    output = folder.parents[2] / OUTPUT
    stdout, stderr = ((output / stream).read_text() for stream in ("stdout", "stderr"))
    found = results(folder)
    assert (found["status"], found["format"], found["experiment"]) == ("finished", FORMAT, name)
    overlays = registry.shipped_config(name).overlays("smoke")
    experiment = find_experiment(name)
    config = load_experiment_config(experiment, RunOptions(config=overlays))
    assert config.total_steps in (None, found["steps"])
    assert found["accelerator"].keys() == {"requested", "used", "reason", "agreement"}
    assert found["seconds"]["total"] > 0
    for file in ("config.yaml", "environment.json", "log.txt", *found["figures"]):
        assert (folder / file).stat().st_size > 0
    assert not list(folder.glob(".*"))
    ranked = [metric for metric in found["metrics"] if metric.startswith(STAGES)]
    assert all(describe_metric(metric, {}).sign for metric in ranked)
    assert found["figures"] and all(figure in stdout for figure in found["figures"])
    for file, digest in found["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    values = yaml.safe_load((folder / "config.yaml").read_text())
    for file in overlays:
        for section, overlay in yaml.safe_load(file.read_text()).items():
            overlay.pop("path", None)  # it has become absolute
            assert overlay.items() <= values[section].items()
    assert "Traceback" not in stderr and "\x1b" not in stdout + stderr
    if found["source"] == "sample":
        check_result(found, stdout)
    if found["classes"]:
        check_classes(folder, found, stdout)
    elif found["source"] == "sample":
        check_values(folder, found, stdout)
    if name in NETWORKS:
        check_network(folder, found, stdout)


def check_result(found: dict, stdout: str) -> None:
    """Of generated data: beside no book."""
    assert "generated" in found["data"] and "generated" in stdout
    assert found["expected"] == {} and "ISLP" in found["reference"]["source"]
    assert found["reference_differs"] == "not the book's data"
    assert "book   not compared" in stdout and "notebook" not in stdout


def check_classes(folder: Path, found: dict, stdout: str) -> None:
    """Of a classification: with an interval, a baseline, and the rows that the accuracy is of."""
    predicted = table(folder, "predictions.csv")
    assert [int(row["row"]) for row in predicted] == list(range(found["test_rows"]))
    right = [row["label"] == row["predicted"] for row in predicted]
    assert np.mean(right) == pytest.approx(found["metrics"]["test_accuracy"], abs=1e-6)
    low, high = wilson_interval(sum(right), len(right))
    assert "interval of a test set" in stdout and f"{low:.4f}-{high:.4f}" in stdout
    labels = Run.open(folder).labels
    assert {row[kind] for row in predicted for kind in ("label", "predicted")} <= {*labels}
    assert all(1 / len(labels) <= float(row["probability"]) <= 1 for row in predicted)
    mistakes = json.loads((folder / "mistakes.json").read_text())["mistakes"]
    assert len(mistakes) == min(20, right.count(False))
    for mistake in mistakes:
        row = predicted[mistake["row"]]
        assert mistake["label"] == row["label"] != row["predicted"] == mistake["predicted"]
    assert 0 < found["classes"]["share"] < 1 and found["classes"]["number"] == len(labels)
    shown = "test_accuracy", "always the largest class", "test_macro_f1"
    places = [stdout.index(metric) for metric in shown]
    assert places == sorted(places)
    assert not found["reference"].get("book") or "(its test_accuracy 0." in stdout


def check_values(folder: Path, found: dict, stdout: str) -> None:
    """Of a regression: each metric is that of predictions.csv, and is shown."""
    predictions = read_predictions(Run.open(folder))
    assert predictions and len(predictions) == found["test_rows"]
    for name, value in predictions.test_metrics.items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-5)
        assert f"{value:.4f}" in stdout


def check_network(folder: Path, found: dict, stdout: str) -> None:
    columns = {*table(folder)[0]}
    (metric,) = {"accuracy", "mae", "r2"} & {name.removeprefix("valid_") for name in columns}
    measured = {f"{stage}_{name}" for stage in ("train", "valid") for name in ("loss", metric)}
    assert measured <= columns and len(rows(folder)) == found["epochs"] == 1
    assert measured | {"test_loss", f"test_{metric}"} <= found["metrics"].keys()
    parameters = sum(one.numel() for one in Run.open(folder).network().parameters())
    assert found["parameters"] == parameters == PARAMETERS.get(found["experiment"], parameters)
    assert f"{parameters:,}" in (folder / "summary.txt").read_text()
    assert f"{parameters:,}" in stdout  # --summary


@pytest.mark.slow
@each_experiment
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, name: str) -> None:
    """More kills are in tests/torture."""
    words = harness.words(name)
    whole = harness.run(tmp_path / "whole", *words).is_told(0)
    resumed = killed_and_resumed(tmp_path, words, whole.operations, 0.7)
    assert outcome(resumed) == outcome(harness.newest_run(tmp_path / "whole", name))


@pytest.mark.slow
@each_experiment
def test_a_moved_run_is_drawn_and_reported(
    forked: Dlrun, tmp_path: Path, done: Done, name: str
) -> None:
    folder = moved(done(name), tmp_path)
    run = Run.open(folder)
    assert (run.state, run.folder, run.record.experiment) == ("finished", folder, name)
    assert run.record == Run.open(done(name)).record
    drawn = run.draw()
    assert list(drawn) == run.record.figures == [figure.name for figure in run.figures]
    for figure in drawn.values():
        assert figure.get_axes()
        titles = [text.get_text() for text in figure.texts]  # it names the run as it is called now
        assert any(f"{name}, " in title and "run my favourite" in title for title in titles)
    forked("report", folder).is_told(0)
    assert "Not shown:" not in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_moved_network_is_tested_and_trained_on(tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    run = Run.open(folder)
    network = run.network()
    assert not network.training
    weights = torch.load(folder / "weights.pt", weights_only=True)
    torch.testing.assert_close(network.state_dict(), weights, rtol=0, atol=0)
    tested = {f"test_{key}": value for key, value in run.test(tmp_path / "no data").metrics.items()}
    recorded = {key: run.record.metrics[key] for key in tested.keys() & run.record.metrics}
    assert recorded and recorded == pytest.approx({key: tested[key] for key in recorded}, rel=1e-5)
    before = rows(folder)
    more = setting("trainer.max_epochs=2")
    assert "warning: " not in harness.run(tmp_path, "resume", folder, *more).is_told(0).stderr
    continued = harness.newest_run(tmp_path, name)
    assert rows(continued)[:1] == before and len(rows(continued)) == 2
    found = results(continued)
    assert (found["status"], found["epochs"], found["continues"]) == ("finished", 2, folder.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "classify-images"])
def test_its_test_rows_are_predicted_again(
    forked: Dlrun, tmp_path: Path, done: Done, name: str
) -> None:
    forked("predict", done(name), "--test", "--out", "again.csv").is_told(0)
    assert (tmp_path / "again.csv").read_bytes() == (done(name) / "predictions.csv").read_bytes()


@pytest.mark.slow
@each_experiment
def test_it_is_verified_as_identical(forked: Dlrun, tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    before = contents(folder)
    (row,) = json.loads(forked("verify", folder, "--json").is_told(0).stdout)
    assert row["result"] == "identical" and row["stated"] == row["repeated"]
    assert contents(folder) == before
    assert not (tmp_path / "runs").exists()


def test_json_prints_results_alone_and_quiet_leaves_them(forked: Dlrun, tmp_path: Path) -> None:
    done = forked(*smoke(NETWORK), "--json").is_told(0)
    assert json.loads(done.stdout) == results(latest(tmp_path, NETWORK))
    done = forked(*smoke(NETWORK), "--quiet", "--name", "mine", "--runs-dir", "elsewhere")
    assert done.is_told(0).stderr == "" and "test_accuracy" in done.stdout
    folders = (tmp_path / "elsewhere" / NETWORK).glob("2*")
    assert [path.name[-5:] for path in folders] == ["-mine"]


@pytest.mark.parametrize("device", ACCELERATORS)
def test_missing_accelerator(forked: Dlrun, tmp_path: Path, device: str) -> None:
    """It runs on the CPU and says why; without a fallback it is refused before the run."""
    if why_accelerator_unavailable(device) is None:
        pytest.skip(f"this machine has {device}")
    forked(*smoke(NETWORK), "--accelerator", device, "--no-fallback").is_told(1, device)
    assert not (tmp_path / "runs").exists()
    done = forked(*smoke(NETWORK), "--accelerator", device).is_told(0)
    report = results(latest(tmp_path, NETWORK))["accelerator"]
    assert (report["requested"], report["used"]) == (device, "cpu")
    assert report["reason"] in done.stderr and done.stderr.count("warning:") == 1
