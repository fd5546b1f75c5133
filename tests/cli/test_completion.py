"""What a shell offers, asked for by a real bash."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.run_folders import EXPERIMENT, a_whole_run
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
    a_whole_run(tmp_path / "runs" / EXPERIMENT / "20260101T000000Z-ab12")

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


NAMES = ["Z-\\$(touch PWNED)", "Z-$(touch${IFS}PWNED)", "Z-a\nb", "Z-\u202ea", "Z-`a`", "Z-a b"]
EVERY = ["latest", f"{EXPERIMENT}/latest", "ab12", "20260101T000000Z-ab12"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("resume _", EVERY),
        ("runs compare x _", EVERY),
        ("resume 2026", ["20260101T000000Z-ab12"]),
        ("runs list _", [EXPERIMENT]),
        ("runs list --runs-dir nowhere _", []),
        ("sweep --resume fi", ["first"]),
        (f"sweep {EXPERIMENT[:3]}", [EXPERIMENT]),
        ("script cif", ["cifar100"]),
        ("script text", []),  # of the user's own data
    ],
)
def test_what_is_offered(offered: Offered, tmp_path: Path, words: str, expected: list[str]) -> None:
    for name in ("first", "second"):
        (tmp_path / "runs" / "sweeps" / name).mkdir(parents=True)
        (tmp_path / "runs" / "sweeps" / name / "sweep.json").touch()
    assert offered(*(word.removeprefix("_") for word in words.split())) == expected


def test_a_name_that_a_shell_could_obey_is_not_offered(offered: Offered, tmp_path: Path) -> None:
    for name in (*NAMES, os.fsdecode(b"Z-\xff")):
        for run in (f"{EXPERIMENT}/20270101T000000{name}", f"{name}/20270101T000000Z-cd34"):
            folder = tmp_path / "runs" / run
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text("")
    assert offered("resume", "") == EVERY
    assert offered("runs", "list", "") == [EXPERIMENT]
