"""Probe an accelerator, try it, fall back to the CPU; say what was used and why.

The lab's section on hardware acceleration (ISLP 10.9.3) protects the attempt with `except: pass`;
here the reason of a failure is always kept, and a bug of ours never counts as the accelerator's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dlrun.errors import AcceleratorError, DlrunError, first_line

ACCELERATORS = ("cuda", "mps")  # in the order in which `auto` prefers them

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """`reason` says why `used` is not what was asked for, or why `auto` chose it."""

    requested: str
    used: str
    reason: str | None


def missing(device: str) -> str | None:
    """Why this machine cannot use a device; None where it can."""
    import torch  # slow: 1 s

    if device == "cuda":
        if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
            return "this build of PyTorch has no CUDA support"
        if not torch.cuda.is_available():
            return "no CUDA device or driver was found"
    elif device == "mps":
        if not torch.backends.mps.is_built():
            return "this build of PyTorch has no MPS support (Apple GPUs only)"
        if not torch.backends.mps.is_available():
            return "macOS 12.3 or later and an Apple GPU are needed"
    return None


def select(requested: str) -> tuple[str, str | None]:
    """The device to try first, and why it is not the requested one."""
    if requested == "cpu":
        return "cpu", None
    candidates = ACCELERATORS if requested == "auto" else (requested,)
    reasons = {device: missing(device) for device in candidates}
    for device, reason in reasons.items():
        if reason is None:
            return device, None
    return "cpu", "; ".join(f"{device}: {reason}" for device, reason in reasons.items())


def run_on(
    requested: str,
    *,
    fallback: bool,
    probe: Callable[[str], object],
    run: Callable[[str], T],
    warn: Callable[[str], None],
) -> tuple[T, Report]:
    """Run on the requested device, or else from the start on the CPU.

    Args:
        requested: auto, cpu, cuda or mps.
        fallback: False makes an accelerator's failure an AcceleratorError.
        probe: takes a device and does one real training step on it.
        run: takes a device and does the whole run, from its seed.
        warn: takes the one warning that names the reason.
    """
    device, reason = select(requested)
    if device != "cpu":
        try:
            probe(device)
        except Exception as error:
            if isinstance(error, DlrunError):
                raise
            probe("cpu")  # fails there too: the fault is not the accelerator's
            reason = f"a training step failed on {device}: {first_line(error)}"
        else:
            try:
                return run(device), Report(requested, device, None)
            except Exception as error:
                if not is_device_fault(error):
                    raise
                reason = f"the run failed on {device}: {first_line(error)}"
    if reason is not None and (requested != "auto" or device != "cpu"):
        if not fallback:
            raise AcceleratorError(
                reason, "with fallback: true (without --no-fallback) it runs on the CPU instead"
            )
        warn(f"{reason}; running on the CPU")
    return run("cpu"), Report(requested, "cpu", reason)


def is_device_fault(error: Exception) -> bool:
    """Whether an error in the middle of a run is the device's: out of memory, unsupported, lost."""
    import torch

    kinds = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
    if isinstance(error, kinds):
        return True
    words = r"\b(cuda|cudnn|cublas|nccl|mps|metal|hip)\b|out of memory|deterministic implementation"
    return type(error) in (RuntimeError, NotImplementedError) and bool(
        re.search(words, str(error), re.IGNORECASE)
    )
