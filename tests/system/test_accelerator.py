"""Probe, try, fall back: plain functions take the place of devices' work."""

import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import AcceleratorError, DataError
from dlrun.system import accelerator
from dlrun.system.accelerator import ACCELERATORS, AcceleratorChoice, AcceleratorReport

CUDA_ERROR = RuntimeError("CUDA error: device lost")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")


def works(device: str) -> str:
    return device


def fails(on: str, error: Exception) -> Callable[[str], str]:
    """Return a function that fails on the devices whose names are in `on`."""

    def work(device: str) -> str:
        if device in on.split():
            raise error
        return device

    return work


def run(
    requested: str,
    warnings: list[str],
    *,
    probe: Callable[[str], object] = works,
    work: Callable[[str], str] = works,
    **options: Any,
) -> AcceleratorReport:
    """Probe and work as a run does; return which device did the work."""
    choice = AcceleratorChoice(requested, warn=warnings.append, **{"fallback": True} | options)
    report = choice.first(probe)
    try:
        assert work(report.used) == report.used
    except Exception as error:
        report = choice.after_failure(error, report)
        assert work(report.used) == "cpu"
    return report


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cuda_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch report a CUDA device, as on a machine whose driver fails later."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


def test_the_config_names_the_accelerators() -> None:
    allowed = typing.get_args(ExperimentConfig.model_fields["accelerator"].annotation)
    assert set(allowed) == {"auto", "cpu", *ACCELERATORS}


def test_cpu_needs_no_reason(warnings: list[str]) -> None:
    assert run("cpu", warnings) == AcceleratorReport("cpu", "cpu", None)
    assert not warnings


@without_cuda
@pytest.mark.parametrize("processes", [1, 2])
def test_a_missing_device_falls_back_with_one_warning(warnings: list[str], processes: int) -> None:
    """Processes of one node fall back together."""
    report = run("cuda", warnings, processes=processes)
    assert (report.requested, report.used) == ("cuda", "cpu")
    assert "CUDA" in str(report.reason)
    assert warnings == [f"{report.reason}; running on the CPU"]


@without_cuda
@pytest.mark.parametrize("options", [{"fallback": False}, {"processes": 4, "nodes": 2}])
def test_without_fallback_a_missing_device_is_an_error(
    warnings: list[str], options: dict[str, Any]
) -> None:
    with pytest.raises(AcceleratorError, match="CUDA"):
        run("cuda", warnings, **options)


@without_cuda
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
@pytest.mark.parametrize("options", [{}, {"processes": 4, "nodes": 2}])
def test_auto_without_accelerator_keeps_the_reason_and_does_not_warn(
    warnings: list[str], options: dict[str, Any]
) -> None:
    report = run("auto", warnings, **options)
    assert "cuda: " in str(report.reason)
    assert "mps: " in str(report.reason)
    assert not warnings


@pytest.mark.usefixtures("cuda_is_there")
def test_a_device_that_works_is_used(warnings: list[str]) -> None:
    assert run("auto", warnings) == AcceleratorReport("auto", "cuda", None)
    assert accelerator.count_devices("auto") == 3
    assert accelerator.count_devices("cpu") == 1


@pytest.mark.usefixtures("cuda_is_there")
def test_a_probe_that_fails_there_alone_falls_back(warnings: list[str]) -> None:
    probe = fails("cuda", RuntimeError("operator not implemented\nsecond line"))
    report = run("cuda", warnings, probe=probe)
    assert report.used == "cpu"
    assert report.reason == "a training step failed on cuda: operator not implemented"


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), DataError("damaged")]
)
def test_a_probe_that_fails_on_the_cpu_too_raises_its_error(
    error: Exception, warnings: list[str]
) -> None:
    with pytest.raises(type(error), match=str(error)):
        run("cuda", warnings, probe=fails("cuda cpu", error))
    assert not warnings


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        NotImplementedError("not currently implemented for the MPS device"),
    ],
)
def test_a_run_that_fails_there_starts_again_on_the_cpu(
    error: Exception, warnings: list[str]
) -> None:
    report = run("cuda", warnings, work=fails("cuda", error))
    assert report.used == "cpu"
    assert "the run failed on cuda" in str(report.reason)
    assert len(warnings) == 1


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize(
    "error", [KeyError("train"), RuntimeError("mat1 and mat2 shapes"), DataError("damaged")]
)
def test_a_bug_or_bad_data_is_not_the_device(error: Exception, warnings: list[str]) -> None:
    with pytest.raises(type(error)):
        run("cuda", warnings, work=fails("cuda", error))
    assert not warnings


def test_an_error_on_the_cpu_is_not_the_device(warnings: list[str]) -> None:
    with pytest.raises(RuntimeError, match="CUDA"):
        run("cpu", warnings, work=fails("cpu", CUDA_ERROR))


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize("when", ["probe", "work"])
def test_one_of_several_processes_does_not_fall_back_alone(when: str, warnings: list[str]) -> None:
    with pytest.raises(AcceleratorError, match="failed on cuda: CUDA error") as caught:
        run("auto", warnings, processes=2, **{when: fails("cuda", CUDA_ERROR)})
    assert "several processes" in caught.value.hint
    assert not warnings


@without_cuda
def test_a_missing_device_is_known_beforehand() -> None:
    accelerator.require_accelerator("cpu")
    accelerator.require_accelerator("auto")
    with pytest.raises(AcceleratorError, match="^cuda: .*CUDA") as caught:
        accelerator.require_accelerator("cuda")
    assert "fallback" in caught.value.hint
