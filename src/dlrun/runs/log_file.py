"""Write the log messages and the warnings of a run to its log.txt."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from dlrun.system.files import check_regular_file

log = logging.getLogger("dlrun")


@contextlib.contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append log messages and warnings to a file during a block."""
    check_regular_file(path)
    handler = logging.FileHandler(path, "a", "utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = log.level
    raises = logging.raiseExceptions
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # on a full disk: no traceback for each line of the log
    is_captured = getattr(warnings.showwarning, "__module__", "") == "logging"  # by the caller
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(is_captured)
        logging.raiseExceptions = raises
        log.setLevel(level)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # NFS says only now that lines could not be written
            handler.close()
