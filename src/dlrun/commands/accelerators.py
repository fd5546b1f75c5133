"""`dlrun accelerators`: what torch can compute on here."""

from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from dlrun.system.console import Screen, format_text_table


def list_accelerators() -> None:
    """List the CPU and the accelerators, and why torch cannot use one that is missing.

    Examples:
    dlrun accelerators
    """
    rows = [["device", "state"]]
    for device in ("cpu", *ACCELERATORS):
        reason = why_accelerator_unavailable(device)
        rows.append([device, f"missing: {reason}" if reason else "available"])
    Screen().rows(format_text_table(rows, left=(0, 1)))
