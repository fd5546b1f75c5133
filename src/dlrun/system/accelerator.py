"""Probe an accelerator, try it, fall back to the CPU; say what was used and why.

The lab's section on hardware acceleration (ISLP 10.9.3) protects the attempt with `except: pass`;
here the reason of a failure is always kept, and a bug of ours never counts as the accelerator's.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dlrun.errors import AcceleratorError, ConfigError, DlrunError, first_line

ACCELERATORS = ("cuda", "mps")  # in the order in which `auto` prefers them
NO_FALLBACK_HINT = "with fallback: true (without --no-fallback) it runs on the CPU instead"

T = TypeVar("T")


@dataclass(frozen=True)
class AcceleratorReport:
    """`reason` says why `used` is not what was asked for, or why `auto` chose it."""

    requested: str
    used: str
    reason: str | None


def why_unavailable(device: str) -> str | None:
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


def require_accelerator(device: str) -> None:
    """Raises AcceleratorError where this machine has not the device; `auto` takes what there is."""
    if device in ACCELERATORS and (reason := why_unavailable(device)):
        raise AcceleratorError(f"{device}: {reason}", NO_FALLBACK_HINT)


def check_devices(device: str, devices: int | list[int] | str) -> None:
    """Raises ConfigError where a CPU is asked for devices by number, or for more than its cores.

    How many processes torchrun starts is its user's choice.
    """
    cores = os.cpu_count() or 1
    listed = isinstance(devices, list)
    more = isinstance(devices, int) and devices > cores
    if (
        "LOCAL_WORLD_SIZE" in os.environ
        or not (listed or more)
        or select_accelerator(device)[0] != "cpu"
    ):
        return
    what = f"{devices} numbers GPUs, but this runs" if listed else f"{devices} processes"
    raise ConfigError(
        f"trainer.devices: {what} on a CPU with {cores} cores",
        f"on the CPU a device is a process: 1 to {cores}, or auto for one",
    )


def check_batch(size: int, processes: int) -> None:
    """Raises ConfigError where the rows of a batch cannot be shared out equally."""
    if size % processes:
        more = (size // processes + 1) * processes
        fewer = more - processes
        raise ConfigError(
            f"batch_size: {size} rows cannot be shared by {processes} processes",
            f"take {f'{fewer} or ' if fewer else ''}{more}: it is the whole batch's",
        )


def select_accelerator(requested: str) -> tuple[str, str | None]:
    """The device to try first, and why it is not the requested one."""
    if requested == "cpu":
        return "cpu", None
    candidates = ACCELERATORS if requested == "auto" else (requested,)
    reasons = {device: why_unavailable(device) for device in candidates}
    for device, reason in reasons.items():
        if reason is None:
            return device, None
    return "cpu", "; ".join(f"{device}: {reason}" for device, reason in reasons.items())


def run_with_fallback(
    requested: str,
    *,
    fallback: bool,
    probe: Callable[[str], object],
    run: Callable[[str], T],
    warn: Callable[[str], None],
    world: int | None = 1,
    apart: bool = False,
) -> tuple[T, AcceleratorReport]:
    """Run on the requested device, or else from the start on the CPU.

    Args:
        requested: auto, cpu, cuda or mps.
        fallback: False makes an accelerator's failure an AcceleratorError.
        probe: takes a device and does one real training step on it.
        run: takes a device and does the whole run, from its seed.
        warn: takes the one warning that names the reason.
        world: processes that share the run. Of several none falls back in the middle, for the
            others would wait for it: the run ends.
        apart: each of them comes here, so none falls back at all: the others might not.
    """
    device, reason = select_accelerator(requested)
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
                return run(device), AcceleratorReport(requested, device, None)
            except Exception as error:
                if not is_device_fault(error):
                    raise
                reason = f"the run failed on {device}: {first_line(error)}"
                if world != 1:
                    raise AcceleratorError(
                        reason, "several processes cannot fall back in the middle of a run"
                    ) from error
    if reason is not None and (requested != "auto" or device != "cpu"):
        if world != 1 and apart:
            raise AcceleratorError(
                reason,
                "several processes cannot fall back one by one: --accelerator cpu is for all",
            )
        if not fallback:
            raise AcceleratorError(reason, NO_FALLBACK_HINT)
        warn(f"{reason}; running on the CPU")
    return run("cpu"), AcceleratorReport(requested, "cpu", reason)


def is_device_fault(error: Exception) -> bool:
    """Whether an error in the middle of a run is the device's: out of memory, unsupported, lost."""
    import torch

    kinds = [torch.OutOfMemoryError]
    kinds += [getattr(torch, name) for name in ("AcceleratorError",) if hasattr(torch, name)]
    kinds += [
        getattr(torch.distributed, name)
        for name in ("DistError", "DistBackendError")
        if hasattr(torch.distributed, name)  # not in every build
    ]
    if isinstance(error, tuple(kinds)):
        return True
    words = (
        r"\b(cuda|cudnn|cublas|cusparse|nccl|nvrtc|nvml|mps|metal|hip|miopen)\b"
        r"|out of memory|deterministic implementation"
    )
    # MPS says that it has no float64 by a TypeError.
    return type(error) in (RuntimeError, NotImplementedError, TypeError) and bool(
        re.search(words, str(error), re.IGNORECASE)
    )
