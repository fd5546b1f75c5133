"""Run, resume and repeat the deep-learning lab of ISLP (chapter 10) as experiments.

In Python: `run = dlrun.run("imdb-dense", seed=3)`, `run = dlrun.open("latest")`.
"""

__version__ = "0.3.0"

TYPE_CHECKING = False  # typing's own takes 8 ms to import, in which Ctrl-C is a traceback
if TYPE_CHECKING:
    from dlrun.api import (
        Run,
        SweepResults,
        list_runs,
        list_unreadable_runs,
        open,
        resume,
        run,
        sweep,
    )
    from dlrun.errors import ConfigError, DataError, DlrunError
    from dlrun.runs.run import UnreadableRun

__all__ = [
    "ConfigError", "DataError", "DlrunError", "Run", "SweepResults", "UnreadableRun", "__version__",
    "list_runs", "list_unreadable_runs", "open", "resume", "run", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the public names when one of them is first used."""
    if name == "datasets":
        from importlib import import_module

        return import_module("dlrun.datasets")
    if name in __all__:
        from dlrun import api

        return getattr(api, name)
    raise AttributeError(f"module 'dlrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
