"""What the shell sets around dlrun: limits of memory, Python's warnings."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Dlrun, smoke


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
@pytest.mark.parametrize("megabytes", [300, 600, 900])
def test_short_memory_is_one_message(tmp_path: Path, megabytes: int) -> None:
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "dlrun", *smoke("imdb-dense")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10**6,) * 2),
    )
    assert done.returncode == 1 and "memory is short" in done.stderr
    assert "Traceback" not in done.stderr and "fault of dlrun" not in done.stderr


def test_warnings_as_errors_end_no_run(dlrun: Dlrun) -> None:
    done = dlrun(*smoke("imdb-dense"), PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
