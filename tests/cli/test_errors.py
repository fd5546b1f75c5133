"""Mistakes that users make, and what they are told."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Dlrun, Patch, smoke
from tests.runs.making import a_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder with files that are of no use to dlrun."""
    (tmp_path / "README.md").write_text("# not an archive\n" * 50)
    (tmp_path / "bad.yaml").write_text("a: 1\nb: [1\n")
    (tmp_path / "away.yaml").write_text("data:\n  path: nix.csv\n")
    (tmp_path / "a.csv").write_text("text,label\ngood,1\n")
    (tmp_path / "folder" / "only").mkdir(parents=True)
    (tmp_path / "folder" / "only" / "1.txt").touch()
    (tmp_path / "damaged.tar.gz").write_bytes(b"\x1f\x8b\x08" + b"not an archive" * 50)
    return tmp_path


DENSE, SEEDS = "imdb-dense", "imdb-lasso --seeds 2"
OWN = "text-dense --dry-run"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"{DENSE} --epochs 5", "KEY=VALUE"),
        ("runs list --optimizer.lr 1", "--optimizer.lr\n"),
        ("runs list --sort", "'--sort' requires an argument\n  dlrun runs list --help\n"),
        (f"{DENSE} seed=3 batch_size=9 --seeds 3", f"dlrun sweep {DENSE} batch_size=9 --seeds 3\n"),
        (f"{DENSE} --set seed=3 --seeds 3", f"dlrun sweep {DENSE} --seeds 3\n"),
        (f"{DENSE} --acelerator cpu", "'--accelerator'?"),
        (f"{DENSE} --accelerator gpu", "'cuda'"),
        (f"{DENSE} --accelerator=", "'cuda'"),
        (f"{DENSE} +optimizer.lr=1", "'optimizer'?"),
        (f"swep {DENSE} --seeds 2", "'sweep'?"),
        (f"{DENSE} seed=1,2", f"`dlrun sweep {DENSE} seed=1,2`"),
        ("imdb", "'imdb-dense' or 'imdb-lasso' or 'imdb-lstm'?"),
        ("list", "'runs list'?"),
        ("resume", "RUN"),
        ("sweep --resume latest --seeds 2", "--seeds: "),
        (f"sweep {DENSE} --slurm time=1 --jobs 2", "--jobs: "),
        (f"{DENSE} --wait", "--slurm"),
        (f"{DENSE} --slurm time=soon", "--slurm time=soon: time: expected a valid integer"),
        (f"{DENSE} --config bad.yaml", "bad.yaml:3: "),
        (f"{DENSE} --dry-run --runs-dir README.md", "README.md"),
        (f"{DENSE} --dry-run --set data.archive=none.tar.gz", "none.tar.gz: no such file"),
        (f"{DENSE} --set data.source=sample --set data.validation=1000000", "held out of "),
        ("imdb-lasso --dry-run --set tolerance=2", "tolerance"),
        (f"{OWN} a.csv --set data.text_column=texts", ": a.csv:1: no column"),
        (OWN, "such as `mails.csv`"),
        (f"{OWN} none.csv", "none.csv: no such file or folder"),
        (f"{OWN} --config away.yaml", "data.path: nix.csv: no such"),
        (
            "mnist-dense model.dropout=[0.1,0.2,0.3]",
            "model.dropout: 3 values for hidden: [256, 128]",
        ),
        (f"{OWN} a.csv README.md", "one PATH"),
        (f"{DENSE} a.csv", "dlrun --help"),
        (f"{DENSE} data.source=stamford", "did you mean 'stanford'?"),
        ("classify-images --set model.name=resnet51", "'resnet50'?"),
        ("hitters-dense trainer=x trainer.max_epochs=3", "trainer=x: trainer: expected 'key"),
        ("hitters-dense model.hidden=[1000000000000000000000]", "model.hidden.0: expected less"),
        ("nyse-rnn model.hidden=10000000000", "model.hidden: expected less"),
        ("table-boosting a.csv model.max_iter=10000000000000", "model.max_iter: expected less"),
        ("demo table-dense", "`dlrun table-dense cars.csv data.target=price`"),
        ("runs show /some/long/path/that/is/gone", "no such run"),
        ("runs show /some/long/path/that/is/latest", "no runs here"),
    ],
)
def test_a_mistake_is_one_message_and_2(cli: Dlrun, folder: Path, command: str, told: str) -> None:
    cli(*shlex.split(command)).is_told(2, "error: ", told)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "is_sweep"),
    [
        ("seed=1,2", True),
        ("threads=[1,2]", True),
        ("optimizer.lr=[0.1,0.2]", True),
        ("threads=[1,[2]]", False),
        ("seed=1,x", False),
        ("trainer=x,y", False),
        ("model.hidden=[[1,2]]", False),
    ],
)
def test_a_sweep_is_suggested_only_if_it_runs(cli: Dlrun, setting: str, is_sweep: bool) -> None:
    told = cli("hitters-dense", "data.source=sample", setting).is_told(2).stderr
    command = re.search("`dlrun (sweep .*)` runs each", told)
    assert bool(command) == is_sweep
    if command:
        cli(*shlex.split(command[1]), "--dry-run").is_told(0)


def test_a_path_in_a_command_that_is_printed_is_one_word_for_a_shell(
    cli: Dlrun, tmp_path: Path
) -> None:
    folder = "it's; touch x"
    run = a_run(tmp_path / folder / "imdb-dense" / "20260101T000000Z-a", status="interrupted")
    told = cli("predict", "a", "words", "--runs-dir", folder).is_told(1).stderr
    command = re.search("`(dlrun resume .*)` continues it", told)
    assert command and shlex.split(command[1])[2:] == [str(run.relative_to(tmp_path))]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("data fetch imdb", "data/imdb (elsewhere: --data-dir, DLRUN_DATA_DIR"),
        (f"{DENSE} --set data.archive=damaged.tar.gz", "damaged.tar.gz"),
    ],
)
def test_missing_or_damaged_data_are_2(
    forked: Dlrun, folder: Path, command: str, told: str
) -> None:
    without = {"DLRUN_OFFLINE": "1", "TORCH_HOME": str(folder / "torch")}
    forked(*shlex.split(command), **without).is_told(2, told.format(folder=folder))
    assert not [*folder.glob("runs/*/*")]


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso", "cifar100", "classify-images"])
def test_a_dry_run_sees_that_data_cannot_be_downloaded(
    cli: Dlrun, tmp_path: Path, name: str
) -> None:
    without = {"DLRUN_OFFLINE": "1", "TORCH_HOME": str(tmp_path / "torch")}
    cli(name, "--dry-run", **without).is_told(2, "DLRUN_OFFLINE")
    cli(name, "--dry-run", TORCH_HOME=str(tmp_path / "torch")).is_told(0)
    cli(*smoke(name), "--dry-run", **without).is_told(0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{DENSE} --set seed=x", 2),
        ("resume latest --no-such-option", 2),
        (DENSE, 2),
        ("runs list --no-such-option", 2),
        ("predict nothing good", 2),
        ("frob", 2),
    ],
)
def test_json_is_one_object_where_a_command_failed(cli: Dlrun, command: str, code: int) -> None:
    done = cli(*shlex.split(command), "--json", DLRUN_OFFLINE="1").is_told(code)
    found = json.loads(done.stdout)
    assert found["status"] == "failed" and found["error"] in done.stderr
    assert done.stdout.count("\n") == 1, "a line, as the objects of `predict` before it"


def test_an_unexpected_error_is_called_a_bug(
    cli: Dlrun, tmp_path: Path, monkeypatch: Patch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("one over zero")

    monkeypatch.setattr("dlrun.cli.config.load_experiment_config", broken)
    done = cli("config", DENSE)
    assert done.returncode == 1
    assert "ZeroDivisionError: one over zero" in done.stderr and "bug in dlrun" in done.stderr
    monkeypatch.setattr("dlrun.cli.runs_show._run_as_object", broken)
    a_run(tmp_path / "runs" / DENSE / "r")
    done = cli("runs", "show", "r", "--json")
    assert json.loads(done.stdout)["error"] in done.stderr and "ZeroDivision" in done.stderr
    done = cli("config", DENSE, "--debug")
    assert done.returncode == 1 and done.stderr.startswith("Traceback")
