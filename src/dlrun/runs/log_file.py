"""The run's own log."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from dlrun.run_folder.folder import LOG, RunFolder
from dlrun.system.files import check_appendable


@contextlib.contextmanager
def logging_to(folder: RunFolder) -> Iterator[None]:
    """Everything that is logged, and every warning, into the run's log.txt; a helper's nowhere."""
    handler: logging.Handler = logging.NullHandler()
    if folder.writes:
        path = folder.path / LOG
        check_appendable(path)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("dlrun")
    level, raising = ours.level, logging.raiseExceptions
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a full disk: no traceback for each line of the log
    captured = getattr(warnings.showwarning, "__module__", "") == "logging"  # by whoever calls
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(captured)
        logging.raiseExceptions = raising
        ours.setLevel(level)
        root.removeHandler(handler)
        handler.close()
