"""Signals, sent to a real process."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from dlrun.errors import Interrupted, Stopped, Terminated
from dlrun.system.signals import SIGNALS, StopRequest

SCRIPT = """
import signal, sys, time
from dlrun.system import signals
from dlrun.errors import Stopped
signals.GRACE_SECONDS = 0.5
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
STEPS = "for step in range(100): time.sleep(0.3); print('step', flush=True); stop.after_step()"
LONG_STEP = "time.sleep(30)"
IN_STEPS = "stop.listening(), stop.in_steps(lambda: print('announced', flush=True))"


def run(
    work: str, *signals: signal.Signals, within: str = IN_STEPS, ignored: int = 0
) -> tuple[int, str, str, float]:
    """The process's exit code, what it said on stdout and stderr, and how long it went on."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(work=work, within=within, ignored=ignored)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
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
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR2, 140)],
)
def test_first_signal_lets_the_step_end(number: signal.Signals, code: int) -> None:
    returned, stdout, stderr, seconds = run(STEPS, number)
    assert (returned, stderr) == (code, "")
    assert stdout.count("announced") == 1
    assert stdout.endswith("step\n")  # which was finished
    assert seconds < 2


def test_second_signal_stops_at_once() -> None:
    returned, stdout, _, seconds = run(LONG_STEP, signal.SIGINT, signal.SIGINT)
    assert (returned, stdout) == (130, "announced\n")
    assert seconds < 2


def test_a_hangup_that_two_tell_of_is_one() -> None:
    """The shell, and then the system: the step ends. Another signal after it stops at once."""
    returned, stdout, stderr, _ = run(STEPS, signal.SIGHUP, signal.SIGHUP)
    assert (returned, stderr) == (129, "")
    assert stdout.endswith("step\n") and stdout.count("announced") == 1
    returned, stdout, _, seconds = run(LONG_STEP, signal.SIGHUP, signal.SIGTERM)
    assert (returned, stdout) == (143, "announced\n") and seconds < 2


def test_what_is_ignored_at_the_start_is_ignored() -> None:
    """As a hangup after `nohup`; what else takes the signals over changes nothing of it."""
    work = "stop.take_over(); time.sleep(1); print('went on')"
    returned, stdout, stderr, _ = run(work, signal.SIGHUP, ignored=signal.SIGHUP)
    assert (returned, stdout, stderr) == (0, "went on\n", "")


def test_a_process_that_does_not_stop_is_ended() -> None:
    busy = "end = time.monotonic() + 20\n        while time.monotonic() < end: time.sleep(0.1)"
    returned, stdout, stderr, seconds = run(busy, signal.SIGTERM)
    assert (returned, stdout) == (143, "announced\n")
    assert "ended by force" in stderr
    assert seconds < 5


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_the_steps_a_signal_stops_at_once(number: signal.Signals) -> None:
    returned, stdout, stderr, seconds = run(LONG_STEP, number, within="stop.listening()")
    assert (returned, stdout, stderr) == (128 + number, "", "")
    assert seconds < 2


def test_the_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    threads = threading.active_count()
    stop = StopRequest()
    with stop.listening():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert threading.active_count() == threads


def test_what_takes_the_signals_over_meanwhile_is_overruled() -> None:
    stop = StopRequest()
    with stop.listening():
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Lightning does when it begins to train
        stop.take_over()
        assert signal.getsignal(signal.SIGTERM) == ours


def test_after_the_steps_a_signal_stops_at_once() -> None:
    stop = StopRequest()
    with stop.listening():
        with stop.in_steps(pytest.fail):
            stop.after_step()
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_in_another_thread_no_signal_is_touched() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[object] = []

    def work() -> None:
        stop = StopRequest()
        with stop.listening(), stop.in_steps(pytest.fail):
            stop.take_over()
            stop.after_step()
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


@pytest.mark.parametrize(
    ("number", "stopped"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated)]
)
def test_what_was_asked_for_is_raised_after_the_step(
    number: signal.Signals, stopped: type[Stopped]
) -> None:
    stop = StopRequest()
    said = threading.Event()
    with stop.listening(), stop.in_steps(said.set):
        stop.after_step()
        signal.raise_signal(number)
        assert stop.asked == number
        assert said.wait(10)
        with pytest.raises(stopped):
            stop.after_step()


def test_a_run_that_ends_is_not_interrupted_in_writing_its_record() -> None:
    stop = StopRequest()
    with stop.listening():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        stop.let_end()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
