"""What an attack with unseen inputs found, as cases."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlrun.experiments import registry
from dlrun.experiments.run import Run
from tests import harness
from tests.conftest import Dlrun, clean_environment
from tests.experiments.test_registry import WORKING, plugin

NAME = "imdb-dense"
(SMOKE,) = registry.entry(NAME).overlays("smoke")
SMALL = ["--set", "data.sample_reviews=200", "--set", "batch_size=50"]


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    """All that a run has written, but for its log and what a kill left half-written."""
    files = [path for path in folder.iterdir() if not path.name.startswith((".new-", "log."))]
    return {path.name: path.read_bytes() for path in files}


def only(tmp_path: Path, name: str) -> Path:
    (folder,) = (tmp_path / "runs" / name).glob("*Z-*")
    return folder


def test_a_photograph_whose_name_is_no_utf8_keeps_the_others(dlrun: Dlrun, tmp_path: Path) -> None:
    from dlrun.data import images

    (tmp_path / "photos").mkdir()
    content = images.sample_photographs()[0].read_bytes()
    for name in (b"\xff.jpg", b"plain.jpg"):
        (tmp_path / "photos" / os.fsdecode(name)).write_bytes(content)
    (smoke,) = registry.entry("classify-images").overlays("smoke")
    done = dlrun("classify-images", "--config", smoke, "photos")
    assert done.returncode == 0, done.stderr
    run = Run.open(only(tmp_path, "classify-images"))
    assert run.state == "finished" and len(run.results["predictions"]) == 2
    assert list(run.draw()) == run.record.figures


def test_a_refused_resume_changes_nothing(tmp_path: Path) -> None:
    sets = [*SMALL, "--set", "trainer.max_epochs=20000"]
    child = harness.start(tmp_path, NAME, "--config", SMOKE, *sets)
    metrics = tmp_path / "runs" / NAME

    def begun() -> bool:
        files = list(metrics.glob("*Z-*/metrics.csv"))
        return bool(files) and files[0].read_text().count("\n") > 4

    harness.wait_until(begun, child)
    child.end(after=0)
    folder = only(tmp_path, NAME)
    before = contents(folder)
    for wrong in ("trainer.max_epochs=2", "data.mirrors=5", "optimizer.lr=1"):
        assert harness.run(tmp_path, "resume", "latest", "--set", wrong).code == 2
    assert contents(folder) == before
    done = len((folder / "metrics.csv").read_text().splitlines()) - 1
    more = ["--set", f"trainer.max_epochs={done + 1}"]
    assert harness.run(tmp_path, "resume", "latest", *more).code == 0


@pytest.mark.parametrize(
    ("returned", "code", "told"),
    [
        ('{{"words": numpy.float32(0.5)}}', 0, ""),
        ('{{"words": numpy.int64(5)}}', 0, ""),
        ('{{"[/b]": 0.5}}', 0, ""),
        ('{{"words": "abc"}}', 1, "is not a number"),
        ('{{"words": [1]}}', 1, "is not a number"),
    ],
)
def test_odd_metrics_of_a_plugin(
    dlrun: Dlrun, tmp_path: Path, returned: str, code: int, told: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    odd = WORKING.replace('{{"words": float(config.words)}}', returned)
    plugin(site, "odd", code="import numpy\n" + odd)
    done = dlrun("odd", PYTHONPATH=str(site))
    assert done.returncode == code, done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr
    assert Run.open(only(tmp_path, "odd")).state == ("failed" if code else "finished")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("1 / 0", "in run: ZeroDivisionError"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("raise GeneratorExit", "raised GeneratorExit"),
        ("raise FileNotFoundError(2, 'No such file', '/my/file')", "/my/file"),
    ],
)
def test_a_fault_of_a_plugin_is_called_its_own(
    dlrun: Dlrun, tmp_path: Path, statement: str, told: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    plugin(
        site,
        "odd",
        code=WORKING.replace(
            "        return Results", f"        {statement}\n        return Results"
        ),
    )
    done = dlrun("odd", PYTHONPATH=str(site))
    assert done.returncode == 1
    assert told in done.stderr and "bug in dlrun" not in done.stderr
    assert results(only(tmp_path, "odd"))["status"] == "failed"
    shown = dlrun("odd", "--debug", PYTHONPATH=str(site))
    assert "Traceback" in shown.stderr


@pytest.mark.parametrize("value", ["this is no value", "sys:experiment", "os:experiment"])
def test_an_odd_entry_point_is_left_out(dlrun: Dlrun, tmp_path: Path, value: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    plugin(site, "odd", points_to=value)
    done = dlrun("--version", PYTHONPATH=str(site))
    assert done.returncode == 0
    assert done.stderr.count("warning:") == 1 and "'odd'" in done.stderr


def test_yaml_that_is_no_text_is_left_out(dlrun: Dlrun, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    plugin(site, "odd")
    (site / "odd" / "configs" / "odd.yaml").write_bytes(b"# \xff\xfe\nseed: 0\n")
    assert "'odd'" in dlrun("--help", PYTHONPATH=str(site)).stderr


def test_a_schema_that_is_none_is_said(dlrun: Dlrun, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    plugin(site, "odd", config="class Config(dict):\n    pass\n")
    done = dlrun("odd", PYTHONPATH=str(site))
    assert done.returncode == 1 and "Config is no ExperimentConfig" in done.stderr


@pytest.mark.parametrize("ranks", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": "1"}])
def test_a_rank_that_was_left_behind_throws_no_run_away(
    forked: Dlrun, tmp_path: Path, ranks: dict[str, str]
) -> None:
    done = forked(NAME, "--config", SMOKE, "--set", "trainer.devices=auto", **ranks)
    assert done.returncode == 0, done.stderr
    assert results(only(tmp_path, NAME))["status"] == "finished"


def test_a_rank_that_is_no_number_is_a_message(forked: Dlrun) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    done = forked(NAME, "--config", SMOKE, **torchrun, RANK="abc")
    assert done.returncode == 2 and "RANK='abc' is not a number" in done.stderr


def test_output_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dlrun", NAME, "--config", str(SMOKE), "-q", "--name", "ünï"]
    for shell, code in (('"$@" >&-', 0), ('PYTHONIOENCODING=ascii "$@"', 0)):
        done = subprocess.run(
            ["sh", "-c", shell, "sh", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=clean_environment(),
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr and "fault" not in done.stderr
    for folder in (tmp_path / "runs" / NAME).glob("*Z-*"):
        assert results(folder)["status"] == "finished"


@pytest.mark.parametrize("name", ["log.txt", "run.lock"])
def test_a_fifo_or_folder_instead_of_a_file_is_a_message(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    assert forked(NAME, "--config", SMOKE).returncode == 0
    path = only(tmp_path, NAME) / name
    path.unlink()
    os.mkfifo(path) if name == "log.txt" else path.mkdir()
    done = forked("resume", "latest", "--set", "trainer.max_epochs=2")
    assert done.returncode == 1
    assert name in done.stderr and "disk" not in done.stderr


def test_a_record_of_a_newer_dlrun_is_not_rewritten(forked: Dlrun, tmp_path: Path) -> None:
    assert forked(NAME, "--config", SMOKE).returncode == 0
    path = only(tmp_path, NAME) / "results.json"
    newer = json.dumps(results(path.parent) | {"format": 3})
    path.write_text(newer)
    done = forked("resume", "latest", "--set", "trainer.max_epochs=2")
    assert done.returncode == 1 and "newer dlrun" in done.stderr
    assert path.read_text() == newer


def test_weights_that_are_gone_come_back(forked: Dlrun, tmp_path: Path) -> None:
    assert forked(NAME, "--config", SMOKE).returncode == 0
    weights = only(tmp_path, NAME) / "weights.pt"
    before = weights.read_bytes()
    weights.unlink()
    assert forked("resume", "latest").returncode == 0
    assert weights.read_bytes() == before


def in_a_terminal(folder: Path, *words: str) -> tuple[int, "subprocess.Popen[bytes]"]:
    """The terminal, and a command in it, with a shell above as a user has one."""
    master, terminal = os.openpty()
    shell = subprocess.Popen(
        ["setsid", "--ctty", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        env=clean_environment(),
    )
    os.close(terminal)
    return master, shell


def test_a_terminal_that_is_closed_ends_a_run_in_order(tmp_path: Path) -> None:
    """Its shell tells the run of it, and the system once more as the shell ends."""
    words = [sys.executable, "-m", "dlrun", NAME, "--config", str(SMOKE), *SMALL]
    command = shlex.join([*words, "--set", "trainer.max_epochs=20000"])
    master, shell = in_a_terminal(tmp_path, "bash", "--norc", "-i")
    os.write(master, f"{command}\n".encode())
    said = b""
    while b"epoch     3/" not in said:
        said += os.read(master, 1000)
    os.close(master)
    shell.wait(timeout=60)
    deadline = time.monotonic() + 60
    while (run := Run.open(only(tmp_path, NAME))).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (run.state, run.record.error) == ("interrupted", "HungUp")
    assert "stopping after this step" in (run.folder / "log.txt").read_text()
    steps = run.record.steps or 0
    assert steps >= 3 and len(run.table["epoch"]) == steps


def test_under_nohup_a_terminal_that_is_closed_loses_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dlrun", NAME, "--config", str(SMOKE), *SMALL]
    words += ["--set", "trainer.max_epochs=30"]
    ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]  # as nohup, which also redirects
    master, child = in_a_terminal(tmp_path, *ignoring, *words)
    os.read(master, 10)
    os.close(master)
    assert child.wait(timeout=120) == 0
    assert Run.open(only(tmp_path, NAME)).state == "finished"
