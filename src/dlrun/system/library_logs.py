"""Keep the log messages of libraries from stderr, once this module is imported by a process.

Such as matplotlib's where its cache folder is. A run's log.txt still gets them.
"""

import logging

logging.getLogger("matplotlib").addHandler(logging.NullHandler())
