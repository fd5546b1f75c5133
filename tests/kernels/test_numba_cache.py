"""Machine code that numba keeps; if the cache is damaged, the code is compiled anew."""

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import pytest

from dlrun.kernels.numba_cache import jit, kernel

Function = Callable[[float, float], float]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which numba keeps code."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@jit
def half(a: float) -> float:
    return 0.5 * a


def weighted(a: float, b: float) -> float:
    return 3.0 * half(a) + 0.25 * b


def check(function: Function = weighted) -> None:
    """Use the function as a new process would."""
    assert kernel(function)(1.0, 2.0) == 2.0


def saved(cache: Path) -> dict[str, int]:
    """When each file was written."""
    return {file.name: file.stat().st_mtime_ns for file in cache.rglob("*.nb[ic]")}


def test_the_next_process_finds_the_code(cache: Path) -> None:
    check()
    before = saved(cache)
    check()
    assert len(before) == 2 and saved(cache) == before


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("harm", ["empty", "cut", "noise", "removed", "a folder"])
def test_a_damaged_file_is_compiled_anew(cache: Path, ending: str, harm: str) -> None:
    check()
    (file,) = cache.rglob(f"*.{ending}")
    content = file.read_bytes()
    match harm:
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "noise":
            file.write_bytes(bytes(index * 37 % 256 for index in range(len(content))))
        case "removed":
            file.unlink()
        case "a folder":
            file.unlink()
            file.mkdir()
    for _ in range(3):
        check()
    if harm != "a folder":
        before = saved(cache)
        check()
        assert len(before) == 2 and saved(cache) == before
    assert not list(cache.rglob("*.tmp.*"))


def test_threads_may_meet_a_damaged_file_together(cache: Path) -> None:
    check()
    for file in cache.rglob("*.nbi"):
        file.write_bytes(b"")
    function = kernel(weighted)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: function(1.0, 2.0), range(32))) == {2.0}


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond 100 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files there")
def test_a_full_disk_does_not_stop_a_run(cache: Path) -> None:
    with full_disk():
        check()
        check()
    assert not list(cache.rglob("*.tmp.*"))
    check()
    assert len(saved(cache)) == 2


def test_without_a_writable_folder_every_process_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    (tmp_path / "__pycache__").touch()
    module = tmp_path / "module.py"
    module.write_text("def weighted(a, b):\n    return 1.5 * a + 0.25 * b\n")
    names: dict[str, Any] = {"__name__": "module"}
    exec(compile(module.read_text(), str(module), "exec"), names)
    for _ in range(2):
        check(names["weighted"])
