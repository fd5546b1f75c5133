"""Run, resume and repeat the deep-learning lab of ISLP (chapter 10) as experiments.

In Python: `run = dlrun.run("imdb-dense", seed=3)`, `run = dlrun.open("latest")`.
"""

__version__ = "0.2.0"

TYPE_CHECKING = False  # typing's own takes 8 ms to import, in which Ctrl-C is a traceback
if TYPE_CHECKING:
    from dlrun.python_api import open, run

__all__ = ["__version__", "open", "run"]


def __getattr__(name: str) -> object:
    """Import the functions `run` and `open` when they are first used."""
    if name in ("open", "run"):
        from dlrun import python_api

        return getattr(python_api, name)
    raise AttributeError(f"module 'dlrun' has no attribute {name!r}")
