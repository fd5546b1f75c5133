"""The process of a command: signals as it starts and ends, its environment, its streams."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, Dlrun, clean_environment, completed, setting, smoke, started
from tests.experiments.test_registry import WORKING, plugin, plugins
from tests.run_folder.making import a_run

__all__ = ["plugins"]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
SLOW = pytest.mark.slow
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


REPLACED = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException as error:
    raise RuntimeError('in an import') from error
"""


@pytest.mark.parametrize("when", ["loaded", "run"])
def test_what_an_import_makes_of_it_is_told_as_what_it_is(
    dlrun: Dlrun, plugins: tuple[Path, Mapping[str, str]], tmp_path: Path, when: str
) -> None:
    """As Python 3.11 makes a RuntimeError of all that is raised while a class is made."""
    folder, env = plugins
    last = "        report ="
    in_run = WORKING.replace(last, textwrap.indent(REPLACED, " " * 8) + last)
    plugin(folder, "stopped", code=REPLACED + WORKING if when == "loaded" else in_run)
    done = dlrun("stopped", **env)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith("error: interrupted\n") and "RuntimeError" not in done.stderr
    for record in (tmp_path / "runs").rglob("results.json"):
        assert json.loads(record.read_text())["status"] == "interrupted"


# After a command was stopped, a second Ctrl-C comes before the n-th line of its ending.
AGAIN = """
import os, signal, sys
import dlrun.cli.main, dlrun.runs.checks
from dlrun.__main__ import main

def stopped(*arguments, **options):
    sys.settrace(trace)
    frame = sys._getframe()
    while frame := frame.f_back:
        frame.f_trace = trace
    signal.raise_signal(signal.SIGINT)

def trace(frame, event, argument):
    global left
    if not frame.f_code.co_filename.endswith(("__main__.py", "cli/main.py")):
        return None
    if event == "line":
        left -= 1
        if left == 0:
            os.write(2, b"came, ")
            signal.raise_signal(signal.SIGINT)
    return trace

sys.argv = ["dlrun", "config", "imdb-dense"]
dlrun.runs.checks.load_experiment_config = stopped
line, said = 0, "came, "
while "came, " in said:
    line = left = line + 1
    if os.fork() == 0:
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        main()
    code = os.waitstatus_to_exitcode(os.wait()[1])
    said = open("said").read()
    print(code, *{*said.replace("came, ", "").splitlines()}, flush=True)
"""


def test_a_second_ctrl_c_anywhere_in_the_ending_is_no_fault(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AGAIN]
    said = subprocess.check_output(command, text=True, cwd=tmp_path, env=clean_environment())
    ended = said.splitlines()
    assert len(ended) > 20 and {*ended} == {"130 error: interrupted"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
@pytest.mark.parametrize("megabytes", [300, 900])
def test_short_memory_is_one_message(tmp_path: Path, megabytes: int) -> None:
    limited = ["sh", "-c", f'ulimit -v {megabytes * 1000}; exec "$@"', "sh"]
    command = [sys.executable, "-m", "dlrun", *smoke("imdb-dense")]
    completed(tmp_path, *limited, *command, timeout=60).is_told(1, " memory")


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


@pytest.mark.parametrize(
    "command", ["hitters-linear", pytest.param("sweep hitters-linear --seeds 1", marks=SLOW)]
)
def test_matplotlibs_settings_and_cache_folder_are_no_matter_of_a_run(
    dlrun: Dlrun, tmp_path: Path, command: str
) -> None:
    """Neither a backend that it does not know nor a home without room for its cache."""
    (tmp_path / "file").write_text("")
    words = [*command.split(), "--quiet", *setting("data.source=sample")]
    with tempfile.TemporaryDirectory() as short:  # for a socket's path
        env = {"MPLBACKEND": "none", "HOME": str(tmp_path / "file"), "TMPDIR": short}
        done = dlrun(*words, **env).is_told(0)
    assert done.stderr == ""
