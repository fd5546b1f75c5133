"""Ctrl-C before a command has begun."""

import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, Dlrun, clean_environment
from tests.declaration.test_registry import WORKING, plugin, plugins

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
