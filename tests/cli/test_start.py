"""Ctrl-C before a command has begun, and as it ends."""

import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, Dlrun, clean_environment
from tests.experiments.test_registry import WORKING, plugin, plugins

__all__ = ["plugins"]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MODULE, FUNCTION = SCRIPTS["dlrun"].split(":")


@pytest.mark.parametrize(
    "program",
    [["-m", "dlrun"], ["-c", f"from {MODULE} import {FUNCTION}; {FUNCTION}()"]],
    ids=["module", "script"],
)
@pytest.mark.parametrize("loaded", ["dlrun.cli", "typing", "unicodedata"])
def test_ctrl_c_while_it_is_loaded_is_one_line(program: list[str], loaded: str) -> None:
    """From its first own import on."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *program, "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stderr is not None
    while process.stderr.readline().split("|")[-1].strip() != loaded:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    said = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, stdout, said) == (130, "", ["error: interrupted"])


def test_what_an_import_makes_of_it_is_told_as_what_it_is(
    dlrun: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    """As Python 3.11 makes a RuntimeError of all that is raised while a class is made."""
    folder, env = plugins
    interrupted = (
        "import signal\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except BaseException as error:\n"
        "    raise RuntimeError('in an import') from error\n"
    )
    plugin(folder, "stopped", code=interrupted + WORKING)
    done = dlrun("stopped", **env)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


STOPPED = WORKING.replace(
    "        context.folder.write_text",
    "        import __main__, signal\n"
    "        __main__.begin()\n"
    "        signal.raise_signal(signal.SIGINT)\n"
    "        context.folder.write_text",
)
# After the run was stopped, a second Ctrl-C comes before the n-th line of `cli/main.py`.
AGAIN = """
import os, signal, sys
import dlrun.cli.main, dlrun.runs.start
from dlrun.__main__ import main

ENDING = os.path.join("dlrun", "cli", "main.py")
sys.argv = ["dlrun", "stopped", "--quiet"]

def begin():
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith(ENDING):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.mkdir("came")
                signal.raise_signal(signal.SIGINT)
        return trace
    frame = sys._getframe()
    while frame := frame.f_back:
        if frame.f_code.co_filename.endswith(ENDING):
            frame.f_trace = trace
    sys.settrace(trace)

line, came = 0, True
while came:
    line += 1
    process = os.fork()
    if process == 0:
        os.dup2(os.open(f"said-{line}", os.O_WRONLY | os.O_CREAT), 2)
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if came := os.path.isdir("came"):
        os.rmdir("came")
    print(code)
"""


def test_a_second_ctrl_c_anywhere_in_the_ending_is_no_fault(
    tmp_path: Path, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    plugin(folder, "stopped", code=STOPPED)
    done = subprocess.run(
        [sys.executable, "-c", AGAIN],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=clean_environment() | env,
    )  # fmt: skip
    codes = done.stdout.split()
    assert len(codes) > 20
    assert set(codes) == {"130"}
    for said in tmp_path.glob("said-*"):
        lines = said.read_text().splitlines()
        assert set(lines) == {"error: interrupted"}, lines
