"""TensorBoard, MLflow and W&B have every step once; read back with their own packages."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlrun.runs.run import Run
from tests import harness
from tests.conftest import Dlrun, Hide
from tests.experiments.test_resume import wait_for_steps
from tests.experiments.use import results

DENSE, LASSO = "imdb-dense", "imdb-lasso"
Points = dict[str, list[tuple[int, float]]]


def tensorboard(run: Path) -> Points:
    """Each curve's steps and values."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def mlflow(uri: str, experiment: str) -> tuple[Any, Points]:
    """The newest run of an experiment, and each curve's steps and values."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run, *_ = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    points = {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    return run, points


def without_times(run: Path) -> dict[str, list[float]]:
    return {name: column for name, column in Run.open(run).table.items() if name != "seconds"}


def are_the_steps(points: Points, run: Path) -> None:
    found = Run.open(run)
    assert "epoch" not in points
    for name, values in found.table.items():
        if name != "epoch":
            steps = list(enumerate(values, start=1))
            assert points[name] == [(step, pytest.approx(one, rel=1e-6)) for step, one in steps]
    for name, value in found.record.metrics.items():
        ((_, result),) = points[f"result/{name}"]
        assert result == pytest.approx(value, rel=1e-6)


def killed_and_resumed(folder: Path, words: list[str]) -> Path:
    child = harness.start(folder, *words)
    wait_for_steps(folder / "runs" / words[0], child, 2)
    child.end(after=0)
    harness.run(folder, "resume", "latest").is_told(0)
    return harness.newest_run(folder, words[0])


@pytest.mark.parametrize("name", [DENSE, pytest.param(LASSO, marks=pytest.mark.slow)])
def test_tensorboard_has_each_step_once_and_changes_no_number(tmp_path: Path, name: str) -> None:
    more = ["trainer.max_epochs=20", "optimizer.lr=0.002"] if name == DENSE else []
    words = harness.words(name, "logger=[tensorboard]", *more)
    run = killed_and_resumed(tmp_path / "with", words)
    are_the_steps(tensorboard(run), run)
    plain = tmp_path / "without"
    harness.run(plain, *harness.words(name, *more)).is_told(0)
    other = harness.newest_run(plain, name)
    assert without_times(other) == without_times(run)
    for file in ("weights.pt", "model.npz", "predictions.csv"):
        assert results(other)["files"].get(file) == results(run)["files"].get(file)
    assert not (other / "tensorboard").exists()
    if name == DENSE:
        events = EventAccumulator(str(run / "tensorboard"))
        events.Reload()
        start = "_hparams_/session_start_info"
        assert b"optimizer.lr" in events.SummaryMetadata(start).plugin_data.content
        assert start in events.PluginTagToContent("hparams")


@pytest.mark.slow
def test_mlflow_by_itself_is_a_database_beside_the_runs(tmp_path: Path) -> None:
    words = harness.words(LASSO, "logger=[mlflow, tensorboard]")
    notes = ["--note", "tried", "--tag", "a", "--tag", "b"]
    run = killed_and_resumed(tmp_path, [*words, *notes])
    found, points = mlflow(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}", LASSO)
    are_the_steps(points, run)
    are_the_steps(tensorboard(run), run)
    assert (found.info.run_name, found.info.status) == (run.name, "FINISHED")
    params = found.data.params
    assert (params["seed"], params["data.source"]) == ("0", "sample")
    assert (params["note"], params["tags"], params["folder"]) == ("tried", "['a', 'b']", str(run))
    assert params["code"] == Run.open(run).environment.code
    harness.run(tmp_path, "runs", "check").is_told(0)


def test_a_tracker_that_fails_is_one_warning_and_changes_no_number(tmp_path: Path) -> None:
    harness.run(tmp_path / "plain", *harness.words(LASSO)).is_told(0)
    words = harness.words(LASSO, "logger=[mlflow]")
    ended = harness.run(tmp_path / "failing", *words, MLFLOW_TRACKING_URI="nowhere://here")
    ended.is_told(0, "logger mlflow is not used any more")
    assert ended.stderr.count("warning: ") == 1
    plain, failing = (harness.newest_run(tmp_path / kind, LASSO) for kind in ("plain", "failing"))
    assert without_times(plain) == without_times(failing)
    assert results(plain)["metrics"] == results(failing)["metrics"]


def test_a_missing_package_is_a_config_error(cli: Dlrun, without_package: Hide) -> None:
    without_package("mlflow")
    cli(*harness.words(LASSO, "logger=[mlflow]")).is_told(2, "pip install 'dlrun[mlflow]'")
    cli(*harness.words(LASSO, "logger=[wandbs]")).is_told(2, "did you mean 'wandb'?")
