"""Large packages are named as they are loaded: at once, once, and only where they really are."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import clean_environment, smoke


def said(*code: str) -> list[str]:
    lines = (
        "from dlrun.runs.import_notices import announce_imports",
        "from dlrun.system.console import Screen",
        *code,
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_what_is_loaded_is_said_once_and_its_loader_is_left_as_it_was() -> None:
    code = (
        "import sys",
        "with announce_imports(Screen()):",
        "    import numpy, lightning, torch, torch.nn",
        "assert not [one for one in sys.meta_path if 'dlrun' in type(one).__module__]",
    )
    assert said(*code) == ["loading torch and lightning"]
    code = (
        "with announce_imports(Screen()):",
        "    import torch",
        "    import lightning",
        "with announce_imports(Screen()):",
        "    import torch, lightning",
    )
    assert said(*code) == ["loading torch", "loading lightning"]


def test_nothing_is_said_of_what_is_there_or_to_whom_it_is_quiet() -> None:
    assert said("import torch", "with announce_imports(Screen()): import torch") == []
    assert said("with announce_imports(Screen(quiet=True)): import torch") == []


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("imdb-dense", ["torch", "lightning"]),
        ("imdb-lasso", []),
        ("classify-images", ["torch"]),
    ],
)
def test_a_command_says_at_once_what_it_does(tmp_path: Path, name: str, loaded: list[str]) -> None:
    command = [sys.executable, "-m", "dlrun", *smoke(name), "--runs-dir", str(tmp_path)]
    environment = clean_environment()
    started = time.perf_counter()
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        waited = time.perf_counter() - started
        lines = [first, *process.stderr.readlines()]
    seconds = time.perf_counter() - started
    assert process.returncode == 0
    assert lines[0].startswith(("run folder: ", "loading "))
    assert [line.split()[1:] for line in lines if line.startswith("loading ")] == [
        [package] for package in loaded
    ]
    assert waited < seconds / 2  # 0.2-0.3 s of 1.6 to 3.1 s
