"""Say what takes seconds: loading a large package."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from dlrun.errors import DlrunError
from dlrun.system import memory
from dlrun.system.console import Screen

LARGE = ("torch", "lightning")  # each loads those before it
TORCH = 10**9  # bytes of address space; with fewer it aborts or hangs as it is imported


class _Announcer(MetaPathFinder):
    """Asked before a module is loaded; it says so, or refuses, and leaves the finding to others."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Python's question where a module is."""
        if name in LARGE and (limit := memory.limit()) and limit < TORCH:
            raise DlrunError(
                f"memory is short: this process may use {limit // 10**6:,} MB, and {name} needs "
                f"{TORCH // 10**6:,}",
                "a higher `ulimit -v` allows more",
            )
        if name in LARGE and name not in self._said:
            before = LARGE[: LARGE.index(name) + 1]
            missing = [one for one in before if one not in sys.modules]
            self._said.update(missing)
            self._screen.note(f"loading {' and '.join(missing)}")


@contextlib.contextmanager
def announce_imports(screen: Screen) -> Iterator[None]:
    """In this block a large package that is not there yet is named as it is loaded, by whomever."""
    announcer = _Announcer(screen)
    sys.meta_path.insert(0, announcer)
    try:
        yield
    finally:
        sys.meta_path.remove(announcer)
