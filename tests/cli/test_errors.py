"""Mistakes that users make, and what they are told."""

import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import Dlrun, smoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder with files that are of no use to dlrun."""
    (tmp_path / "README.md").write_text("# not an archive\n" * 50)
    (tmp_path / "bad.yaml").write_text("a: 1\nb: [1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged.tar.gz").write_bytes(b"\x1f\x8b\x08" + b"not an archive" * 50)
    return tmp_path


DENSE = "imdb-dense"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"{DENSE} --epochs 5", "--set trainer.max_epochs=5"),
        (f"{DENSE} --lr", "--set optimizer.lr=...\n"),
        (f"{DENSE} --optimizer.lr 0.01", "--set optimizer.lr=0.01\n"),
        (f"{DENSE} --note x", "no such option: --note\n"),  # it is like nothing
        (f"{DENSE} --device cpu", "'--accelerator cpu'"),
        (f"{DENSE} --acelerator cpu", "'--accelerator'?"),
        (f"{DENSE} --set epochs=5", "'trainer.max_epochs'?"),
        (f"{DENSE} --accelerator gpu", "'cuda'"),
        (f"{DENSE} a-word", "a-word"),
        (f"{DENSE} optimizer.lr=1", "--set optimizer.lr=1\n"),
        (f"{DENSE} 'optimizer={{name: sgd}}'", "--set 'optimizer={name: sgd}'\n"),
        ("version", "'dlrun --version'"),
        ("reproduce --seed 3", "'--seeds'?"),
        ("imdb", "'imdb-dense' or 'imdb-lasso' or 'imdb-lstm'?"),
        ("config imdb-dens", "'imdb-dense'?"),
        ("resum", "'resume'?"),
        ("list", "'runs list'?"),
        ("resume", "RUN"),
        ("sweep --resume latest --seeds 2 --halving", "--halving, --seeds: "),
        (f"sweep {DENSE} --eta 4", "--halving"),
        (f"sweep {DENSE} --slurm time=1 --jobs 2", "--jobs: "),
        (f"{DENSE} --wait", "--slurm"),
        ("accelerators --set x=1", "--set"),
        ("accelerators imdb-lasso", "trains no network"),
        ("runs clean --status running", "'running'"),
        ("data fetch imbd", "'imdb'?"),
        ("data show cifar100", "cifar100"),
        (f"{DENSE} --config none.yaml", "none.yaml: "),
        (f"{DENSE} --config bad.yaml", "bad.yaml:3: "),
        (f"{DENSE} --runs-dir bad.yaml", "bad.yaml"),
        (f"{DENSE} --dry-run --runs-dir README.md", "README.md"),
        (f"{DENSE} --dry-run --name a/b", "a/b"),
        (f"{DENSE} --dry-run --set data.archive=README.md", "README.md: "),
        (f"{DENSE} --dry-run --set data.archive=none.tar.gz", "none.tar.gz: "),
        ("cifar100 --dry-run --set data.archive=README.md", "README.md: "),
        ("imdb-lasso --dry-run --set compare_with=folder", "folder"),
        ("classify-images nowhere.jpg", "nowhere.jpg: "),
        (f"{DENSE} --set trainer.strategy=fsdp", "'ddp'"),
        *(
            (f"{DENSE} --accelerator cpu --set trainer.devices={wrong}", "devices")
            for wrong in ("[0]", "[5]", "[0,0]", "[]")
        ),
        (f"{DENSE} --dry-run --accelerator cpu --set trainer.devices=5000", "5000"),
    ],
)
def test_a_mistake_is_one_message_and_2(cli: Dlrun, folder: Path, command: str, told: str) -> None:
    done = cli(*shlex.split(command))
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (DENSE, "--set data.source=sample"),
        ("cifar100", "DLRUN_OFFLINE"),
        ("data fetch imdb", "aclImdb_v1.tar.gz"),
        ("data verify imdb", "not there"),
        (f"{DENSE} --set data.archive=damaged.tar.gz", "damaged.tar.gz"),
    ],
)
def test_missing_or_damaged_data_are_one_message_and_1(
    forked: Dlrun, folder: Path, command: str, told: str
) -> None:
    done = forked(*shlex.split(command), DLRUN_OFFLINE="1", TORCH_HOME=str(folder / "torch"))
    assert done.returncode == 1, done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr
    for results in folder.glob("runs/*/*/results.json"):
        assert json.loads(results.read_text())["status"] == "failed"


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso", "cifar100", "classify-images"])
def test_a_dry_run_sees_that_data_are_missing_and_may_not_be_downloaded(
    cli: Dlrun, tmp_path: Path, name: str
) -> None:
    without = {"DLRUN_OFFLINE": "1", "TORCH_HOME": str(tmp_path / "torch")}
    done = cli(name, "--dry-run", **without)
    assert done.returncode == 1
    assert "DLRUN_OFFLINE" in done.stderr
    assert cli(name, "--dry-run", TORCH_HOME=str(tmp_path / "torch")).returncode == 0
    assert cli(*smoke(name), "--dry-run", **without).returncode == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{DENSE} --set seed=x", 2),
        ("resume latest --no-such-option", 2),
        ("resume latest", 2),
        (f"sweep {DENSE} --eta 3", 2),
        (DENSE, 1),
    ],
)
def test_json_is_one_object_where_a_command_failed(cli: Dlrun, command: str, code: int) -> None:
    done = cli(*shlex.split(command), "--json", DLRUN_OFFLINE="1")
    assert done.returncode == code
    found = json.loads(done.stdout)
    assert found["status"] == "failed" and found["error"] in done.stderr


def test_an_unexpected_error_is_called_a_bug_and_debug_shows_it(
    cli: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("one over zero")

    monkeypatch.setattr("dlrun.commands.run_resume_config.load_experiment_config", broken)
    done = cli("config", DENSE)
    assert done.returncode == 1
    assert "ZeroDivisionError: one over zero" in done.stderr and "bug in dlrun" in done.stderr
    done = cli("config", DENSE, "--debug")
    assert done.returncode == 1 and done.stderr.startswith("Traceback")
