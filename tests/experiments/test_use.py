"""A run that is done is used afterwards: opened, drawn, asked for its network, extended."""

import contextlib
import signal
from pathlib import Path

import pytest
import torch

from dlrun.errors import DataError
from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, NETWORKS, Dlrun, Done, setting
from tests.experiments.use import flip, moved, results, rows


@pytest.mark.parametrize("name", NAMES)
def test_moved_run_is_what_it_was(tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    run = Run.open(folder)
    assert (run.state, run.folder, run.record.experiment) == ("finished", folder, name)
    assert run.record == Run.open(done(name)).record
    drawn = run.draw()
    assert list(drawn) == run.record.figures
    assert [figure.name for figure in run.figures] == list(drawn)
    for figure in drawn.values():
        assert figure.get_axes()
        titles = [text.get_text() for text in figure.texts]  # it names the run as it is called now
        assert any(f"{name}, " in title and "run my favourite" in title for title in titles)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_of_a_moved_run_tests_as_it_did_and_goes_on(
    tmp_path: Path, done: Done, name: str
) -> None:
    folder = moved(done(name), tmp_path)
    run = Run.open(folder)
    network = run.network()
    assert not network.training
    weights = torch.load(folder / "weights.pt", weights_only=True)
    assert network.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    example = run.experiment.example(run.config, run.experiment.assets(run))
    assert len(network(example)) == len(example)
    tested = run.test(tmp_path / "no data").metrics
    recorded = {
        name: run.record.metrics.get(f"test_{name}", value) for name, value in tested.items()
    }
    assert tested == pytest.approx(recorded, rel=1e-5, abs=1e-6)
    assert {f"test_{name}" for name in tested} & run.record.metrics.keys()
    before = rows(folder)
    figures = {figure: figure.read_bytes() for figure in run.figures}
    extended = harness.run(tmp_path, "resume", folder, "--set", "trainer.max_epochs=2").is_told(0)
    assert "warning: " not in extended.stderr
    assert rows(folder)[:1] == before and len(rows(folder)) == 2
    assert figures and [*figures] == Run.open(folder).figures
    assert all(figure.read_bytes() != content for figure, content in figures.items())
    found = results(folder)
    assert (found["status"], found["epochs"], found["run"]) == ("finished", 2, str(folder))
    folders = {file.name for file in tmp_path.iterdir() if file.is_dir()}
    assert folders == {".output", "elsewhere"}


def test_figures_of_fewer_epochs_do_not_stay(
    tmp_path: Path, done: Done, cli: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = moved(done("nyse-rnn"), tmp_path)
    assert [*folder.glob("*.png")]

    def fail(figure: object) -> bytes:
        raise ValueError("no font")

    monkeypatch.setattr("dlrun.plots.style.figure_to_png", fail)
    cli("resume", folder, "trainer.max_epochs=2").is_told(0, "no font")
    assert Run.open(folder).figures == [*folder.glob("*.png")] == []
    assert cli("runs", "check", folder).is_told(0)


def test_a_signal_while_a_figure_is_drawn_is_not_lost(
    tmp_path: Path, done: Done, cli: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = moved(done("nyse-rnn"), tmp_path)

    def draw(figure: object) -> bytes:
        with contextlib.suppress(BaseException):  # as Python does in the callback of a weakref
            signal.raise_signal(signal.SIGINT)
        return b"figure"

    with monkeypatch.context() as patch:
        patch.setattr("dlrun.plots.style.figure_to_png", draw)
        cli("resume", folder, "trainer.max_epochs=2").is_told(130)
    assert Run.open(folder).record.result_steps == 1
    cli("resume", folder).is_told(0)
    assert Run.open(folder).state == "finished" and Run.open(folder).figures


@pytest.mark.parametrize("name", NAMES)
def test_changed_file_is_no_result(tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    for file in Run.open(folder).record.files:
        flip(folder / file, at=-3)
        with pytest.raises(DataError, match=f"{file}: damaged"):
            Run.open(folder).read(file)
    uses = Run.open(folder).network if name in NETWORKS else Run.open(folder).draw
    if name != "imdb-lasso":  # its figure needs no file that is kept
        with pytest.raises(DataError, match="damaged"):
            uses()


@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGKILL) for name in NETWORKS), (NETWORKS[0], signal.SIGINT)],
)
def test_extension_that_is_ended_keeps_the_result(
    tmp_path: Path, done: Done, name: str, number: signal.Signals
) -> None:
    folder = moved(done(name), tmp_path)
    before = results(folder)
    files = {file: (folder / file).read_bytes() for file in before["files"]}
    child = harness.start(tmp_path, "resume", folder, *setting("trainer.max_epochs=100000"))
    harness.wait_until(lambda: len(rows(folder)) > 2, child)
    child.signal(number)
    ended = child.end()
    found = results(folder)
    if number == signal.SIGINT:
        ended.is_told(130, f"dlrun resume {folder.relative_to(tmp_path)}")
        assert (found["status"], Run.open(folder).state) == ("interrupted", "interrupted")
        assert found["steps"] == len(rows(folder)) > found["result_steps"] == 1
    else:
        assert (found["status"], Run.open(folder).state) == ("running", "killed")
    for kept in ("metrics", "figures", "files", "epochs", "result_steps", "seed", "data"):
        assert found[kept] == before[kept]
    assert {file: (folder / file).read_bytes() for file in files} == files
    Run.open(folder).network()
    epochs = len(rows(folder)) + 1
    more = setting(f"trainer.max_epochs={epochs}")
    harness.run(tmp_path, "resume", folder, *more).is_told(0)
    found = results(folder)
    assert (found["status"], found["steps"], found["result_steps"]) == ("finished", epochs, epochs)
    assert found["error"] is None
