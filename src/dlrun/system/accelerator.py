"""Choose the accelerator of a run (CUDA, MPS or CPU), and fall back to the CPU if it fails."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from dlrun.errors import AcceleratorError, first_line

RequestedAccelerator = Literal["auto", "cpu", "cuda", "mps"]
T = TypeVar("T")
# torch names the devices so; `auto` tries them in this order.
ACCELERATORS = tuple(name for name in get_args(RequestedAccelerator) if name not in ("auto", "cpu"))
ALLOW_FALLBACK_HINT = "with fallback: true (without --no-fallback) it runs on the CPU instead"
# Devices on which convolutions are faster in torch's channels_last, and computed correctly: on mps
# some gradients are wrong (https://github.com/pytorch/pytorch/issues/107214).
CHANNELS_LAST_DEVICES = ("cpu", "cuda")
# A device causes errors of classes of these names, which are torch's and dlrun's own.
DEVICE_ERRORS = {"OutOfMemoryError", "AcceleratorError", "DeferredCudaCallError"}
# MPS reports that it has no float64 by a TypeError.
TORCH_ERRORS = (RuntimeError, NotImplementedError, TypeError)
# Errors of CUDA and AMD's HIP, and then of MPS, have these words in their messages.
ERROR_WORDS = r"\b(cuda|cudnn|cublas|cusparse|nvrtc|nvml|hip|miopen|mps|metal)\b"
DEVICE_MESSAGE = re.compile(f"{ERROR_WORDS}|out of memory|deterministic implementation", re.I)


@dataclass(frozen=True)
class DeviceComparison:
    """Says how far the gradients of a batch on a device are from the CPU's."""

    precision: str  #: that of the run, or `tf32`
    bound: float = 0  #: the largest relative error of a device that agrees
    error: float | None = None  #: the largest relative error; None: not finite, or not compared
    of: str | None = None  #: which value has it: `loss`, or `gradient of` a parameter
    not_compared: str | None = None  #: why nothing was compared

    @property
    def agrees(self) -> bool:
        """What was not compared is no reason to fall back."""
        return bool(self.not_compared) or (self.error is not None and self.error <= self.bound)

    def __str__(self) -> str:
        if self.not_compared:
            return f"not compared: {self.not_compared}"
        error = "not a finite number" if self.error is None else f"relative error {self.error:.2g}"
        return f"{self.of}, {error} ({self.precision}: at most {self.bound:.2g})"


@dataclass(frozen=True)
class AcceleratorChoice:
    """Says which accelerator was requested and which was used."""

    requested: str
    used: str
    reason: str | None  #: why `used` is not the request, or why `auto` chose the CPU
    agreement: DeviceComparison | None = None  #: of the accelerator that was tried with the CPU


def why_accelerator_unavailable(device: str) -> str | None:
    """None means that this machine can use the accelerator."""
    if device not in ACCELERATORS:
        return None
    import torch  # slow: 1 s

    if device == "cuda":
        if torch.version.cuda is None and torch.version.hip is None:
            return "this build of PyTorch has no CUDA support"
        return None if torch.cuda.is_available() else "no CUDA device or driver was found"
    if not torch.backends.mps.is_built():
        return "this build of PyTorch has no MPS support (Apple GPUs only)"
    return None if torch.backends.mps.is_available() else "it needs macOS 12.3 and an Apple GPU"


def require_accelerator(device: str) -> None:
    """Raise AcceleratorError if this machine lacks an accelerator; `auto` never raises."""
    if reason := why_accelerator_unavailable(device):
        raise AcceleratorError(f"{device}: {reason}", ALLOW_FALLBACK_HINT)


def choose_available_device(requested: str) -> tuple[str, str | None]:
    """Choose a device; say why it is not the requested one, or why `auto` chose the CPU."""
    if requested == "cpu":
        return "cpu", None
    reasons = []
    for device in ACCELERATORS if requested == "auto" else (requested,):
        reason = why_accelerator_unavailable(device)
        if reason is None:
            return device, None
        reasons.append(f"{device}: {reason}")
    return "cpu", "; ".join(reasons)


def run_with_fallback(
    requested: str,
    warn: Callable[[str], None],
    try_batch: Callable[[str], object],
    work: Callable[[str], T],
    compare: Callable[[str], DeviceComparison] | None = None,
    *,
    fallback: bool,
    undo: Callable[[], object],
) -> tuple[T, AcceleratorChoice]:
    """Do some work on the requested accelerator, or on the CPU if it fails; say which was used.

    Raises AcceleratorError if the CPU may not replace the device. Before `work`, in this order:
    - try_batch: tries one batch; if that fails on the CPU too, the accelerator is not the cause.
    - compare: compares the device's numbers of a batch with the CPU's; to disagree is to fail.
    Before the CPU replaces a device, `undo` removes what `work` has left.
    """
    device, reason = choose_available_device(requested)
    comparison: DeviceComparison | None = None
    cause: Exception | None = None
    if device != "cpu":
        comparison, reason, cause = _check_first_batch(device, try_batch, compare)
        if cause is not None:
            try_batch("cpu")  # raises the error too if it is a bug
        if reason is None:
            try:
                return work(device), AcceleratorChoice(requested, device, None, comparison)
            except Exception as error:
                if not is_accelerator_error(error):
                    raise
                reason = f"the run failed on {device}: {first_line(error)}"
                cause = error
    auto_chose_cpu = device == "cpu" and requested == "auto"
    if reason is not None and not auto_chose_cpu:
        if not fallback:
            raise AcceleratorError(reason, ALLOW_FALLBACK_HINT) from cause
        warn(f"{reason}; running on the CPU")
        undo()
    cause = None  # frees what the failed attempt holds
    return work("cpu"), AcceleratorChoice(requested, "cpu", reason, comparison)


def _check_first_batch(
    device: str,
    try_batch: Callable[[str], object],
    compare: Callable[[str], DeviceComparison] | None,
) -> tuple[DeviceComparison | None, str | None, Exception | None]:
    """Tell a device's comparison, why the device may not be used, and the error that was raised."""
    try:
        try_batch(device)
        comparison = compare(device) if compare else None
    except Exception as error:
        if not is_accelerator_error(error, of_first_batch=True):
            raise
        return None, f"the first batch failed on {device}: {first_line(error)}", error
    if comparison is None or comparison.agrees:
        return comparison, None, None
    return comparison, f"{device} disagrees with the CPU: {comparison}", None


def is_accelerator_error(error: Exception, *, of_first_batch: bool = False) -> bool:
    """Judge whether an accelerator caused an error: out of memory, unsupported, disconnected.

    of_first_batch: the CPU tries it next, and raises the error too if it is a bug; so any error of
    torch counts.
    """
    if any(kind.__name__ in DEVICE_ERRORS for kind in type(error).__mro__):
        return True
    is_of_device = of_first_batch or DEVICE_MESSAGE.search(str(error)) is not None
    return type(error) in TORCH_ERRORS and is_of_device  # no subclass, such as RecursionError
