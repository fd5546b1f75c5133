"""A run that is done is used afterwards: opened, drawn, asked for its network, continued."""

import contextlib
import signal
from pathlib import Path

import pytest
import torch

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, NETWORKS, Dlrun, Done, setting, smoke
from tests.experiments.use import moved, results, rows

TWO_EPOCHS = setting("trainer.max_epochs=2")


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
    assert "warning: " not in harness.run(tmp_path, "resume", folder, *TWO_EPOCHS).is_told(0).stderr
    continued = harness.newest_run(tmp_path, name)
    assert rows(continued)[:1] == before and len(rows(continued)) == 2
    found = results(continued)
    assert (found["status"], found["epochs"], found["continues"]) == ("finished", 2, folder.name)


def test_a_signal_while_a_figure_is_drawn_is_not_lost(
    tmp_path: Path, cli: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(figure: object) -> bytes:
        with contextlib.suppress(BaseException):  # as Python does in the callback of a weakref
            signal.raise_signal(signal.SIGINT)
        return b"figure"

    with monkeypatch.context() as patch:
        patch.setattr("dlrun.plots.figure_to_png", draw)
        cli(*smoke("nyse-rnn")).is_told(130)
    folder = harness.newest_run(tmp_path, "nyse-rnn")
    assert Run.open(folder).state == "interrupted"
    cli("resume", folder).is_told(0)
    assert Run.open(folder).state == "finished" and Run.open(folder).figures
