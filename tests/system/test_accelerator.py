"""Probe, try, fall back: with plain functions in the place of devices' work."""

import pytest
import torch

from dlrun.errors import AcceleratorError, DataError
from dlrun.system import accelerator
from dlrun.system.accelerator import AcceleratorReport, run_with_fallback


def run(requested: str, warnings: list[str], **more: object) -> tuple[str, AcceleratorReport]:
    arguments = {"fallback": True, "probe": lambda _: None, "run": lambda device: device} | more
    return run_with_fallback(requested, warn=warnings.append, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cuda_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch says that there is a CUDA device, as on a machine whose driver fails later."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_cpu_needs_no_reason(warnings: list[str]) -> None:
    assert run("cpu", warnings) == ("cpu", AcceleratorReport("cpu", "cpu", None))
    assert not warnings


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_device_falls_back_with_one_warning(warnings: list[str]) -> None:
    device, report = run("cuda", warnings)
    assert device == report.used == "cpu"
    assert report.requested == "cuda"
    assert "CUDA" in str(report.reason)
    assert warnings == [f"{report.reason}; running on the CPU"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_fallback_is_an_error(warnings: list[str]) -> None:
    with pytest.raises(AcceleratorError, match="CUDA"):
        run("cuda", warnings, fallback=False)


def test_auto_without_accelerator_says_why_but_does_not_warn(warnings: list[str]) -> None:
    if accelerator.select_accelerator("auto")[0] != "cpu":
        pytest.skip("this machine has an accelerator")
    _, report = run("auto", warnings)
    assert "cuda: " in str(report.reason)
    assert "mps: " in str(report.reason)
    assert not warnings


@pytest.mark.usefixtures("cuda_is_there")
def test_device_that_works_is_used(warnings: list[str]) -> None:
    assert run("auto", warnings) == ("cuda", AcceleratorReport("auto", "cuda", None))


@pytest.mark.usefixtures("cuda_is_there")
def test_probe_that_fails_only_there_falls_back(warnings: list[str]) -> None:
    def probe(device: str) -> None:
        if device == "cuda":
            raise RuntimeError("operator not implemented\nsecond line")

    _, report = run("cuda", warnings, probe=probe)
    assert report.used == "cpu"
    assert report.reason == "a training step failed on cuda: operator not implemented"


@pytest.mark.usefixtures("cuda_is_there")
def test_probe_that_fails_on_the_cpu_too_is_our_bug(warnings: list[str]) -> None:
    def probe(device: str) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run("cuda", warnings, probe=probe)
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
def test_run_that_fails_there_starts_again_on_the_cpu(
    error: Exception, warnings: list[str]
) -> None:
    tried = []

    def attempt(device: str) -> str:
        tried.append(device)
        if device == "cuda":
            raise error
        return device

    _, report = run("cuda", warnings, run=attempt)
    assert tried == ["cuda", "cpu"]
    assert "the run failed on cuda" in str(report.reason)
    assert len(warnings) == 1


@pytest.mark.usefixtures("cuda_is_there")
@pytest.mark.parametrize(
    "error", [KeyError("train"), RuntimeError("mat1 and mat2 shapes"), DataError("damaged")]
)
def test_bug_or_bad_data_is_never_the_devices(error: Exception, warnings: list[str]) -> None:
    def attempt(device: str) -> str:
        raise error

    with pytest.raises(type(error)):
        run("cuda", warnings, run=attempt)
    assert not warnings


@pytest.mark.usefixtures("cuda_is_there")
def test_of_several_processes_none_falls_back_in_the_middle(warnings: list[str]) -> None:
    def attempt(device: str) -> str:
        raise RuntimeError("CUDA error: device lost")

    with pytest.raises(AcceleratorError, match="the run failed on cuda: CUDA error") as caught:
        run("cuda", warnings, run=attempt, world=2)
    assert "several processes" in caught.value.hint
    assert not warnings


@pytest.mark.usefixtures("cuda_is_there")
def test_of_several_processes_that_decide_apart_none_falls_back(warnings: list[str]) -> None:
    def probe(device: str) -> None:
        if device == "cuda":
            raise RuntimeError("no kernel image for this device")

    with pytest.raises(AcceleratorError, match="failed on cuda: no kernel") as caught:
        run("auto", warnings, probe=probe, world=2, apart=True)
    assert "one by one" in caught.value.hint
    assert not warnings


def test_processes_that_decide_apart_may_all_ask_for_the_cpu(warnings: list[str]) -> None:
    assert run("cpu", warnings, world=2, apart=True)[0] == "cpu"
    if accelerator.select_accelerator("auto")[0] == "cpu":
        assert run("auto", warnings, world=2, apart=True)[0] == "cpu"
    assert not warnings


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_what_is_not_there_is_known_beforehand() -> None:
    accelerator.require_accelerator("cpu")
    accelerator.require_accelerator("auto")
    with pytest.raises(AcceleratorError, match="^cuda: .*CUDA") as caught:
        accelerator.require_accelerator("cuda")
    assert "fallback" in caught.value.hint
