"""Signals, sent to a real process."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import ctypes, sys, time
from dlrun import stopping
from dlrun.errors import Terminated
stopping.GRACE_SECONDS = 0.5
stop = stopping.Stop()
try:
    with stop.listening(), stop.in_steps():
        print("ready", flush=True)
        {work}
except KeyboardInterrupt:
    sys.exit(130)
except Terminated:
    sys.exit(143)
"""
STEPS = "for step in range(100): time.sleep(0.05); print('step', flush=True); stop.after_step()"
LONG_STEP = "time.sleep(30)"


def run(work: str, *signals: signal.Signals) -> tuple[int, str, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(work=work)],
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
    _, stderr = process.communicate(timeout=20)
    return process.returncode, stderr, time.monotonic() - began


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_first_signal_lets_the_step_end(number: signal.Signals, code: int) -> None:
    returned, stderr, seconds = run(STEPS, number)
    assert (returned, stderr) == (code, "")
    assert seconds < 2


def test_second_signal_stops_at_once() -> None:
    returned, _, seconds = run(LONG_STEP, signal.SIGINT, signal.SIGINT)
    assert returned == 130
    assert seconds < 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_process_that_hangs_is_ended(number: signal.Signals, code: int) -> None:
    hung = "ctypes.CDLL(None).pause(); ctypes.CDLL(None).sleep(30)"
    returned, stderr, seconds = run(hung, number)
    assert returned == code
    assert "ended by force" in stderr
    assert seconds < 5
