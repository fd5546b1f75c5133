"""A run is stopped or killed, and resumed as if it never was (more in tests/torture)."""

import contextlib
import json
import shlex
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dlrun.runs.run import Run
from tests import harness
from tests.conftest import NETWORKS, Dlrun, Ended, Patch, overlaid, setting, smoke
from tests.experiments.use import contents, finished, latest, results, rows, table
from tests.runs.making import change_config, change_record

CONFIGS = Path(__file__).parent / "configs"
LONG = sorted(file.stem for file in (CONFIGS / "long").glob("*.yaml"))
ENDLESS = sorted(file.stem for file in (CONFIGS / "endless").glob("*.yaml"))
NETWORK = next(name for name in ENDLESS if name in NETWORKS)
TWO_EPOCHS = [*smoke(NETWORK), *setting("trainer.max_epochs=2")]


def long(experiment: str, kind: str = "long") -> list[str]:
    """The command line of a run that lasts, or does not end."""
    return [*smoke(experiment), *overlaid(experiment, CONFIGS / kind / f"{experiment}.yaml")[1:]]


def wait_for_steps(runs: Path, running: harness.Child, count: int = 1) -> None:
    """Until the newest run of a folder has some steps behind it, or its config at least."""
    file = runs / "latest" / ("metrics.csv" if count else "config.yaml")
    harness.wait_until(lambda: file.exists() and file.read_text().count("\n") > count, running)


def outcome(folder: Path) -> tuple[list[dict[str, str]], list[bytes]]:
    """The metrics without their times, and the bytes of the weights or coefficients."""
    found = table(folder)
    if (folder / "weights.pt").exists():
        state = torch.load(folder / "weights.pt", weights_only=True)
        return found, [tensor.numpy().tobytes() for tensor in state.values()]
    with np.load(next(folder.glob("*.npz"))) as file:
        return found, [file[name].tobytes() for name in sorted(file.files)]


def stopped_by(running: harness.Child, run: Path) -> Ended:
    """The end of a process that a signal stops in order."""
    ended = running.end()
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr, ended.stderr
    assert results(run)["status"] == Run.open(run).state == "interrupted"
    return ended


@pytest.mark.parametrize(
    ("number", "code", "steps"),
    [
        (signal.SIGINT, 130, 0),  # while it starts
        (signal.SIGINT, 130, 3),
        (signal.SIGTERM, 143, 3),
        (signal.SIGUSR2, 140, 3),
    ],
)
@pytest.mark.parametrize("experiment", ENDLESS)
def test_a_signal_stops_a_run_which_keeps_its_steps(
    tmp_path: Path, experiment: str, number: signal.Signals, code: int, steps: int
) -> None:
    running = harness.start(tmp_path, *long(experiment, "endless"))
    wait_for_steps(tmp_path / "runs" / experiment, running, steps)
    running.signal(number)
    run = latest(tmp_path, experiment)
    ended = stopped_by(running, run)
    assert ended.returncode == code
    if steps:
        assert f"continue with: dlrun resume {run.relative_to(tmp_path)}" in ended.stderr
        assert len(rows(run)) == results(run)["steps"] >= steps
        assert len({line.count(",") for line in rows(run)}) == 1


def test_every_printed_command_that_continues_a_run_is_the_same(
    forked: Dlrun, tmp_path: Path
) -> None:
    places = ["--runs-dir", "other runs", "--data-dir", "my data"]
    running = harness.start(tmp_path, *long(NETWORK), *places)
    folder = tmp_path / "other runs" / NETWORK
    wait_for_steps(folder, running, 3)
    running.signal(signal.SIGINT)
    run = (folder / "latest").resolve()
    stopped = stopped_by(running, run).stderr.partition("continue with: ")[2].splitlines()[0]
    shown = json.loads(forked("runs", "show", run, "--json").is_told(0).stdout)["resume"]
    assert f"`{stopped}`" in forked("predict", run, "fine").is_told(1).stderr
    assert shown.replace(f"{tmp_path}/", "") == stopped  # a screen shortens paths
    forked(*shlex.split(stopped)[1:]).is_told(0)
    assert Run.open(run).state == "finished"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("pause", [0, 0.02, 0.3])
@pytest.mark.parametrize("experiment", ENDLESS)
def test_a_second_signal_stops_at_once(tmp_path: Path, experiment: str, pause: float) -> None:
    running = harness.start(tmp_path, *long(experiment, "endless"))
    wait_for_steps(tmp_path / "runs" / experiment, running, 3)
    running.signal(signal.SIGINT)
    time.sleep(pause)
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        running.signal(signal.SIGINT)
    ended = stopped_by(running, latest(tmp_path, experiment))
    assert "error: interrupted" in ended.stderr
    # Where it had ended already but for Python's own end, the system ends it: 130 for a shell too.
    assert ended.returncode in (130, -signal.SIGINT)


def test_a_signal_within_a_figure_is_not_lost(
    tmp_path: Path, cli: Dlrun, monkeypatch: Patch
) -> None:
    def draw(figure: object) -> bytes:
        with contextlib.suppress(BaseException):  # as Python does in the callback of a weakref
            signal.raise_signal(signal.SIGINT)
        return b"figure"

    with monkeypatch.context() as patch:
        patch.setattr("dlrun.plots.figure_to_png", draw)
        cli(*smoke("nyse-rnn")).is_told(130)
    run = Run.open(harness.newest_run(tmp_path, "nyse-rnn"))
    assert run.state == "interrupted"
    cli("resume", run.folder).is_told(0)
    run = Run.open(run.folder)
    assert run.state == "finished" and run.figures


def test_a_continued_run_is_a_new_one_as_if_never_stopped(forked: Dlrun, tmp_path: Path) -> None:
    run = finished(tmp_path, [*TWO_EPOCHS, "--name", "two"])
    before = contents(run)
    forked("resume", "two", "trainer.max_epochs=4").is_told(0)
    continued = Run.open("latest", tmp_path / "runs")
    whole = finished(tmp_path / "whole", [*smoke(NETWORK), *setting("trainer.max_epochs=4")])
    assert contents(run) == before
    assert continued.folder != run and outcome(continued.folder) == outcome(whole)
    assert continued.record.metrics == Run.open(whole).record.metrics
    assert (continued.record.continues, continued.record.sweep) == (run.name, None)
    listed = forked("runs", "list", "--where", f"continues={run.name}", "--json").is_told(0)
    assert [row["name"] for row in json.loads(listed.stdout)] == [continued.name]
    assert run.name in forked("runs", "show", "latest").is_told(0).stdout
    shutil.rmtree(run)  # the new run is self-contained
    forked("runs", "check").is_told(0)
    forked("verify", "latest").is_told(0)


def test_a_run_killed_as_it_continued_is_resumed_there(forked: Dlrun, tmp_path: Path) -> None:
    run = finished(tmp_path, [*TWO_EPOCHS, "--name", "two"])
    before = contents(run)
    running = harness.start(tmp_path, "resume", "two", "trainer.max_epochs=30")
    wait_for_steps(run.parent, running, 4)
    running.signal(signal.SIGKILL)
    running.end()
    killed = latest(tmp_path, NETWORK)
    assert killed != run and Run.open(killed).state == "killed"
    forked("resume", killed).is_told(0)
    assert len(rows(killed)) == 30 and contents(run) == before
    assert latest(tmp_path, NETWORK) == killed and results(killed)["continues"] == run.name


def test_a_run_that_goes_on_is_not_continued(forked: Dlrun, tmp_path: Path) -> None:
    """Neither in its folder nor, with more epochs, in a new one."""
    running = harness.start(tmp_path, *long(NETWORK, "endless"))
    wait_for_steps(tmp_path / "runs" / NETWORK, running, 2)
    run = latest(tmp_path, NETWORK)
    forked("resume", run).is_told(1, str(run.name))
    forked("resume", run, "trainer.max_epochs=9999").is_told(1, str(run.name))
    running.signal(signal.SIGINT)
    stopped_by(running, run)
    assert latest(tmp_path, NETWORK) == run


def test_what_a_resume_chooses_is_in_the_record_alone(forked: Dlrun, tmp_path: Path) -> None:
    stopped = finished(tmp_path, TWO_EPOCHS)
    change_record(stopped, status="interrupted")
    change_config(stopped, "max_epochs: 2", f"max_epochs: {len(rows(stopped)) + 1}")
    config = (stopped / "config.yaml").read_bytes()
    forked("resume", stopped, "--accelerator", "cpu", "logger=[tensorboard]").is_told(0)
    assert (stopped / "config.yaml").read_bytes() == config
    settings = Run.open(stopped).settings
    assert (settings["accelerator"], settings["logger"]) == ("cpu", ["tensorboard"])
    forked("runs", "check", stopped).is_told(0)
