"""Nothing of the working folder is read but what a command line names, by no library either.

Python tells of each file before it opens it, in each process that dlrun starts.
"""

import json
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from dlrun.cli.command_list import COMMANDS
from tests.conftest import Done, python, setting, smoke
from tests.experiments.plugins import Plugins, plugin
from tests.training.test_user_module import CONFIG, EXPERIMENT, MODEL, YAML

# Python imports it as it starts: https://docs.python.org/3/library/audit_events.html
WATCH = """
import os, sys
folder, seen = os.environ["WATCHED"], os.environ["SEEN"]
def note(event, arguments):
    if event not in ("open", "os.listdir", "os.scandir"):
        return
    if not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))
    if path.startswith(folder + os.sep) or (path == folder and event != "open"):  # for fsync
        descriptor = os.open(seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (os.path.relpath(path, folder) + "\\n").encode())
        os.close(descriptor)
sys.addaudithook(note)
"""
EACH = """
import json, sys
from dlrun.cli.main import prepare_process, run_command_line
for words in json.loads(sys.argv[1]):
    prepare_process(words)
    assert run_command_line(words) == 0, words
"""
OWN = {"data", "runs"}  # the folders that dlrun reads and writes
CODE = b"raise SystemExit('imported from the working folder')\n"
PLANTED = {
    # numba, matplotlib, fontconfig, joblib, dask, W&B, Streamlit, TensorBoard, torch
    ".numba_config.yaml": b"cache_dir: c\n",
    "matplotlibrc": b"\xff",
    **dict.fromkeys(
        ["fonts.conf", ".fonts.conf", "joblibrc", "dask.yaml", "wandb/settings"], b"\xff"
    ),
    **dict.fromkeys([".streamlit/config.toml", ".tensorboard", ".torchrc", "mlflow.db"], b"\xff"),
    # Python, pip, git, and what starts processes
    **dict.fromkeys(
        [".env", ".netrc", ".pdbrc", "pip.conf", "pyvenv.cfg", "python311.zip"], b"\xff"
    ),
    **dict.fromkeys(["pyproject.toml", "setup.cfg", "tox.ini", ".gitconfig", ".git/HEAD"], b"\xff"),
    ".git/config": b"[core]\n\tfsmonitor = touch fsmonitor-ran\n",
    "locale/en/LC_MESSAGES/messages.mo": b"\xff",
    # modules: of Python, of libraries, and by which torch calls some that are in no file
    **dict.fromkeys(["sitecustomize.py", "usercustomize.py", "random.py", "signal.py"], CODE),
    **dict.fromkeys(["numpy.py", "yaml.py", "torch.py", "matplotlib.py", "cuda.py"], CODE),
    **dict.fromkeys(["dlrun.py", "conftest.py", "_ops.py", "_classes.py"], CODE),
}


def plant(folder: Path) -> None:
    """Put files of PLANTED in a folder."""
    for name, content in PLANTED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "data").mkdir()


class Watched:
    """A working folder with the files of PLANTED, in which commands are watched."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, base / "working"
        (base / "watch").mkdir()
        (base / "watch" / "sitecustomize.py").write_text(WATCH)
        self.folder.mkdir()
        plant(self.folder)

    def opened(self, *arguments: object, **env: str) -> set[str]:
        """Run Python with arguments; return what was opened in the folder, by its first name."""
        seen = self.base / "seen"
        seen.write_text("")
        watch = os.pathsep.join(filter(None, [str(self.base / "watch"), env.pop("PYTHONPATH", "")]))
        env |= {"PYTHONPATH": watch, "WATCHED": str(self.folder), "SEEN": str(seen)}
        python(self.folder, "-P", *arguments, **env).is_told(0)
        return {line.partition(os.sep)[0] for line in seen.read_text().splitlines()}


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path.resolve())


QUICK = [
    smoke("table-linear"),
    ["--version"],
    ["runs", "list"],
    ["runs", "show", "latest"],
    ["runs", "note", "latest", "a note"],
    ["runs", "tag", "latest", "+tried"],
    ["runs", "compare", "latest", "text-lasso/latest"],
    ["runs", "check"],
    ["report", "--out", "runs/page.html"],
    ["predict", "text-lasso/latest", "a film"],
    ["resume", "text-lasso/latest"],
    ["verify", "table-linear/latest"],
    ["config", "imdb-dense"],
    ["script", "hitters-linear"],
    ["data", "fetch", "text-dense", *smoke("text-dense")[-2:]],
    ["data", "show", "text-dense", "0", *smoke("text-dense")[-2:]],
    ["accelerators"],
    ["new", "mine"],
    ["runs", "rm", "table-linear/latest", "--yes"],
]
SLOW = {
    "demo": ["demo", "hitters-linear", "hitters-dense"],
    "reproduce": ["reproduce", "hitters-linear", "--seeds", "2", "--out", "data/page.html"],
    "sweep": ["sweep", *smoke("table-linear"), "--folds", "2"],
}


def test_each_command_is_watched() -> None:
    lines = [*QUICK, *SLOW.values()]
    for group, commands in COMMANDS.items():
        called = {line[1] if line[0] == group else line[0] for line in lines}
        assert not commands.keys() - called


def test_quick_commands_and_a_lasso_open_nothing_there(watched: Watched) -> None:
    """numba compiles the lasso, without its settings file."""
    cache = watched.base / "cache"
    commands = json.dumps([smoke("text-lasso"), *QUICK])
    opened = watched.opened("-c", EACH, commands, NUMBA_CACHE_DIR=str(cache))
    assert list(cache.rglob("*.nbc")), "numba has compiled"
    # `runs rm` names each file from the folder that contains it.
    of_removed_run = {name for name in opened if re.match(r"table-linear|\d{8}T", name)}
    assert opened - of_removed_run <= {*OWN, "mine"}


def test_a_network_opens_nothing_there(watched: Watched) -> None:
    """Lightning imports torchmetrics, which imports matplotlib."""
    assert watched.opened("-m", "dlrun", *smoke("hitters-dense")) <= OWN


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    ["text-lstm", "image-cnn", "classify-images", "table-boosting", "hitters-lasso", "nyse-rnn"],
)
def test_no_kind_of_run_opens_anything_there(watched: Watched, experiment: str) -> None:
    assert watched.opened("-m", "dlrun", *smoke(experiment)) <= OWN


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_no_child_process_opens_anything_there(watched: Watched, command: str) -> None:
    assert watched.opened("-m", "dlrun", *SLOW[command]) <= OWN


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"])
@pytest.mark.parametrize("experiment", ["text-lasso", "hitters-dense"])
def test_no_tracker_opens_anything_there(watched: Watched, experiment: str, tracker: str) -> None:
    if find_spec(tracker) is None:
        pytest.skip(f"no {tracker}")
    words = [*smoke(experiment), *setting(f"logger=[{tracker}]")]
    assert watched.opened("-m", "dlrun", *words, WANDB_MODE="offline") <= OWN
    assert not (watched.folder / "fsmonitor-ran").exists()  # as git does for W&B
    (run,) = (watched.folder / "runs" / experiment).glob("2*")
    assert "logger" not in (run / "log.txt").read_text(), "it works"


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["text-lasso", "hitters-dense"])
def test_verify_opens_only_the_files_of_a_run_that_was_handed_in(
    watched: Watched, done: Done, experiment: str
) -> None:
    """It is started in the folder of the run."""
    shutil.copytree(done(experiment), watched.folder, dirs_exist_ok=True)
    opened = watched.opened("-m", "dlrun", "verify", ".")
    assert "results.json" in opened
    assert not opened & {name.partition("/")[0] for name in PLANTED}


SCRIPT = """
import dlrun
run = dlrun.run("hitters-dense", data={"source": "sample"}, trainer={"max_epochs": 1})
run.draw()
run.metrics
"""


@pytest.mark.slow
def test_the_python_api_opens_nothing_there(watched: Watched) -> None:
    script = watched.base / "script.py"
    script.write_text(SCRIPT)
    assert watched.opened(script) <= OWN


@pytest.mark.slow
def test_a_module_of_another_package_opens_nothing_there(
    watched: Watched, plugins: Plugins
) -> None:
    """It imports Lightning itself."""
    folder, env = plugins
    plugin(folder, "own-module", code=EXPERIMENT, config=CONFIG, values=YAML)
    (folder / "own_module" / "model.py").write_text(MODEL)
    words = ["own-module", *setting("accelerator=cpu")]
    for command in (words, ["runs", "show", "latest"]):
        assert watched.opened("-m", "dlrun", *command, **env) <= OWN
