"""`dlrun runs check`."""

import json
import shutil
from pathlib import Path

from tests.conftest import Dlrun, smoke


def test_a_whole_run_and_each_damage(forked: Dlrun, tmp_path: Path) -> None:
    assert forked(*smoke("imdb-dense")).returncode == 0
    (run,) = (tmp_path / "runs" / "imdb-dense").glob("*Z-*")
    done = forked("runs", "check", "latest")
    assert (done.returncode, done.stdout) == (0, f"{run}: whole (finished, 9 checked files)\n")
    for name in ("metrics.csv", "weights.pt", "learning_curves.png", "checkpoint", "assets.json"):
        copy = shutil.copytree(run, run.with_name(f"copy-{name}"))
        raw = bytearray((copy / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (copy / name).write_bytes(raw)
        done = forked("runs", "check", copy)
        assert done.returncode == 1
        assert f"{copy / name}: damaged" in done.stderr.replace("\n", "")
    copy = shutil.copytree(run, run.with_name("edited"))
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("lr: 0.001", "lr: 0.009"))
    done = forked("runs", "check", copy)
    assert done.returncode == 1 and "edited: optimizer.lr: not as it ran" in done.stderr
    for name in ("config.yaml", "results.json", "environment.json", "summary.txt"):
        copy = shutil.copytree(run, run.with_name(f"without-{name}"))
        (copy / name).unlink()
    done = forked("runs", "check")
    assert done.returncode == 1
    assert "11 runs, 10 damaged" in done.stderr
    assert f"{run.name}: whole" in done.stdout


def test_a_run_of_version_0_1_is_readable(forked: Dlrun, tmp_path: Path) -> None:
    assert forked(*smoke("imdb-dense")).returncode == 0
    (run,) = (tmp_path / "runs" / "imdb-dense").glob("*Z-*")
    record = json.loads((run / "results.json").read_text())
    old = {key: record[key] for key in ("experiment", "status", "metrics", "seconds")}
    (run / "results.json").write_text(json.dumps(old))
    (run / "checkpoint").unlink()
    done = forked("runs", "check", "latest")
    assert (done.returncode, done.stdout) == (
        0,
        f"{run}: readable, but dlrun 0.1 kept no checksums\n",
    )


def test_no_runs(forked: Dlrun) -> None:
    done = forked("runs", "check")
    assert done.returncode == 2
    assert "no runs here" in done.stderr
