import json
import os
from pathlib import Path

import pytest

from dlrun.system.resources import resolve_threads, usable_cores
from tests.conftest import Dlrun, setting, smoke


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux can take cores away")
def test_cores_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_auto_takes_what_helps_and_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert resolve_threads("auto", None, 1) == cores
    assert resolve_threads("auto", 1, 1) == 1
    assert resolve_threads("auto", None, 2 * cores) == 1
    assert resolve_threads(7, 1, 2) == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert resolve_threads("auto", None, 1) == 1


def test_a_resumed_run_keeps_its_threads(forked: Dlrun, tmp_path: Path) -> None:
    """Of a convolution they change the bits."""
    done = forked(*smoke("cifar100"), *setting("threads=3"))
    assert done.returncode == 0 and "on cpu, 3 threads" in done.stdout
    (run,) = (tmp_path / "runs" / "cifar100").glob("*Z-*")
    assert json.loads((run / "results.json").read_text())["threads"] == 3
    more = setting("trainer.max_epochs=3")
    refused = forked("resume", "latest", *more, *setting("threads=1"))
    assert refused.returncode == 2 and "threads: changed since the run began" in refused.stderr
    assert "3 threads" in forked("resume", "latest", *more).stdout


def test_a_number_of_threads_for_auto_is_kept_too(forked: Dlrun, tmp_path: Path) -> None:
    assert "1 thread\n" in forked(*smoke("cifar100"), OMP_NUM_THREADS="1").stdout
    more = setting("trainer.max_epochs=3")
    assert "1 thread\n" in forked("resume", "latest", *more, OMP_NUM_THREADS="2").stdout
