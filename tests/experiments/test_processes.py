"""Two processes that train one network on the CPU give what one gives, and end together."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.system.signals import SIGNALS
from tests.conftest import Dlrun, clean_environment, overlaid, setting, until
from tests.experiments.use import rows, table
from tests.harness import newest_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores"),
]
NAME = "imdb-dense"
(SMOKE,) = registry.experiment_entry(NAME).overlays("smoke")
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
DDP = setting("trainer.devices=2")
LIMIT = 60.0  # seconds in which all must have ended
SHARED = setting(
    "batch_size=50", "trainer.max_epochs=3", "data.sample_reviews=1000", "data.validation=100"
)
WORDS = [*overlaid(NAME, SMOKE), "--accelerator", "cpu", *SHARED]
LONG = [*overlaid(NAME, SMOKE), *setting("trainer.max_epochs=2000", "batch_size=20")]
LOST = "error: one of the 2 processes that train together "
OWNER, HELPER = 0, 1


COMMANDS = {
    "ddp": [sys.executable, "-m", "dlrun"],  # which starts the processes
    "torchrun": [TORCHRUN, "--standalone", "--nproc-per-node=2", "-m", "dlrun"],
}


class Started:
    """Two processes that train together, and their launcher; all in `folder`."""

    def __init__(self, folder: Path, how: str, *words: str) -> None:
        self.folder, self.how = folder, how
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "said").open("wb") as said:
            self.launcher = psutil.Popen(
                [*COMMANDS[how], *words, *(DDP if how == "ddp" else [])],
                stdout=said,
                stderr=said,
                cwd=folder,
                env=clean_environment() | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.known = [self.launcher]

    @property
    def said(self) -> str:
        """All that they have written so far."""
        return (self.folder / "said").read_text(errors="replace")

    def until(self, condition: Callable[[], object], seconds: float = 180) -> None:
        """Wait until something is so."""
        until(condition, seconds, lambda: self.said)

    def ranks(self) -> list[psutil.Process]:
        """The owner of the run and its helper, once both are there."""
        found: dict[str, psutil.Process] = {}

        def complete() -> bool:
            for child in self.launcher.children():
                with contextlib.suppress(psutil.Error):  # it is starting, or has ended
                    if "dlrun" in " ".join(child.cmdline()):
                        found[child.environ().get("RANK", "")] = child
            return found.keys() >= {"0", "1"}

        self.until(complete)
        self.known += found.values()
        return [found["0"], found["1"]]

    def train(self) -> list[psutil.Process]:
        """Wait for three epochs; return the owner of the run and its helper."""
        runs = self.folder / "runs" / NAME
        self.until(
            lambda: any(file.read_text().count("\n") > 3 for file in runs.glob("*Z-*/metrics.csv"))
        )
        return self.ranks()

    def end(self, limit: float = LIMIT) -> int:
        """Wait until all have ended, some seconds at most; the exit code of the launcher."""
        self.until(lambda: not any(map(_lives, self.known)), limit)
        return self.launcher.wait()

    def kill(self) -> None:
        """End what is left, whatever became of the test."""
        for process in self.known:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.launcher.wait()


def _lives(process: psutil.Process) -> bool:
    """Whether it runs; a process that has ended and that nobody waited for does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


Start = Callable[..., Started]


def numbers(folder: Path) -> list[list[float]]:
    """The metrics of the newest run below a folder, times aside."""
    run = newest_run(folder, NAME)
    return [[float(cell) for cell in row.split(",")[:-1]] for row in rows(run)]


def trained(folder: Path, how: str, *words: str) -> list[list[float]]:
    """What two processes end with; without words it is a whole run."""
    started = Started(folder, how, *(words or WORDS))
    assert started.end(limit=200) == 0, started.said
    return numbers(folder)


def test_two_processes_share_each_batch(tmp_path: Path, dlrun: Dlrun) -> None:
    """The same steps as one process takes, however the two are started."""
    dlrun(*WORDS, OMP_NUM_THREADS="1").is_told(0)
    two = trained(tmp_path / "ddp", "ddp")
    assert two == [pytest.approx(row, abs=2e-6) for row in numbers(tmp_path)]
    assert trained(tmp_path / "torchrun", "torchrun") == two
    run = Run.open("latest", tmp_path / "torchrun" / "runs")
    assert run.record.processes == 2
    assert run.results["batch_rows"] == 50 and run.results["batch_rows_each"] == 25


@pytest.mark.parametrize("validation", [1, 101])
def test_each_row_is_measured_once(tmp_path: Path, dlrun: Dlrun, validation: int) -> None:
    """Odd sizes, and fewer rows than processes: as one process measures the same network."""
    odd = setting("data.sample_reviews=501", f"data.validation={validation}", "batch_size=20")
    dlrun(*WORDS, *odd, *DDP, OMP_NUM_THREADS="1").is_told(0)
    run = Run.open("latest", tmp_path / "runs")
    predictions = table(run.folder, "predictions.csv")
    assert [int(row["row"]) for row in predictions] == list(range(501))
    right = sum(row["label"] == row["predicted"] for row in predictions)
    assert run.record.metrics["test_accuracy"] == pytest.approx(right / 501, abs=1e-6)
    again = run.test()  # by this process
    for column, values in (("label", again.true), ("predicted", again.predicted)):
        assert [again.names[one] for one in values] == [row[column] for row in predictions]
    kept = [float(row["probability"]) for row in predictions]
    assert again.probability.tolist() == pytest.approx(kept, abs=1e-6)
    accuracy = numbers(tmp_path)[-1][-1]
    assert accuracy * validation == pytest.approx(round(accuracy * validation), abs=1e-4)


def test_two_processes_stop_early_together_and_keep_the_same_epoch(tmp_path: Path) -> None:
    stopping = setting("early_stopping.monitor=valid_loss", "early_stopping.patience=2")
    words = [*WORDS, *stopping, *setting("trainer.max_epochs=40", "keep=best", "optimizer.lr=0.02")]
    started = Started(tmp_path, "ddp", *words)
    assert started.end(limit=200) == 0, started.said
    record = Run.open("latest", tmp_path / "runs").record
    losses = [row[3] for row in numbers(tmp_path)]
    assert record.stopped_epoch == len(losses) == losses.index(min(losses)) + 3 < 40
    assert record.weights_epoch == len(losses) - 2
    assert record.metrics["valid_loss"] == pytest.approx(min(losses), abs=1e-6)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `dlrun` in two processes; none is left at the end of the test."""
    all_started: list[Started] = []

    def begin(how: str, *words: str) -> Started:
        all_started.append(Started(tmp_path, how, *words, "--accelerator", "cpu"))
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


def goes_on(dlrun: Dlrun, run: Run, how: str) -> None:
    """The next epoch, in a new run, by two processes."""
    if how != "ddp":
        return
    before = rows(run.folder)
    epochs = len(before) + 1
    more = setting(f"trainer.max_epochs={epochs}", "trainer.devices=2")
    dlrun("resume", run.folder, *more, OMP_NUM_THREADS="1").is_told(0)
    again = Run.open(newest_run(run.folder.parents[2], NAME))
    assert again.state == "finished" and again.record.processes == 2
    assert again.record.continues == run.name and rows(run.folder) == before
    assert len(rows(again.folder)) == epochs and rows(again.folder)[:-1] == before


@pytest.mark.parametrize("who", [OWNER, HELPER], ids=["owner", "helper"])
@pytest.mark.parametrize("how", ["ddp", "torchrun"])
def test_one_is_killed(start: Start, dlrun: Dlrun, how: str, who: int) -> None:
    started = start(how, *LONG)
    started.train()[who].kill()
    assert started.end() == 1
    run, said = ended(started)
    torch_was_first = run.state == "interrupted"  # it saw the end before the owner did
    if torch_was_first:
        assert who == HELPER and said.startswith("error: terminated")
        assert "SIGKILL" in started.said
    elif how == "torchrun" and who == OWNER:  # torchrun ends the helper, and says why
        assert not said and "SIGKILL" in started.said
    else:
        assert said.count("\n") == 0 and said.startswith(LOST), started.said
        assert "`dlrun resume` continues" in started.said
    if torch_was_first:
        assert (run.record.steps or 0) >= 3
    elif who == HELPER:
        assert run.state == "failed" and (run.record.steps or 0) >= 3
        assert run.record.error == said.removeprefix("error: ")
    else:
        assert run.state == "killed"
    goes_on(dlrun, run, how)


@pytest.mark.parametrize(
    ("how", "number"),
    [("ddp", signal.SIGINT), ("ddp", signal.SIGHUP),
     ("torchrun", signal.SIGTERM)],
)  # fmt: skip
def test_a_signal_ends_all_in_order(
    start: Start, dlrun: Dlrun, how: str, number: signal.Signals
) -> None:
    """The signal goes to the launcher alone, whose processes have sessions of their own."""
    started = start(how, *LONG)
    started.train()
    started.launcher.send_signal(number)
    code = started.end()
    if how == "ddp":
        assert code == 128 + number
    run, said = ended(started)
    assert said == f"error: {SIGNALS[number].word}", started.said
    assert run.state == "interrupted" and (run.record.steps or 0) >= 3
    assert len(rows(run.folder)) == run.record.steps
    assert "continue with: dlrun resume" in started.said
    goes_on(dlrun, run, how)
