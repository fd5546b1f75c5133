"""Decorators that compile functions with numba and keep the machine code for later processes.

There is no fastmath: reordered sums would not be reproducible, and LLVM's vectorised gathers are
slower than scalar loads if they follow scattered stores.
"""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only compiled code calls; it is kept as a part of its callers."""
    return cast(Callable[P, R], numba.njit(nogil=True)(function))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from numba's cache.

    If the cache cannot be loaded or written (a power cut leaves empty files, a disk is full), the
    cache of the function's file is deleted and this process compiles the function for itself.
    """
    try:
        compiled: Any = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return jit(function)

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        nonlocal compiled
        try:
            return cast(R, compiled(*arguments, **options))
        except Exception:  # a damaged file can raise anything; the kernels themselves raise nothing
            _delete_cache(Path(compiled.stats.cache_path), function)
            compiled = numba.njit(nogil=True)(function)
            return cast(R, compiled(*arguments, **options))

    return call


def _delete_cache(folder: Path, function: Callable[..., Any]) -> None:
    module = Path(function.__code__.co_filename).stem
    for file in folder.glob(f"{module}.*.nb[ic]"):
        with contextlib.suppress(OSError):
            file.unlink()
