"""Functions compiled by numba; their machine code is kept for the next process."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile at the first call.

    No fastmath: reordered sums would not be reproducible, and LLVM's vectorised gathers are slower
    than scalar loads when they follow scattered stores.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        compiled = numba.njit(nogil=True)(function)
    return cast(F, compiled)
