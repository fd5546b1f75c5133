"""Signals, sent to a real process."""

import signal
import sys
import time

import pytest

from dlrun.errors import InterruptedByUser
from dlrun.system.signals import SIGNALS, StopRequest
from tests.conftest import ROOT, started

SCRIPT = """
import signal, sys, time
from dlrun.system import signals
from dlrun.errors import Stopped
if {ignored}:
    signal.signal({ignored}, signal.SIG_IGN)
stop = signals.StopRequest()
try:
    with {within}:
        print("ready", flush=True)
        {work}
except Stopped as stopped:
    sys.exit(stopped.exit_code)
"""
STEPS = "for _ in range(100): time.sleep(0.3); print('step', flush=True); stop.raise_if_received()"
LONG_STEP = "time.sleep(30)"
IN_STEPS = "stop.handle_signals(), stop.delay_first_signal(lambda: print('announced', flush=True))"


def run(
    work: str, *signals: signal.Signals, within: str = IN_STEPS, ignored: int = 0
) -> tuple[int, str, str, float]:
    """The process's exit code, what it said on stdout and stderr, and how long it went on."""
    script = SCRIPT.format(work=work, within=within, ignored=ignored)
    process = started(ROOT, sys.executable, "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    began = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    stdout, stderr = process.communicate(timeout=20)
    return process.returncode, stdout, stderr, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGUSR2, 140)],
)
def test_the_first_signal_lets_the_step_end(number: signal.Signals, code: int) -> None:
    # A hangup is told twice, by the shell and by the system, and is one.
    times = 2 if number in (signal.SIGHUP, signal.SIGUSR2) else 1
    returned, stdout, stderr, seconds = run(STEPS, *[number] * times)
    assert (returned, stderr) == (code, "")
    assert stdout.count("announced") == 1
    assert stdout.endswith("step\n")  # which was finished
    assert seconds < 10


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGHUP, signal.SIGTERM], 143)],
)
def test_the_second_signal_stops_at_once(signals: list[signal.Signals], code: int) -> None:
    returned, stdout, _, seconds = run(LONG_STEP, *signals)
    assert (returned, stdout) == (code, "announced\n") and seconds < 10


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_the_steps_a_signal_stops_at_once(number: signal.Signals) -> None:
    *ended, seconds = run(LONG_STEP, number, within="stop.handle_signals()")
    assert ended == [SIGNALS[number].exit_code, "", ""] and seconds < 10


def test_what_is_ignored_at_the_start_or_the_end_is_ignored() -> None:
    """As a hangup after `nohup`; what else takes the signals over changes nothing of it."""
    work = "stop.install_handlers(); time.sleep(1); print('went on')"
    *ended, _ = run(work, signal.SIGHUP, ignored=signal.SIGHUP)
    assert ended == [0, "went on\n", ""]
    work = "signals.ignore_signals_until_exit(); time.sleep(0.5); print('ended')"
    *ended, _ = run(work, signal.SIGINT, signal.SIGTERM)
    assert ended == [0, "ended\n", ""]


def test_signals_are_handled_in_the_block_alone_whatever_else_takes_them_over() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stop = StopRequest()
    with stop.handle_signals():
        with pytest.raises(InterruptedByUser):
            signal.raise_signal(signal.SIGINT)
        ours = signal.getsignal(signal.SIGTERM)
        assert ours not in before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Lightning does when it begins to train
        stop.install_handlers()
        assert signal.getsignal(signal.SIGTERM) == ours
        stop.ignore_signals()  # while the record is written
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_that_an_import_makes_of_a_signal_is_the_signal(number: signal.Signals) -> None:
    with pytest.raises(SIGNALS[number]), StopRequest().handle_signals():
        try:
            signal.raise_signal(number)
        except BaseException:
            raise RecursionError from None


def test_an_error_before_a_delayed_signal_is_raised_stays_the_error() -> None:
    stop = StopRequest()
    waits = stop.delay_first_signal(lambda: None)
    with pytest.raises(ValueError, match="mine"), stop.handle_signals(), waits:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")
