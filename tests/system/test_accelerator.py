"""Which accelerator a run has, and why; tests/training has those that fail in the training."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dlrun.errors import AcceleratorError, DataError
from dlrun.system import accelerator
from dlrun.system.accelerator import ACCELERATORS, AcceleratorChoice, run_with_fallback

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")


class Choice:
    """Choose as a run does, with probes and work that fail with an error on some devices."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.undone = 0

    def undo(self) -> None:
        self.undone += 1

    def __call__(
        self,
        requested: str,
        probe_fails_on: str = "",
        work_fails_on: str = "",
        error: Exception | None = None,
        **options: Any,
    ) -> AcceleratorChoice:
        options = {"fallback": True, "undo": self.undo} | options

        def failing_on(devices: str) -> Callable[[str], None]:
            def attempt(device: str) -> None:
                if error and device in devices.split():
                    raise error

            return attempt

        work = failing_on(probe_fails_on), failing_on(work_fails_on)
        return run_with_fallback(requested, self.warnings.append, *work, **options)[1]


@pytest.fixture
def choose() -> Choice:
    return Choice()


@pytest.fixture
def cuda_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch report a CUDA device, as on a machine whose driver fails later."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@without_cuda
def test_a_missing_device_falls_back_with_one_warning(choose: Choice) -> None:
    report = choose("cuda")
    assert (report.requested, report.used) == ("cuda", "cpu")
    assert choose.warnings.pop() == f"{report.reason}; running on the CPU"
    with pytest.raises(AcceleratorError, match="CUDA"):
        choose("cuda", fallback=False)
    with pytest.raises(AcceleratorError, match="^cuda: .*CUDA"):
        accelerator.require_accelerator("cuda")
    assert not choose.warnings


@without_cuda
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
def test_auto_without_accelerator_keeps_the_reason_and_does_not_warn(choose: Choice) -> None:
    reason = str(choose("auto").reason)
    assert all(f"{device}: " in reason for device in ACCELERATORS)
    assert choose("cpu") == AcceleratorChoice("cpu", "cpu", None)
    assert not choose.warnings


@pytest.mark.usefixtures("cuda_is_there")
def test_what_fails_on_the_device_alone_is_done_on_the_cpu(choose: Choice) -> None:
    assert choose("auto") == AcceleratorChoice("auto", "cuda", None)
    for where, error in (
        ("probe_fails_on", RuntimeError("operator not implemented")),
        ("probe_fails_on", AcceleratorError("Lightning has no accelerator named cuda")),
        ("work_fails_on", RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")),
    ):
        report = choose("cuda", error=error, **{where: "cuda"})
        assert report.used == "cpu" and str(report.reason).endswith(f" failed on cuda: {error}")
        assert len(choose.warnings) == 1 and choose.warnings.pop()
    assert choose.undone == 3


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize(
    ("requested", "fails", "error"),
    [
        ("cuda", {"probe_fails_on": "cuda cpu"}, RuntimeError("mat1 and mat2 shapes")),
        ("cuda", {"work_fails_on": "cuda"}, DataError("damaged")),
        ("cuda", {"work_fails_on": "cuda"}, RuntimeError("mat1 and mat2 shapes")),
        ("cpu", {"work_fails_on": "cpu"}, RuntimeError("CUDA error: device lost")),
    ],
)
def test_a_bug_or_bad_data_is_not_the_device(
    choose: Choice, requested: str, fails: dict[str, str], error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        choose(requested, error=error, **fails)
    assert caught.value is error and not choose.warnings


@pytest.mark.parametrize(
    ("error", "in_run", "in_probe"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True, True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"), True, True),
        (NotImplementedError("The operator 'aten::x' is not implemented for 'MPS'"), True, True),
        (RuntimeError("x_cuda_kernel does not have a deterministic implementation"), True, True),
        (TypeError("Cannot convert a MPS Tensor to float64 dtype"), True, True),
        (RuntimeError("index_add(): Expected non int64 dtype for source."), False, True),  # of MPS
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, True),
        (ValueError("cuda"), False, False),
        (DataError("CUDA"), False, False),
    ],
)
def test_whose_fault_an_error_is(error: Exception, in_run: bool, in_probe: bool) -> None:
    assert accelerator.is_accelerator_error(error) is in_run
    assert accelerator.is_accelerator_error(error, of_first_batch=True) is in_probe
