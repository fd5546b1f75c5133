"""What is not imported, and that nobody misses it."""

import subprocess
import sys

import pytest

AUDIO = "from torchmetrics.functional.audio import permutation_invariant_training"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "assert 'scipy.signal' not in sys.modules and 'pandas' not in sys.modules"),
        ("", f"import scipy.signal; scipy.signal.windows.hamming(3)\n{AUDIO}"),
        ("import scipy", "scipy.signal.windows.hamming(3)"),
        ("import scipy.signal as real", "assert sys.modules['scipy.signal'] is real"),
        ("import torchmetrics", "import scipy.signal; scipy.signal.windows.hamming(3)"),
    ],
)
def test_scipys_signals_are_imported_once_somebody_wants_them(before: str, after: str) -> None:
    script = f"import sys\n{before}\nfrom dlrun.training import fit\n{after}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
