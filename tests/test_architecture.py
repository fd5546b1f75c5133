"""Arrows between the packages point one way, and slow imports stay out of the quick commands."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "dlrun"
ALLOWED = {  # what the files of a folder may import of dlrun
    "models": {"models"},
    "data": {"data", "errors", "screen"},
    "training": {
        "training", "accelerator", "checkpoint_file", "errors", "fingerprint", "run_folder",
        "screen", "session",
    },
    "experiments": {
        "experiments", "training", "data", "models", "accelerator", "checkpoint_file", "config",
        "config_files", "errors", "fingerprint", "plots", "run_folder", "screen",
        "session", "yaml_source",
    },
    "cli": {"cli", "experiments", "config", "config_files", "errors", "screen"},
}  # fmt: skip


def imports(file: Path) -> set[str]:
    """The parts of dlrun that a file imports at run time (not only for types)."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            module = node.module or ""
            if module == "dlrun":
                found |= {alias.name for alias in node.names}
            elif module.startswith("dlrun."):
                found.add(module.split(".")[1])
    return found - {"__version__"}


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder: str) -> None:
    files = list((SOURCE / folder).glob("*.py"))
    assert files
    for file in files:
        assert imports(file) <= ALLOWED[folder], file


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["imdb-dense", "--set", "lr=1"], 2), (["config", "cifar100"], 0)],
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
