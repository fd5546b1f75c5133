"""Machine code that is kept: damaged in every way, it is compiled anew."""

import random
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import pytest

from dlrun.kernels.jit_callbacks import on_compile
from dlrun.kernels.numba_cache import jit
from tests.conftest import Tally


def weighted(a: float, b: float) -> float:
    return 3.0 * a + 0.25 * b


def others(a: float, b: float) -> float:
    return 4.0 * a + 0.25 * b


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which numba keeps code."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def compiled_anew(function: Callable[..., Any] = weighted) -> bool:
    """Use the function as a new process would; whether its code had to be compiled."""
    dispatcher: Any = jit(function)
    assert dispatcher(1.0, 2.0) == function(1.0, 2.0)
    assert sum(dispatcher.stats.cache_hits.values()) in (0, 1)
    return not dispatcher.stats.cache_hits


def the(cache: Path, ending: str) -> Path:
    (found,) = cache.glob(f"*/*weighted*.{ending}")
    return found


def test_the_next_process_finds_the_code(cache: Path) -> None:
    assert compiled_anew()
    assert not compiled_anew()


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("harm", ["empty", "cut", "noise", "removed", "a folder"])
def test_a_damaged_file_is_compiled_anew(cache: Path, ending: str, harm: str) -> None:
    compiled_anew()
    file = the(cache, ending)
    content = file.read_bytes()
    match harm:
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "noise":
            file.write_bytes(random.Random(0).randbytes(len(content)))
        case "removed":
            file.unlink()
        case "a folder":
            file.unlink()
            file.mkdir()
    assert compiled_anew()
    assert compiled_anew() == (harm == "a folder")  # nothing else stands in the way for good
    assert not list(cache.rglob("*.tmp.*"))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_flipped_bits_run_no_other_code(
    cache: Path, ending: str, torture: bool, tally: Tally
) -> None:
    flips = 1000 if torture else 60
    compiled_anew()
    content = the(cache, ending).read_bytes()
    places = random.Random(ending)
    believed = 0
    for _ in range(flips):
        changed = bytearray(content)
        changed[places.randrange(len(content))] ^= 1 << places.randrange(8)
        the(cache, ending).write_bytes(changed)
        believed += not compiled_anew()
        the(cache, ending).write_bytes(content)
    if ending == "nbc":
        assert believed == 0
    tally(f"bits flipped in compiled code (.{ending})", flips)


def test_code_of_another_function_or_source_is_not_taken(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_anew()
    compiled_anew(others)
    (other,) = cache.glob("*/*others*.nbc")
    shutil.copy(other, the(cache, "nbc"))
    assert compiled_anew()


def test_a_killed_write_leaves_no_old_code_under_a_new_name(cache: Path, tmp_path: Path) -> None:
    """numba writes the index first: with an old source's code it must not be taken for the new."""

    def load(text: str) -> Callable[..., Any]:
        module = tmp_path / "module.py"
        module.write_text(text)
        names: dict[str, Any] = {"__name__": "module"}
        exec(compile(text, str(module), "exec"), names)
        found: Callable[..., Any] = names["weighted"]
        return found

    old = load("def weighted(a, b):\n    return a - b\n")
    assert compiled_anew(old)
    code = the(cache, "nbc").read_bytes()
    new = load("def weighted(a, b):\n    return a + b + 0\n")
    assert compiled_anew(new)
    the(cache, "nbc").write_bytes(code)
    assert compiled_anew(new)


@contextmanager
def written_at_most(size: int) -> Iterator[None]:
    """A disk that refuses to write more, as a full one does."""
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files there")
def test_a_full_disk_is_no_hindrance(cache: Path) -> None:
    with written_at_most(100):
        assert compiled_anew()
        assert compiled_anew()
    assert not list(cache.rglob("*.tmp.*"))
    assert compiled_anew()
    assert not compiled_anew()


def test_it_is_told_once_that_code_is_really_compiled(cache: Path) -> None:
    heard: list[bool] = []
    for functions, expected in (((weighted, others), [True]), ((weighted, others), [])):
        heard.clear()
        with on_compile(heard.append):
            for function in functions:
                compiled_anew(function)
        assert heard == expected
    the(cache, "nbc").write_bytes(b"")
    with on_compile(heard.append):
        compiled_anew()
    assert heard == [True]
    with on_compile(heard.append):
        pass
    assert compiled_anew(lambda a, b: 3.0 * a + 0.25 * b) and heard == [True]  # nobody listens


def test_where_no_folder_can_be_written_every_process_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    (tmp_path / "__pycache__").touch()
    module = tmp_path / "module.py"
    module.write_text("def weighted(a, b):\n    return 3.0 * a + 0.25 * b\n")
    names: dict[str, Any] = {"__name__": "module"}
    exec(compile(module.read_text(), str(module), "exec"), names)
    heard: list[bool] = []
    for _ in range(2):
        with on_compile(heard.append):
            assert compiled_anew(names["weighted"])
    assert heard == [False, False]
