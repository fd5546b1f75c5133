"""Imports go one way, and quick commands import nothing slow."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_imports_go_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "2 kept, 0 broken" in done.stdout, done.stdout


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
        "from dlrun.__main__ import main\n"
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


def test_importing_dlrun_imports_no_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import dlrun, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "pydantic", "rich", "numpy", "typer"} & {*done.stdout.split()}
