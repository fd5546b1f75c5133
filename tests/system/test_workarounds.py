"""Tests of dlrun.system.workarounds."""

import subprocess
import sys

SCRIPT = """
import sys
from dlrun.system.workarounds import scipy_signal_on_use

with scipy_signal_on_use():
    import dlrun.training.fit
assert "scipy.signal" not in sys.modules
with scipy_signal_on_use():
    import scipy.signal
    assert callable(scipy.signal.butter)
assert sys.modules["scipy.signal"].butter is scipy.signal.butter
"""


def test_lightning_is_imported_without_scipy_signal_which_loads_when_it_is_used() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
