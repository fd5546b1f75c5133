"""Functions compiled by numba: machine code that is kept, and vectors."""

from pathlib import Path
from types import ModuleType

import numba
import pytest

from dlrun.kernels.numba_simd import jit_inner, jit_kernel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which numba keeps code."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@jit_inner
def half(a: float) -> float:
    return 0.5 * a


def weighted(a: float, b: float) -> float:
    return 3.0 * half(a) + 0.25 * b


def compute_as_a_new_process() -> None:
    assert jit_kernel(weighted)(1.0, 2.0) == 2.0


def saved(cache: Path) -> dict[str, int]:
    """When each file was written."""
    return {file.name: file.stat().st_mtime_ns for file in cache.rglob("*.nb[ic]")}


def assert_is_kept(cache: Path) -> None:
    compute_as_a_new_process()
    before = saved(cache)
    compute_as_a_new_process()
    assert len(before) == 2 and saved(cache) == before


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_code_is_kept_and_a_file_that_a_power_cut_left_empty_is_compiled_anew(
    cache: Path, ending: str
) -> None:
    assert_is_kept(cache)
    (file,) = cache.rglob(f"*.{ending}")
    file.write_bytes(b"")
    for _ in range(2):
        compute_as_a_new_process()
    assert_is_kept(cache)


@pytest.mark.parametrize("config", [b"cache_dir: planted\n", b"\xff"])
def test_no_settings_file_of_the_working_folder_is_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, config: bytes
) -> None:
    """A user who has imported numba there keeps its settings, and what numba does with them."""
    (tmp_path / ".numba_config.yaml").write_bytes(config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "planted")
    before = dict(vars(numba.config))
    assert_is_kept(cache)
    assert not (tmp_path / "planted").exists()
    assert vars(numba.config) == before


def test_without_a_writable_folder_every_process_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    (tmp_path / "__pycache__").touch()
    module = tmp_path / "module.py"
    module.write_text("def twice(a):\n    return 2.0 * a\n")
    names = vars(ModuleType("module"))
    exec(compile(module.read_text(), str(module), "exec"), names)
    assert jit_kernel(names["twice"])(1.0) == 2.0
