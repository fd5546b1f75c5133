"""Arrows point one way, names stand in one place, slow imports stay out of the quick commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlrun.experiments import registry
from tests.conftest import ROOT

SOURCE = ROOT / "src" / "dlrun"


def test_imports_point_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "2 kept, 0 broken" in done.stdout, done.stdout


@pytest.mark.parametrize("name", registry.names())
def test_an_experiments_name_stands_in_its_own_file_only(name: str) -> None:
    """Help texts may name one as their example; the data set of that name is no experiment."""
    own = {*SOURCE.joinpath("experiments", name.replace("-", "_")).iterdir()}
    own.add(SOURCE / "data" / f"{name}.py")
    tests = ["conftest.py", "harness.py", "child.py", "experiments/test_smoke.py"]
    shared = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "tests" / name for name in tests)]
    files = [file for file in SOURCE.rglob("*.py") if file not in own]
    assert len(files) > 50
    word = re.compile(rf"\b({name}|{name.replace('-', '_')})\b")
    for file in [*files, *shared]:
        lines = file.read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if word.search(line) and not is_example(line)]
        assert not found, f"{file}: {found}"


def is_example(line: str) -> bool:
    """A docstring's line that shows a command or a call."""
    commands = r"Example: dlrun |[`\"]dlrun |: make |dlrun\.run\(|such as \""
    return bool(re.search(rf"{commands}|data\.cifar100|data import", line))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["imdb-dense", "--help"], 0),
        (["imdb-dense", "--set", "lr=1"], 2),
        (["imdb-dense", "--lr", "1"], 2),
        (["config", "cifar100"], 0),
    ],
)
def test_quick_commands_import_nothing_slow(arguments: list[str], code: int) -> None:
    script = (
        "import sys; sys.argv = ['dlrun', *sys.argv[1:]]\n"
        "from dlrun.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "slow = {'torch', 'lightning', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr


def test_importing_dlrun_is_quick() -> None:
    script = (
        "import sys, time; start = time.perf_counter(); import dlrun\n"
        "assert time.perf_counter() - start < 0.1\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"torch", "pydantic", "rich", "numpy", "typer"} & set(done.stdout.split())


def test_files_read_at_one_sitting() -> None:
    for file in SOURCE.rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 350, file
