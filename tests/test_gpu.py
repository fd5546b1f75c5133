"""Each network on a GPU with CUDA: predictions as on the CPU, and a resume to the same bits."""

import json
from pathlib import Path

import pytest

from dlrun.system.accelerator import why_accelerator_unavailable
from tests import harness
from tests.conftest import NETWORKS, missing, setting, smoke
from tests.experiments.test_resume import outcome
from tests.experiments.use import finished, results

GPU = "cuda"
CLOSE = 0.01  # probabilities, and values in units of their standard deviation: TF32 has 10 bits

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _there_is_a_gpu() -> None:
    if reason := why_accelerator_unavailable(GPU):
        missing(f"{GPU}: {reason}", "DLRUN_REQUIRE_GPU")


def words(name: str, *settings: str, epochs: int = 2) -> list[str]:
    sets = setting(f"trainer.max_epochs={epochs}", *settings)
    return [*smoke(name), *sets, "--accelerator", GPU, "--no-fallback"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_predicts_as_on_the_cpu_and_resumes_to_its_bits(tmp_path: Path, name: str) -> None:
    whole = finished(tmp_path / "whole", words(name))
    report = results(whole)["accelerator"]
    assert (report["requested"], report["used"], report["reason"]) == (GPU, GPU, None)
    agreement = report["agreement"]
    assert 0 < agreement["error"] <= agreement["bound"] and agreement["precision"] == "tf32"
    again = harness.run(tmp_path / "whole", "predict", whole, "--test", "--json")
    found = json.loads(again.stdout)
    scale = results(whole)["metrics"].get("test_mae", 1)
    assert found["largest_difference"] < CLOSE * scale
    begun = finished(tmp_path / "parts", words(name, epochs=1))
    more = setting("trainer.max_epochs=2")
    harness.run(tmp_path / "parts", "resume", begun, *more).is_told(0)
    assert outcome(harness.newest_run(tmp_path / "parts", name)) == outcome(whole)


@pytest.mark.parametrize("name", ["cifar100", "imdb-dense", "imdb-lstm"])
def test_half_precision(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path, words(name, "trainer.precision=bf16-mixed", epochs=1))
    used, agreement = map(results(run)["accelerator"].get, ("used", "agreement"))
    assert used == GPU and 0 < agreement["error"] <= agreement["bound"]


def test_a_hidden_gpu_is_replaced_by_the_cpu(tmp_path: Path) -> None:
    command = [*smoke(NETWORKS[0]), "--accelerator", GPU]
    done = harness.run(tmp_path, *command, CUDA_VISIBLE_DEVICES="").is_told(0)
    report = results(harness.newest_run(tmp_path, NETWORKS[0]))["accelerator"]
    assert report["used"] == "cpu" and report["reason"] in done.stderr
