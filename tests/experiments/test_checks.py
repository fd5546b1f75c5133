"""What is checked before a run begins, and before one goes on: nothing is computed here."""

import json
import pkgutil
import signal
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.api import Run
from dlrun.errors import DataError
from dlrun.experiments import checks, registry
from dlrun.runs.environment import code_hashes, package_versions
from dlrun.runs.new_run import make_waiting_run
from dlrun.runs.options import RunOptions
from dlrun.system.console import Screen
from tests.cli.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import NETWORKS, Dlrun, Patch, setting
from tests.experiments.use import contents
from tests.runs.making import change_config, change_environment, change_record

EPOCHS = registry.shipped_config(EXPERIMENT).layer.values["trainer"]["max_epochs"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of the code and the packages that are here; its checkpoints are gone."""
    folder = tmp_path / "runs" / EXPERIMENT / "20260101T000000Z-a"
    a_whole_run(folder, steps=EPOCHS)
    change_environment(folder, code=code_hashes("dlrun"), packages=package_versions())
    return folder


def test_of_a_finished_run_nothing_is_left_to_do(cli: Dlrun, run: Path) -> None:
    assert cli("resume", run).is_told(0).stdout == ""
    record = json.loads((run / "results.json").read_text())
    assert json.loads(cli("resume", run, "--json").is_told(0).stdout) == record
    change_record(run, steps=3, stopped_epoch=3)
    cli("resume", run).is_told(0, "nothing to resume\n")
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(2, "stopped early, after epoch 3")


@pytest.mark.parametrize(
    ("words", "record", "code", "told"),
    [
        (setting("batch_size=7"), {}, 2, "batch_size: "),
        (setting(f"trainer.max_epochs={EPOCHS - 1}"), {}, 2, f"{EPOCHS} are finished"),
        (setting(f"trainer.max_epochs={EPOCHS + 1}"), {}, 2, "checkpoints are missing"),
        ([], {"status": "interrupted"}, 2, "checkpoints are missing"),
    ],
)
def test_what_cannot_be_resumed_is_one_message(
    cli: Dlrun, run: Path, words: list[str], record: dict[str, Any], code: int, told: str
) -> None:
    change_record(run, **record)
    before = contents(run)
    cli("resume", run, *words).is_told(code, told)
    assert contents(run).items() >= before.items()


def test_an_invalid_recorded_config_is_named_with_file_and_line(cli: Dlrun, run: Path) -> None:
    change_config(run, "lr: ", "learn: ")
    change_record(run, status="interrupted")
    lines = (run / "config.yaml").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if " learn: " in line]
    told = f"config.yaml:{number}: optimizer.learn: unknown key", ": optimizer.lr: this key"
    cli("resume", str(run)).is_told(2, *told)


def test_a_killed_run_continues_only_behind_its_finished_epochs(cli: Dlrun, run: Path) -> None:
    """Its record does not count them, as of a run that was killed."""
    change_record(run, "steps", status="running")
    (run / "metrics.csv").write_text("epoch,train_loss\n1,2.0\n2,1.0\n")
    cli("resume", run, "trainer.max_epochs=1").is_told(2, "2 are finished")
    (run / "metrics.csv").unlink()
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(1, "no finished epoch")
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]


def test_a_continued_run_that_cannot_begin_leaves_no_folder(cli: Dlrun, run: Path) -> None:
    (run / "checkpoint").write_bytes(b"damaged")
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(2, "every checkpoint is damaged")
    assert {path.name for path in run.parent.iterdir()} == {run.name, "latest"}
    assert (run.parent / "latest").resolve() == run.resolve()


def test_with_other_packages_only_force_resumes(cli: Dlrun, run: Path) -> None:
    change_environment(run, packages=package_versions() | {"torch": "1.0"})
    change_record(run, status="failed", steps=None)
    cli("resume", run).is_told(1, "torch 1.0 then", "--force")
    told = "warning: ", "torch 1.0 then", "could not be downloaded"
    cli("resume", run, "--force").is_told(2, *told)


def test_all_that_is_wrong_is_told_at_once(cli: Dlrun, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "optimizer:\n  lr: -1\n  foo: 2\n  bar: 3\nscheduler:\n  warmup_epochs: -1\n  gamma: 1\n"
    )
    words = setting("logger=[nobody]")
    told = ["a.yaml:2: optimizer.lr: ", "a.yaml:3: optimizer.foo: ", "a.yaml:4: optimizer.bar: "]
    told += ["a.yaml:6: scheduler.warmup_epochs: ", "a.yaml:7: scheduler.gamma: "]
    told += ["logger.0: "]
    for command in (["table-dense", "--dry-run"], ["table-dense"], ["sweep", "table-dense"]):
        more = ["--seeds", "2"] if command[0] == "sweep" else []
        cli(*command, "--config", "a.yaml", *words, *more).is_told(2, "6 errors", *told)
    assert not (tmp_path / "runs").exists()
    words = setting("data.source=csv", "data.archive=no.csv", "seed=-1")
    cli("hitters-linear", *words).is_told(2, "2 errors", "data.source=csv: ", "seed=-1: ")
    words = setting("data.path=no.csv", "data.target=y")
    cli("table-dense", *words, "--name", "a b").is_told(2, "2 errors", "no.csv: no such file")


CSV, CLASSES = ("data.path=a.csv",), ("data.path=folder",)


@pytest.mark.parametrize(
    ("name", "table", "sets", "told"),
    [
        ("table-linear", "a,y\n1,2\n3,x\n5,6\n", (*CSV, "data.target=y"), ("a.csv:3", "'x'")),
        ("table-dense", "a,b,y\nu,1,2\n3,1,4\n5,v,6\n", (*CSV, "data.target=y"),
         ("column 'a': 'u'", "column 'b': 'v'", 'data.ignore=["a", "b"]')),
        ("table-dense", "a,b,y\nu,1,2\nv,1,4\nw,1,6\n", (*CSV, "data.target=y"),
         ("no model can read", 'data.ignore=["a", "b"]')),
        ("table-dense", "a,y\n1,u\n2,u\n", (*CSV, "data.target=y", "data.task=classification"),
         ("a.csv", "all rows are of the class")),
        ("text-dense", "text,label\na,1\nb\n", CSV, ("a.csv:3: 1 cells for 2 columns",)),
        ("text-dense", "", CLASSES, ("folder: all rows are of the class 'one'",)),
        ("image-cnn", "", CLASSES, ("folder: no rows with a class",)),
    ],
)  # fmt: skip
def test_a_fault_in_the_data_leaves_no_folder(
    cli: Dlrun, tmp_path: Path, name: str, table: str, sets: tuple[str, ...], told: tuple[str, ...]
) -> None:
    (tmp_path / "a.csv").write_text(table)
    (tmp_path / "folder" / "one").mkdir(parents=True)
    (tmp_path / "folder" / "one" / "a.txt").write_text("a text")
    cli(name, *setting(*sets)).is_told(2, *told)
    assert not [*(tmp_path / "runs" / name).iterdir()]


@pytest.mark.parametrize(
    ("name", "table", "sets", "told"),
    [
        ("table-lasso", "a,y\n", (*CSV, "data.target=z", "data.ignore=[q]"),
         ("no column 'z'", "no column 'q'", "the columns are: a, y")),
        ("nyse-rnn", "a,b\n1,2\n", ("data.archive=a.csv",), ("'DJ_return'", "'train'")),
    ],
)  # fmt: skip
def test_a_missing_column_is_told_before_a_run_begins(
    cli: Dlrun, tmp_path: Path, name: str, table: str, sets: tuple[str, ...], told: tuple[str, ...]
) -> None:
    (tmp_path / "a.csv").write_text(table)
    for command in ([name, "--dry-run"], [name], ["sweep", name, "--seeds", "2"]):
        cli(*command, *setting(*sets)).is_told(2, *told)
    assert not (tmp_path / "runs").exists()


def test_the_fault_of_a_later_run_removes_only_its_folder(cli: Dlrun, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    rows = "".join(f"{row},{row % 7},{row % 5}\n" for row in range(25))
    table.write_text(f"a,b,y\n{rows}")
    words = ["table-linear", *setting(*CSV, "data.target=y"), "--json"]
    cli(*words).is_told(0)
    latest = tmp_path / "runs" / "table-linear" / "latest"
    before = latest.resolve()
    table.write_text(f"a,b,y\n{rows}0,x,1\n")
    cli(*words, "--dry-run").is_told(0)
    done = cli(*words).is_told(2, "a.csv:27: column 'b'")
    assert "'x' is no number" in json.loads(done.stdout)["error"]
    assert latest.resolve() == before and {*latest.parent.iterdir()} == {before, latest}


def test_a_resume_sees_data_that_it_cannot_read_before_it_begins(cli: Dlrun, run: Path) -> None:
    change_record(run, status="interrupted", steps=None)
    before = contents(run)
    (run.parent / "a.tar.gz").write_bytes(b"none")
    cli("resume", run, f"data.archive={run.parent / 'a.tar.gz'}").is_told(2, "published archive")
    assert contents(run).items() >= before.items()


@pytest.mark.parametrize("written", ["environment.describe_environment", "write_run_record"])
def test_a_run_stopped_among_its_first_files_can_be_resumed(
    tmp_path: Path, monkeypatch: Patch, written: str
) -> None:
    name = f"dlrun.runs.new_run.{written}"
    original = pkgutil.resolve_name(name)

    def stop(*args: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(name, stop)
    with pytest.raises(KeyboardInterrupt):
        dlrun.run(NETWORKS[0], data={"source": "sample"}, quiet=True, runs_dir=tmp_path)
    opened = Run.open(f"{NETWORKS[0]}/latest", tmp_path)
    assert opened.state == "interrupted" and opened.config.seed == 0


@pytest.mark.parametrize("link", ["notes.json", "tensorboard", "wandb", "wandb/run-1"])
def test_a_link_out_of_a_run_is_refused(tmp_path: Path, link: str) -> None:
    place = tmp_path / "run" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=place.name):
        checks.check_no_links(tmp_path / "run")


def test_the_log_of_a_finished_wandb_run_is_no_such_link(tmp_path: Path) -> None:
    logs = tmp_path / "run" / "wandb" / "offline-run-1" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "elsewhere")
    checks.check_no_links(tmp_path / "run")


def test_a_resume_looks_for_data_where_the_run_did(cli: Dlrun, tmp_path: Path) -> None:
    options = RunOptions(
        runs_dir=tmp_path / "runs", data_dir=tmp_path / "my data", screen=Screen(quiet=True)
    )
    experiment = registry.find_experiment("mnist-dense")
    config = checks.load_experiment_config(experiment, options)
    run = make_waiting_run(experiment, config, options).folder
    env = {"DLRUN_OFFLINE": "1", "DLRUN_DATA_DIR": "of the environment"}
    cli("resume", run, **env).is_told(2, " into of the environment/mnist ")  # my data is gone
    (tmp_path / "my data").mkdir()
    cli("resume", run, **env).is_told(2, " into my data/mnist ")
    cli("resume", run, "--data-dir", "other", **env).is_told(2, " into other/mnist ")
