"""`dlrun accelerators`: list the devices that torch can use, and check them against the CPU."""

import tempfile

from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from dlrun.system.console import Screen
from dlrun.system.text import format_text_table


def list_accelerators() -> None:
    """List the CPU and the accelerators, and why torch cannot use one that is missing.

    On one that is there, tiny runs of cifar100 and imdb-lstm compare it with the CPU.

    Examples:
    dlrun accelerators
    """
    rows = [["device", "state"]]
    for device in ("cpu", *ACCELERATORS):
        reason = why_accelerator_unavailable(device)
        rows.append([device, f"missing: {reason}" if reason else "available"])
        if device != "cpu" and reason is None:
            for name in ("cifar100", "imdb-lstm"):
                rows.append(["", f"{name}: {compare_by_a_run(name, device)}"])
    Screen().print_lines(format_text_table(rows, left=(0, 1)))


def compare_by_a_run(name: str, device: str) -> str:
    """Run a tiny experiment on a device, and return how its gradients agree with the CPU's."""
    from dlrun import api  # slow: all that a run needs
    from dlrun.experiments.registry import shipped_config

    tiny = shipped_config(name).overlays("smoke")
    with tempfile.TemporaryDirectory() as folder:
        run = api.run(
            name,
            config=tiny,
            runs_dir=folder,
            data_dir=folder,
            quiet=True,
            accelerator=device,
        )
        report = run.record.accelerator
    return str(report and (report.reason or f"as on the CPU: {report.agreement}"))
