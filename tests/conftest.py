"""Fixtures: the real command line as a subprocess, the real data where they are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "configs" / "smoke"

Dlrun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dlrun(tmp_path: Path) -> Dlrun:
    """Run `dlrun ...` in an empty folder; returns its exit code, stdout and stderr."""

    def run(
        *arguments: object, timeout: float = 200, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dlrun", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            check=False,
            env=clean_environment() | env,
        )

    return run


def clean_environment() -> dict[str, str]:
    """The environment without the settings that would change what dlrun does or prints."""
    names = ("DLRUN_DATA_DIR", "DLRUN_RUNS_DIR", "DLRUN_OFFLINE", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return environment | {"COLUMNS": "100"}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real reviews and photographs; skips, or fails where they must be there."""
    folder = os.environ.get("DLRUN_TEST_DATA")
    if folder and (Path(folder) / "aclImdb_v1.tar.gz").is_file():
        return Path(folder).resolve()
    message = "no real data: set DLRUN_TEST_DATA to the folder with aclImdb_v1.tar.gz, book_images/"
    if os.environ.get("DLRUN_REQUIRE_DATA"):
        pytest.fail(message)
    pytest.skip(message)
