"""What a shell offers, asked for by a real bash."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.run_folders import EXPERIMENT
from tests.conftest import completed

SLOW = "{'torch', 'lightning', 'sklearn', 'pandas', 'matplotlib'}"
DLRUN = f"""#!{sys.executable}
import atexit, sys
atexit.register(lambda: print(*{SLOW} & set(sys.modules)) if {SLOW} & set(sys.modules) else None)
sys.argv[0] = "dlrun"
from dlrun.__main__ import main
main()
"""
Offered = Callable[..., list[str]]


@pytest.fixture
def offered(tmp_path: Path) -> Offered:
    """The completions of the last of some words."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    command = tmp_path / "bin" / "dlrun"
    command.parent.mkdir()
    command.write_text(DLRUN)
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"

    def ask(*words: str) -> list[str]:
        quoted = " ".join(f'"{word}"' for word in ("dlrun", *words))
        shown = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 dlrun --show-completion bash"
        script = (
            f'eval "$({shown})"\n'
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}\n"
            '_dlrun_completion dlrun; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = completed(tmp_path, bash, "-c", script, PATH=path).is_told(0)
        assert done.stderr == ""
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("runs co", ["compare"]),
        (f"runs list {EXPERIMENT[:3]}", [EXPERIMENT]),
        (f"sweep {EXPERIMENT[:3]}", [EXPERIMENT]),
        ("sweep imdb-dense,cif", ["imdb-dense,cifar100"]),
        ("script cif", ["cifar100"]),
        ("script text-d", ["text-dense"]),  # of the user's own data
    ],
)
def test_what_is_offered(offered: Offered, words: str, expected: list[str]) -> None:
    assert offered(*words.split()) == expected
