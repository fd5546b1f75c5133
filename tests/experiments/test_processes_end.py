"""Two processes that train together end together, whatever ends one of them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlrun.experiments.run import Run
from dlrun.system.signals import SIGNALS
from tests.conftest import Dlrun, overlaid, setting
from tests.experiments.processes import NAME, SMOKE, Started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores"),
]

LONG = [*overlaid(NAME, SMOKE), *setting("trainer.max_epochs=2000", "batch_size=20")]
LOST = "error: one of the 2 processes that train together "
OWNER, HELPER = 0, 1
# As dlrun, but it waits for 20 seconds only: a helper needs some to start on a busy machine.
HASTY = """
import datetime
from dlrun.__main__ import main
from dlrun.training import distributed
distributed.PATIENCE = datetime.timedelta(seconds=20)
main()
"""

Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `dlrun` in two processes; none is left at the end of the test."""
    all_started: list[Started] = []

    def begin(how: str, *words: str, **options: tuple[str, ...]) -> Started:
        all_started.append(Started(tmp_path, how, *words, "--accelerator", "cpu", **options))
        return all_started[-1]

    yield begin
    for started in all_started:
        started.kill()


def ended(started: Started) -> tuple[Run, str]:
    """The one run that they leave, and what dlrun said of its end, but for what torchrun adds."""
    (folder,) = (started.folder / "runs" / NAME).glob("*Z-*")
    assert "bug in dlrun" not in started.said
    said = "\n".join(line for line in started.said.splitlines() if line.startswith("error: "))
    return Run.open(folder), said


def goes_on(dlrun: Dlrun, run: Run) -> None:
    """The next epoch by two processes of which nothing was killed."""
    before = (run.folder / "metrics.csv").read_text()
    epochs = len(before.splitlines())
    more = setting(f"trainer.max_epochs={epochs}", "trainer.devices=2", "trainer.num_nodes=1")
    done = dlrun("resume", run.folder, *more, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    again = Run.open(run.folder)
    assert again.state == "finished" and again.record.processes == 2
    text = (run.folder / "metrics.csv").read_text()
    assert text.startswith(before) and len(text.splitlines()) == epochs + 1


@pytest.mark.parametrize("who", [OWNER, HELPER], ids=["owner", "helper"])
@pytest.mark.parametrize("how", ["ddp", "torchrun", "nodes"])
def test_one_is_killed(start: Start, dlrun: Dlrun, how: str, who: int) -> None:
    started = start(how, *LONG)
    started.until_said("epoch    3/2000")
    os.kill(started.ranks()[who], signal.SIGKILL)
    codes = started.end()
    assert codes == [1] * len(codes)
    run, said = ended(started)
    if how == "torchrun" and who == OWNER:  # torchrun ends the helper, and says why
        assert not said and "SIGKILL" in started.said
    else:
        assert said.count("\n") == 0 and said.startswith(LOST), started.said
        assert "`dlrun resume` continues" in started.said
    if who == HELPER:
        assert run.state == "failed" and (run.record.steps or 0) >= 3
        assert run.record.error == said.removeprefix("error: ")
    else:
        assert run.state == "killed"
    goes_on(dlrun, run)


def test_a_helper_that_never_comes_is_not_waited_for(start: Start) -> None:
    started = start("ddp", *LONG)
    os.kill(started.ranks()[HELPER], signal.SIGKILL)
    assert started.end() == [1]
    run, said = ended(started)
    assert said == f"{LOST}was ended by SIGKILL" or run.state == "failed", started.said
    assert not run.record.steps


@pytest.mark.parametrize("who", [OWNER, HELPER], ids=["owner", "helper"])
def test_one_that_stands_still_is_waited_for_no_longer_than_the_limit(
    start: Start, tmp_path: Path, who: int
) -> None:
    script = tmp_path / "dlrun_hasty.py"
    script.write_text(HASTY)
    started = start("torchrun", *LONG, program=(str(script),))
    started.until_said("epoch    3/2000")
    ranks = started.ranks()
    os.kill(ranks[who], signal.SIGSTOP)
    if who == OWNER:
        started.until_said(LOST)  # by the helper
        os.kill(ranks[OWNER], signal.SIGCONT)
    assert started.end() == [1]
    run, said = ended(started)
    assert LOST in said and (run.record.steps or 0) >= 3
    if who == HELPER:
        assert said == f"{LOST}has not answered for 20 s"
        assert run.state == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("how", ["ddp", "torchrun", "nodes"])
def test_a_signal_ends_all_in_order(
    start: Start, dlrun: Dlrun, how: str, number: signal.Signals
) -> None:
    """The signal goes to the launcher alone, whose processes have sessions of their own."""
    started = start(how, *LONG)
    started.until_said("epoch    3/2000")
    started.ranks()
    started.nodes[0].send_signal(number)
    codes = started.end()
    if how == "ddp":
        assert codes == [128 + number]
    run, said = ended(started)
    assert said == f"error: {SIGNALS[number].word}", started.said
    assert run.state == "interrupted" and (run.record.steps or 0) >= 3
    assert len((run.folder / "metrics.csv").read_text().splitlines()) == (run.record.steps or 0) + 1
    assert "continue with: dlrun resume" in started.said
    goes_on(dlrun, run)


def test_a_signal_before_they_have_connected(start: Start) -> None:
    started = start("ddp", *LONG)
    started.until_said("run folder")
    started.ranks()
    started.nodes[0].send_signal(signal.SIGTERM)
    assert started.end() == [143]
    run, said = ended(started)
    assert said == "error: terminated" and run.state == "interrupted"
