"""Import libraries so that no settings file of the working folder counts.

matplotlib reads `matplotlibrc`, numba `.numba_config.yaml`. A folder that somebody handed in must
not change what a run does.
"""

import contextlib
import importlib
import sys


def outside_working_folder() -> contextlib.AbstractContextManager[None]:
    """Change to Python's own folder in a `with` block, in which libraries are imported.

    A person who can write there can run code anyway. All threads have the same working folder, so
    a block has nothing but imports.
    """
    return contextlib.chdir(sys.prefix)


def import_matplotlib_first() -> None:
    """Import matplotlib outside of the working folder, before a library such as Lightning does."""
    if "matplotlib" not in sys.modules:
        with outside_working_folder():
            importlib.import_module("matplotlib")
