"""The process of a command: signals as it starts and ends, its environment, its streams."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, Dlrun, clean_environment, completed, smoke, started
from tests.experiments.plugins import WORKING, Plugins, plugin
from tests.experiments.use import latest, results
from tests.runs.making import a_run

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MODULE, FUNCTION = SCRIPTS["dlrun"].split(":")
AS_MODULE, AS_SCRIPT = ["-m", "dlrun"], ["-c", f"from {MODULE} import {FUNCTION}; {FUNCTION}()"]


@pytest.mark.parametrize(
    ("program", "loaded", "words"),
    [(AS_MODULE, "dlrun.cli", "--help"), (AS_SCRIPT, "typing", "runs list --json")],
)
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_while_it_is_loaded_is_one_line(
    tmp_path: Path, program: list[str], loaded: str, words: str, number: int, code: int, word: str
) -> None:
    """From its first own import on."""
    process = started(tmp_path, sys.executable, "-X", "importtime", *program, *words.split())
    assert process.stderr is not None
    while process.stderr.readline().split("|")[-1].strip() != loaded:
        assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    said = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (code, [f"error: {word}"])
    told = f'{{"status": "interrupted", "error": "{word}", "hint": ""}}\n'
    assert stdout == (told if "--json" in words else "")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (AS_SCRIPT, "--help"),
        (AS_MODULE, "runs list"),
        (AS_SCRIPT, "runs list --json"),
        (AS_MODULE, "config nyse-rnn"),
        (AS_SCRIPT, "hitters-linear --summary --quiet data.source=sample"),
    ],
)
def test_an_ended_reader_is_no_fault(tmp_path: Path, program: list[str], words: str) -> None:
    a_run(tmp_path / "runs" / "imdb-dense" / "r")
    reading, writing = os.pipe()
    os.close(reading)
    command, env = [sys.executable, *program, *words.split()], clean_environment()
    done = subprocess.run(
        command, cwd=tmp_path, env=env, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode in (0, 141), done.stderr) == (True, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in use cannot be removed")
@pytest.mark.parametrize(
    ("command", "runs_dir"),
    [("hitters-linear", "runs"), ("sweep hitters-linear --seeds 2", "$PWD/runs")],
)
def test_a_removed_working_folder_is_told(tmp_path: Path, command: str, runs_dir: str) -> None:
    (tmp_path / "gone").mkdir()
    options = f'--set data.source=sample --runs-dir "{runs_dir}"'
    script = f'set -- {options}; cd gone; rmdir ../gone; exec "$0" -m dlrun {command} "$@"'
    completed(tmp_path, "sh", "-c", script, sys.executable).is_told(
        1, "error: the working folder: it was removed"
    )
    assert not [*tmp_path.iterdir()]


LOUD = """
import atexit, os, subprocess, sys
print("printed as it is loaded")
atexit.register(lambda: print("printed at the end"))
subprocess.run([sys.executable, "-c", "print('a child process')"], check=True)
os.write(1, b"descriptor 1")
""" + WORKING.replace("        report =", "        print('printed as it runs')\n        report =")


def test_json_is_alone_on_stdout(dlrun: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    plugin(folder, "loud", code=LOUD)
    done = dlrun("loud", "--json", **env)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "finished")
    for said in ("as it is loaded", "as it runs", "at the end", "a child process", "descriptor 1"):
        assert said in done.stderr
    failed = dlrun("loud", "--json", "--set", "words=x", **env)
    assert (failed.returncode, json.loads(failed.stdout)["status"]) == (2, "failed")
    point = json.loads(dlrun("sweep", "loud", "--seeds", "1", "--json", **env).stdout)
    assert point["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ['"$@" >&-', 'PYTHONIOENCODING=ascii "$@"'])
def test_a_run_whose_output_cannot_be_written_is_finished(tmp_path: Path, shell: str) -> None:
    command = [sys.executable, "-m", "dlrun", *smoke("imdb-dense"), "-q", "--name", "ünï"]
    completed(tmp_path, "sh", "-c", shell, "sh", *command).is_told(0)
    assert results(latest(tmp_path, "imdb-dense"))["status"] == "finished"
