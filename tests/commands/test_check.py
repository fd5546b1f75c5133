"""`dlrun runs check` finds every damage, and agrees with `dlrun runs list`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlrun.commands.list_runs import check, list_runs
from tests.conftest import Dlrun, smoke

RUNS, NAME = Path(__file__).parents[1] / "run_folder" / "runs_0_2", "imdb-dense"


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
    assert done.returncode == 1 and "edited since the run: optimizer.lr" in done.stderr
    for name in ("config.yaml", "results.json", "environment.json", "summary.txt"):
        copy = shutil.copytree(run, run.with_name(f"without-{name}"))
        (copy / name).unlink()
    done = forked("runs", "check")
    assert done.returncode == 1
    assert "11 runs, 10 damaged" in done.stderr
    assert f"{run.name}: whole" in done.stdout


def test_check_and_list_agree_on_what_is_damaged(tmp_path: Path, capsys: Any) -> None:
    killed, whole = (next((RUNS / NAME).glob(f"*-{how}")) for how in ("killed", "finished"))
    runs = tmp_path / "runs" / NAME

    def damaged(source: Path, *names: str, how: Callable[[Path], object] = Path.unlink) -> Path:
        number = len(list(runs.glob("*")))
        copy = shutil.copytree(source, runs / f"20260101T{number:06}Z-{how.__name__}")
        for name in names:
            how(copy / name)
        return copy

    def emptied(file: Path) -> None:
        file.write_text("")

    def a_folder(file: Path) -> None:
        file.unlink()
        file.mkdir()

    bad = [
        damaged(whole, "config.yaml", "results.json"),
        damaged(whole, *(file.name for file in whole.iterdir())),
        *(
            damaged(whole, name, how=how)
            for name in ("config.yaml", "results.json", "environment.json")
            for how in (emptied, a_folder)
        ),
        damaged(killed, "checkpoint", "checkpoint.previous"),
    ]
    good = [damaged(whole), damaged(killed), damaged(whole, "checkpoint", "checkpoint.previous")]
    (runs / "notes").mkdir()
    assert check(None, runs_dir=tmp_path / "runs") == 1
    said = capsys.readouterr()
    assert all(f"{folder.name}: " in said.err for folder in bad)
    assert all(f"{folder.name}: whole" in said.out for folder in good)
    list_runs(json=True, runs_dir=tmp_path / "runs")
    problems = {one["folder"]: one["problem"] for one in json.loads(capsys.readouterr().out)}
    assert {folder for folder, problem in problems.items() if problem} == {
        str(folder) for folder in (*bad, runs / "notes")
    }
    assert [check(str(folder), runs_dir=tmp_path / "runs") for folder in bad] == [1] * len(bad)
    assert [check(str(folder), runs_dir=tmp_path / "runs") for folder in good] == [0] * len(good)


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
