"""Functions compiled by numba; their machine code is kept for the next process.

numba's own cache believes whatever its files hold, and an empty one (a power cut leaves some) ends
every later process. Here a file that is damaged, stale or cannot be read is compiled anew.
"""

import contextlib
import hashlib
import pickle
from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeVar, cast

import numba
from numba.core import caching, serialize

from dlrun.kernels.jit_callbacks import tell

F = TypeVar("F", bound=Callable[..., Any])
# Any: numba's older versions have no types at all, its newer ones have half.
NumbaCode: Any = caching.CompileResultCacheImpl
NumbaCache: Any = caching.FunctionCache
NumbaNullCache: Any = caching.NullCache
dumps: Any = serialize.dumps


def jit(function: F) -> F:
    """Compile at the first call.

    No fastmath: reordered sums would not be reproducible, and LLVM's vectorised gathers are slower
    than scalar loads when they follow scattered stores.
    """
    compiled: Any = numba.njit(nogil=True)(function)
    try:
        compiled._cache = _Cache(function)  # as `cache=True` does with numba's own
    except RuntimeError:  # neither the package's folder nor the user's can be written
        compiled._cache = _Nowhere()
    return cast(F, compiled)


class _Sealed(NumbaCode):  # type: ignore[misc]
    """Machine code with the SHA-256 of it, and of which source it was compiled from.

    The source too, for numba writes the index of new code before the code: a process that is killed
    between the two leaves the old code under the new one's name.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._source = repr(
            (metadata.version("dlrun"), self.filename_base, self.locator.get_source_stamp())
        )

    def reduce(self, compiled: Any) -> tuple[str, bytes]:
        """What is written."""
        content = dumps(super().reduce(compiled))
        return self._digest(content), content

    def rebuild(self, target_context: Any, sealed: tuple[str, bytes]) -> Any:
        """The compiled function. Raises ValueError where it is not what was written."""
        digest, content = sealed
        if digest != self._digest(content):
            raise ValueError("its SHA-256 is not the one written into it")
        return super().rebuild(target_context, pickle.loads(content))  # noqa: S301 (as numba does)

    def _digest(self, content: bytes) -> str:
        return hashlib.sha256(self._source.encode() + content).hexdigest()


class _Cache(NumbaCache):  # type: ignore[misc]
    """numba's, where neither reading nor writing ever fails."""

    _impl_class = _Sealed

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled function, or None."""
        found = None
        try:
            found = super().load_overload(signature, target_context)
        except Exception:  # a damaged file can raise anything
            with contextlib.suppress(OSError):
                self.flush()
        if found is None:
            tell(True)
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep it, where the disk is neither full nor read-only."""
        with contextlib.suppress(Exception):
            super().save_overload(signature, compiled)


class _Nowhere(NumbaNullCache):  # type: ignore[misc]
    """Keeps nothing: every process compiles."""

    def load_overload(self, signature: Any, target_context: Any) -> None:
        """None."""
        tell(False)
