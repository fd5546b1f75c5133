"""The first files of a run."""

import pkgutil
import signal
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.experiments.saved_run import Run
from tests.conftest import NETWORKS


@pytest.mark.parametrize("written", ["environment.describe_environment", "write_run_record"])
def test_a_run_stopped_among_its_first_files_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    name = f"dlrun.execution.run_recorder.{written}"
    original = pkgutil.resolve_name(name)

    def stop(*args: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(name, stop)
    with pytest.raises(KeyboardInterrupt):
        dlrun.run(NETWORKS[0], data={"source": "sample"}, quiet=True, runs_dir=tmp_path)
    run = Run.open(f"{NETWORKS[0]}/latest", tmp_path)
    assert run.state == "interrupted" and run.config.seed == 0
