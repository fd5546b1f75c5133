"""The process of a command: signals as it starts and ends, its environment, its streams."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, Dlrun, clean_environment, completed, started
from tests.experiments.test_registry import WORKING, plugin, plugins
from tests.run_folder.making import a_run

__all__ = ["plugins"]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MODULE, FUNCTION = SCRIPTS["dlrun"].split(":")


@pytest.mark.parametrize(
    "program",
    [["-m", "dlrun"], ["-c", f"from {MODULE} import {FUNCTION}; {FUNCTION}()"]],
    ids=["module", "script"],
)
@pytest.mark.parametrize("loaded", ["dlrun.cli", "typing"])
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "error: interrupted"), (signal.SIGTERM, 143, "error: terminated")],
)
def test_a_signal_while_it_is_loaded_is_one_line(
    tmp_path: Path, program: list[str], loaded: str, number: int, code: int, told: str
) -> None:
    """From its first own import on."""
    json = told.split()[1] if loaded == "typing" else ""  # also with --json
    words = ["runs", "list", "--json"] if json else ["--help"]
    process = started(tmp_path, sys.executable, "-X", "importtime", *program, *words)
    assert process.stderr is not None
    while process.stderr.readline().split("|")[-1].strip() != loaded:
        assert process.poll() is None
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    said = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (code, [told])
    assert stdout == (json and f'{{"status": "interrupted", "error": "{json}", "hint": ""}}\n')


@pytest.mark.parametrize("program", [["dlrun"], [sys.executable, "-m", "dlrun"]])
@pytest.mark.parametrize(
    "words",
    [
        *(
            "--help",
            "runs list",
            "runs list --json",
            "runs show latest",
            "config nyse-rnn --schema",
        ),
        "hitters-dense --summary --quiet data.source=sample trainer.max_epochs=1",
    ],
)
def test_a_reader_that_has_ended_is_no_fault(
    tmp_path: Path, program: list[str], words: str
) -> None:
    a_run(tmp_path / "runs" / "imdb-dense" / "r")
    script = f"import sys; from {MODULE} import {FUNCTION}; sys.argv[0] = 'dlrun'; {FUNCTION}()"
    command = [sys.executable, "-c", script] if program == ["dlrun"] else program
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, *words.split()], cwd=tmp_path, env=clean_environment(), stdout=writing,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode in (0, 141), done.stderr) == (True, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in use cannot be removed")
@pytest.mark.parametrize("command", ["hitters-linear", "sweep hitters-linear --seeds 2"])
@pytest.mark.parametrize("runs_dir", ["runs", "$PWD/runs"])
def test_a_removed_working_folder_is_one_message(
    tmp_path: Path, command: str, runs_dir: str
) -> None:
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


def test_json_is_alone_on_stdout_whatever_else_is_printed(
    dlrun: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
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
