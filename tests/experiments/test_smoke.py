"""Every experiment, tiny, from the command line: what it leaves and what it says."""

import csv
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.record import FORMAT
from dlrun.runs.start import load_config
from dlrun.stats import wilson_interval
from tests import harness
from tests.conftest import NAMES, NETWORKS, ROOT, Dlrun, setting, smoke

NETWORK = NETWORKS[0]  # where one stands for all of them


def run(
    dlrun: Dlrun, name: str, *options: object, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = dlrun(*smoke(name), *options)
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
    assert NAMES
    assert all(entry.overlays("smoke") for entry in registry.experiment_entries())
    ours = {entry.name for entry in registry.experiment_entries() if entry.package == "dlrun"}
    assert {path.stem for path in (ROOT / "configs" / "smoke").glob("*.yaml")} == ours


@pytest.mark.parametrize("name", NAMES)
def test_run_leaves_everything_and_says_where(dlrun: Dlrun, tmp_path: Path, name: str) -> None:
    done = run(dlrun, name, "--summary") if name in NETWORKS else run(dlrun, name)
    folder = latest(tmp_path, name)
    found = results(tmp_path, name)
    assert (found["status"], found["format"], found["experiment"]) == ("finished", FORMAT, name)
    config = load_config(
        name, RunSettings(config=registry.experiment_entry(name).overlays("smoke"))
    )
    assert config.total_steps in (None, found["steps"])
    assert found["result_steps"] == (found["steps"] or 0)
    assert found["accelerator"].keys() == {"requested", "used", "reason"}
    assert found["seconds"]["total"] > 0
    for file in ("config.yaml", "environment.json", "log.txt", *found["figures"]):
        assert (folder / file).stat().st_size > 0
        assert not list(folder.glob(".*"))
    assert found["figures"] and found["files"]
    for figure in found["figures"]:
        assert figure in done.stdout
    for file, digest in found["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    if found["source"] == "sample":
        assert "generated" in found["data"]
        assert "generated" in done.stdout
        assert 0 <= found["metrics"]["test_accuracy"] <= 1
        correct = found["metrics"]["test_accuracy"] * found["test_rows"]
        assert correct == pytest.approx(round(correct), abs=1e-3)
        low, high = wilson_interval(round(correct), found["test_rows"])
        assert "95 % interval" in done.stdout and f"{low:.4f}-{high:.4f}" in done.stdout
        assert 0 < found["classes"]["share"] <= 0.5 and found["classes"]["number"] >= 2
        assert 0 <= found["classes"]["macro_f1"] <= 1
        assert "test_macro_f1" in done.stdout and "largest_class" in done.stdout
        assert found["expected"] == {}
        assert found["reference"]["source"].startswith("ISLP")
        assert found["reference_differs"] == "the data are generated"
        assert "book   not compared (its test_accuracy 0." in done.stdout
        assert "notebook" not in done.stdout
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    if name in NETWORKS:
        check_network(folder, found, done.stdout)


def check_network(folder: Path, found: dict, stdout: str) -> None:
    header, *rows = (folder / "metrics.csv").read_text().splitlines()
    names = header.split(",")
    assert (names[0], names[-1]) == ("epoch", "seconds")
    assert set(names[1:-1]) <= set(found["metrics"])
    assert len(rows) == found["epochs"] == 1
    parameters = sum(one.numel() for one in Run.open(folder).network().parameters())
    assert found["parameters"] == parameters
    assert f"{parameters:,}" in (folder / "summary.txt").read_text()
    assert f"{parameters:,}" in stdout  # --summary
    assert found["metrics"]["test_loss"] > 0
    assert (folder / "weights.pt").stat().st_size > 4 * parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_same_seed_gives_the_same_metrics_and_another_does_not(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    rows = []
    for seed in (1, 1, 2):
        run(forked, name, *setting(f"seed={seed}", "trainer.max_epochs=2"))
        rows.append([{**row, "seconds": ""} for row in metrics(tmp_path, name)])
    assert len(rows[0]) == 2
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("name", NETWORKS)
def test_config_of_a_run_repeats_it(forked: Dlrun, tmp_path: Path, name: str) -> None:
    run(forked, name, "--set", "batch_size=50")
    first = metrics(tmp_path, name)[0]
    copy = tmp_path / "again.yaml"
    copy.write_text((latest(tmp_path, name) / "config.yaml").read_text())
    assert forked(name, "--config", copy).returncode == 0
    again = metrics(tmp_path, name)[0]
    assert {**again, "seconds": ""} == {**first, "seconds": ""}


def test_json_prints_results_alone_and_quiet_leaves_them(forked: Dlrun, tmp_path: Path) -> None:
    done = run(forked, NETWORK, "--json")
    assert json.loads(done.stdout) == results(tmp_path, NETWORK)
    done = run(forked, NETWORK, "--quiet")
    assert done.stderr == "" and "test_accuracy" in done.stdout


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_missing_accelerator(forked: Dlrun, tmp_path: Path, device: str) -> None:
    """It runs on the CPU and says why; without a fallback it is refused before the run."""
    if getattr(torch, device).is_available():
        pytest.skip(f"this machine has {device}")
    done = run(forked, NETWORK, "--accelerator", device, "--no-fallback", code=1)
    assert device in done.stderr
    assert not (tmp_path / "runs").exists()
    done = run(forked, NETWORK, "--accelerator", device)
    report = results(tmp_path, NETWORK)["accelerator"]
    assert (report["requested"], report["used"]) == (device, "cpu")
    assert report["reason"] in done.stderr
    assert done.stderr.count("warning:") == 1


def test_ranks_that_a_scheduler_left_are_not_the_runs(tmp_path: Path) -> None:
    """A run of one process is its own, whatever the environment says."""
    ranks = {"RANK": "1", "LOCAL_RANK": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "3"}
    harness.run(tmp_path, *smoke(NETWORK), **ranks).is_told(0)
    more = setting("trainer.max_epochs=2")
    harness.run(tmp_path, "resume", "latest", *more, **ranks).is_told(0)
    assert results(tmp_path, NETWORK)["status"] == "finished"
    assert len(metrics(tmp_path, NETWORK)) == 2
    harness.run(tmp_path, "accelerators", *smoke(NETWORK), **ranks).is_told(0)
    assert (tmp_path / "runs/accelerators/latest/accelerators.csv").stat().st_size > 0


@pytest.mark.slow
def test_lightnings_own_values_pass_through(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, NETWORK, "--set", "trainer.precision=bf16-mixed")
    precise = metrics(tmp_path, NETWORK)[0]["train_loss"]
    run(forked, NETWORK)
    assert metrics(tmp_path, NETWORK)[0]["train_loss"] != precise


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["trainer.strategy=fsdp"], "trainer.strategy: expected 'auto' or 'ddp', got 'fsdp'"),
        (["trainer.devices=5000", "batch_size=5000"], "5000 cannot be used on a CPU"),
    ],
)
def test_values_that_would_break_a_run_are_refused(
    forked: Dlrun, values: list[str], message: str
) -> None:
    assert message in run(forked, NETWORK, *setting(*values), code=2).stderr


@pytest.mark.parametrize("name", NAMES)
def test_runs_config_is_plain_yaml(forked: Dlrun, tmp_path: Path, name: str) -> None:
    run(forked, name)
    values = yaml.safe_load((latest(tmp_path, name) / "config.yaml").read_text())
    for file in registry.experiment_entry(name).overlays("smoke"):
        for section, overlay in yaml.safe_load(file.read_text()).items():
            assert overlay.items() <= values[section].items()


def test_name_and_folders(forked: Dlrun, tmp_path: Path) -> None:
    run(forked, NETWORK, "--name", "mine", "--runs-dir", "elsewhere")
    folders = (tmp_path / "elsewhere" / NETWORK).glob("2*")
    assert [path.name[-5:] for path in folders] == ["-mine"]
    assert not (tmp_path / "runs").exists()
