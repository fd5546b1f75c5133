"""Every experiment, tiny, from the command line: what it leaves and what it says."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from dlrun.config_files import experiment_names
from tests.conftest import SMOKE, Dlrun

NETWORKS = {"imdb-dense": 160_353, "imdb-lstm": 328_577, "cifar100": 964_516}
NETWORK_COLUMNS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds"
LASSO_COLUMNS = (
    "lambda,train_accuracy,valid_accuracy,test_accuracy,nonzero,objective,seconds,duality_gap"
)


def run(
    dlrun: Dlrun, name: str, *options: object, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = dlrun(name, "--config", SMOKE / f"{name}.yaml", *options)
    assert done.returncode == code, done.stderr
    return done


def latest(tmp_path: Path, name: str) -> Path:
    return tmp_path / "runs" / name / "latest"


def results(tmp_path: Path, name: str) -> dict:
    return json.loads((latest(tmp_path, name) / "results.json").read_text())


def metrics(tmp_path: Path, name: str) -> list[dict[str, str]]:
    with (latest(tmp_path, name) / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_experiment_has_a_smoke_config() -> None:
    assert experiment_names()
    assert {path.stem for path in SMOKE.glob("*.yaml")} == set(experiment_names())


@pytest.mark.parametrize("name", experiment_names())
def test_run_leaves_everything_and_says_where(dlrun: Dlrun, tmp_path: Path, name: str) -> None:
    done = run(dlrun, name, "--summary") if name in NETWORKS else run(dlrun, name)
    folder = latest(tmp_path, name)
    found = results(tmp_path, name)
    assert found["status"] == "finished"
    assert found["accelerator"].keys() == {"requested", "used", "reason"}
    assert found["seconds"]["total"] > 0
    for file in ("config.yaml", "environment.json", "log.txt", *found["figures"]):
        assert (folder / file).stat().st_size > 0
        assert not list(folder.glob(".*"))
    for figure in found["figures"]:
        assert figure in done.stdout
    if name != "classify-images":
        assert "generated" in found["data"]
        assert "generated" in done.stdout
        assert 0 <= found["metrics"]["test_accuracy"] <= 1
        assert found["reference"]["source"].startswith("ISLP")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    if name in NETWORKS:
        check_network(folder, name, found, done.stdout)


def check_network(folder: Path, name: str, found: dict, stdout: str) -> None:
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == NETWORK_COLUMNS
    assert len(lines) == 2
    assert found["parameters"] == NETWORKS[name]
    assert f"{NETWORKS[name]:,}" in (folder / "summary.txt").read_text()
    assert f"{NETWORKS[name]:,}" in stdout  # --summary
    assert found["metrics"]["test_loss"] > 0
    assert (folder / "weights.pt").stat().st_size > 4 * NETWORKS[name]


def test_lstm_summary_reads_as_in_the_lab(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, "imdb-lstm", "--set", "data.max_length=20")
    text = (latest(tmp_path, "imdb-lstm") / "summary.txt").read_text()
    assert "[10, 20]" in text and "[10, 20, 32]" in text
    assert "[10]" in text


def test_same_seed_gives_the_same_metrics_and_another_does_not(
    forked: Dlrun, tmp_path: Path
) -> None:
    rows = []
    for seed in (1, 1, 2):
        run(forked, "imdb-dense", "--set", f"seed={seed}", "--set", "trainer.max_epochs=3")
        rows.append([{**row, "seconds": ""} for row in metrics(tmp_path, "imdb-dense")])
    assert len(rows[0]) == 3
    assert rows[0] == rows[1] != rows[2]


def test_config_of_a_run_repeats_it(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, "cifar100", "--set", "batch_size=50")
    first = metrics(tmp_path, "cifar100")[0]
    copy = tmp_path / "again.yaml"
    copy.write_text((latest(tmp_path, "cifar100") / "config.yaml").read_text())
    assert forked("cifar100", "--config", copy).returncode == 0
    again = metrics(tmp_path, "cifar100")[0]
    assert {**again, "seconds": ""} == {**first, "seconds": ""}


def test_json_prints_results_alone(forked: Dlrun, tmp_path: Path) -> None:
    done = run(forked, "imdb-dense", "--json")
    assert json.loads(done.stdout) == results(tmp_path, "imdb-dense")


def test_quiet_leaves_the_result(forked: Dlrun) -> None:
    done = run(forked, "imdb-dense", "--quiet")
    assert done.stderr == ""
    assert "test_accuracy" in done.stdout


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_missing_accelerator_runs_on_the_cpu_and_says_why(
    forked: Dlrun, tmp_path: Path, device: str
) -> None:
    import torch

    if getattr(torch, device).is_available():
        pytest.skip(f"this machine has {device}")
    done = run(forked, "imdb-dense", "--accelerator", device)
    report = results(tmp_path, "imdb-dense")["accelerator"]
    assert report["requested"] == device
    assert report["used"] == "cpu"
    assert report["reason"] in done.stderr
    assert done.stderr.count("warning:") == 1
    done = run(forked, "imdb-dense", "--accelerator", device, "--no-fallback", code=1)
    assert device in done.stderr
    assert results(tmp_path, "imdb-dense")["status"] == "failed"


def test_lightnings_own_values_pass_through(forked: Dlrun, tmp_path: Path) -> None:
    options = ["--set", "trainer.precision=bf16-mixed"]
    run(forked, "cifar100", *options)
    precise = metrics(tmp_path, "cifar100")[0]["train_loss"]
    run(forked, "cifar100")
    assert metrics(tmp_path, "cifar100")[0]["train_loss"] != precise
    done = forked(
        "cifar100", "--config", SMOKE / "cifar100.yaml", "--set", "trainer.strategy=nonsense"
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_more_processes_than_cores_are_refused(forked: Dlrun) -> None:
    done = run(forked, "imdb-dense", "--set", "trainer.devices=5000", code=2)
    assert "5000 processes on a CPU" in done.stderr


def test_two_processes_train_one_network(dlrun: Dlrun, tmp_path: Path) -> None:
    options = [
        "--set",
        "trainer.devices=2",
        "--set",
        "trainer.strategy=ddp",
        "--set",
        "batch_size=100",
    ]
    run(dlrun, "imdb-dense", *options)
    assert len(list((tmp_path / "runs" / "imdb-dense").glob("2*"))) == 1
    assert len(metrics(tmp_path, "imdb-dense")) == 1


def test_lasso_writes_a_row_for_every_lambda_and_the_words(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, "imdb-dense")
    dense = latest(tmp_path, "imdb-dense").resolve()
    done = run(forked, "imdb-lasso")
    folder = latest(tmp_path, "imdb-lasso")
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == LASSO_COLUMNS
    assert len(lines) == 11
    found = results(tmp_path, "imdb-lasso")
    assert (tmp_path / found["compared_with"]).resolve() == dense
    rows = metrics(tmp_path, "imdb-lasso")
    best = max(rows, key=lambda row: float(row["valid_accuracy"]))
    assert found["metrics"]["lambda"] == pytest.approx(float(best["lambda"]))
    assert found["metrics"]["test_accuracy"] > 0.7  # the generated words of judgement are learnable
    word, weight = found["most_positive"][0]
    assert weight > 0 and word in done.stdout
    assert (folder / "coefficients.npz").stat().st_size > 0


def test_lasso_compares_with_no_run_on_other_data(forked: Dlrun, tmp_path: Path) -> None:
    done = run(forked, "imdb-lasso")
    assert "no finished imdb-dense run" in done.stderr
    assert results(tmp_path, "imdb-lasso")["compared_with"] is None
    done = run(forked, "imdb-lasso", "--set", "compare_with=.", code=2)
    assert "not a finished run" in done.stderr


def test_training_that_diverges_is_no_result(forked: Dlrun, tmp_path: Path) -> None:
    options = [
        "--set",
        "optimizer.lr=1e30",
        "--set",
        "trainer.max_epochs=5",
        "--set",
        "batch_size=100",
    ]
    done = run(forked, "imdb-dense", *options, code=1)
    assert "loss is" in done.stderr and "optimizer.lr" in done.stderr
    assert results(tmp_path, "imdb-dense")["status"] == "failed"


def test_runs_config_is_plain_yaml(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, "imdb-lasso")
    text = (latest(tmp_path, "imdb-lasso") / "config.yaml").read_text()
    assert yaml.safe_load(text)["data"]["source"] == "sample"


def test_name_and_folders(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, "imdb-dense", "--name", "mine", "--runs-dir", "elsewhere")
    assert [path.name[-5:] for path in (tmp_path / "elsewhere" / "imdb-dense").glob("2*")] == [
        "-mine"
    ]
    assert not (tmp_path / "runs").exists()
