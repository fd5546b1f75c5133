"""The tests import this tree, and quick commands import nothing slow."""

from pathlib import Path

import pytest

import dlrun
from dlrun.experiments.registry import DECLARATIONS
from tests.conftest import ROOT, python, smoke

SLOW = "torch", "lightning", "sklearn", "pandas", "matplotlib"
LIBRARIES = "torch", "pydantic", "rich", "numpy", "typer"


def test_tests_import_the_source_of_their_own_tree() -> None:
    assert Path(dlrun.__file__).is_relative_to(ROOT / "src")


def imported(script: str, *arguments: str) -> tuple[int, set[str]]:
    """The exit code of a script, and the modules that it has imported."""
    at_exit = "import atexit, sys; atexit.register(lambda: print('', *sys.modules, sep='\\n'))\n"
    done = python(ROOT, "-c", at_exit + script, *arguments)
    return done.returncode, {*done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["imdb-dense", "--help"], 0),
        (["imdb-dense", "--set", "lr=1"], 2),
        (["config", "cifar100"], 0),
        (["script", "cifar100"], 0),
    ],
)
def test_quick_commands_import_nothing_slow(arguments: list[str], code: int) -> None:
    ended, modules = imported("from dlrun.__main__ import main\nmain()", *arguments)
    assert ended == code and "dlrun.cli" in modules
    assert not modules & {*SLOW}


def test_declarations_import_nothing_slow_and_the_help_imports_none() -> None:
    locations = DECLARATIONS.values()
    ended, modules = imported("\n".join(f"import {one.partition(':')[0]}" for one in locations))
    declaring = {location.partition(":")[0] for location in locations}
    assert ended == 0 and declaring <= modules
    assert not modules & {*SLOW}
    ended, modules = imported("from dlrun.__main__ import main\nmain()", "--help")
    assert ended == 0 and "dlrun.experiments.registry" in modules
    assert not modules & {*SLOW, "pydantic", *declaring}


RUN_AND_USE = """
import sys
from dlrun.cli.main import run_command_line
words, folders = sys.argv[1:], sys.argv[-2:]
run = run_command_line(words)
sys.exit(run or run_command_line(["predict", "latest", "--test", *folders]))
"""


@pytest.mark.parametrize("name", ["hitters-linear", "hitters-lasso", "imdb-lasso"])
def test_linear_models_import_no_torch(tmp_path: Path, name: str) -> None:
    """Tables are scaled by scikit-learn, which imports pandas."""
    ended, modules = imported(RUN_AND_USE, *smoke(name), "--runs-dir", str(tmp_path))
    assert ended == 0 and "matplotlib" in modules
    assert not modules & {"torch", "lightning"}
    assert name != "imdb-lasso" or not modules & {"sklearn", "pandas"}


def test_importing_dlrun_imports_no_library() -> None:
    ended, modules = imported("import dlrun")
    assert ended == 0 and "dlrun" in modules
    assert not modules & {*LIBRARIES}


def test_the_use_of_a_network_imports_nothing_that_only_its_training_needs() -> None:
    module = "dlrun.networks.tables"
    ended, modules = imported(f"import {module}; import dlrun.networks.reviews")
    assert ended == 0 and {module, "torch"} <= modules
    assert not modules & {"lightning", "torchmetrics", "matplotlib"}
