"""`dlrun runs check` finds every damage, and agrees with `dlrun runs list`."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from dlrun.commands.check_clean import check
from dlrun.commands.list_runs import list_runs
from tests.commands.run_folders import change_record
from tests.conftest import Done, Out
from tests.experiments.use import flip

RUNS, NAME = Path(__file__).parents[1] / "run_folder" / "runs_0_2", "imdb-dense"


def test_each_changed_file_of_a_run_is_named(tmp_path: Path, done: Done, capsys: Out) -> None:
    whole, number = done(NAME), 0

    def said(expected: int, change: Callable[[Path], object]) -> str:
        nonlocal number
        number += 1
        copy = shutil.copytree(whole, tmp_path / NAME / str(number))
        change(copy)
        assert check(str(copy), runs_dir=tmp_path) == expected
        return capsys.readouterr()[expected].replace("\n", "")

    def edit(copy: Path) -> None:
        text = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(text.replace("lr: 0.001", "lr: 0.009"))

    assert "whole (finished, 9 checked files)" in said(0, lambda copy: None)
    for name in ("metrics.csv", "weights.pt", "learning_curves.png", "checkpoint", "assets.json"):
        assert f"{name}: damaged" in said(1, lambda copy: flip(copy / name, at=100))  # noqa: B023

    def train_longer(copy: Path) -> None:
        text = (copy / "config.yaml").read_text()
        (copy / "config.yaml").write_text(re.sub("max_epochs: .*", "max_epochs: 99", text))

    def remove_digest(copy: Path) -> None:
        record = json.loads((copy / "results.json").read_text())
        del record["sha256"]
        (copy / "results.json").write_text(json.dumps(record))

    assert "results.json: edited" in said(1, remove_digest)
    assert "edited since the run: optimizer.lr" in said(1, edit)
    assert "edited since the run: trainer.max_epochs" in said(1, train_longer)
    assert "summary.txt: " in said(1, lambda copy: (copy / "summary.txt").unlink())
    assert "written by an older dlrun" in said(1, lambda copy: change_record(copy, "format"))
    assert "null byte" in said(1, lambda copy: change_record(copy, files={"\0": "0"}))


def test_check_and_list_agree_on_what_is_damaged(tmp_path: Path, capsys: Out) -> None:
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
    assert "12 runs, 9 damaged" in said.err
    list_runs(json=True, runs_dir=tmp_path / "runs")
    problems = {one["folder"]: one["problem"] for one in json.loads(capsys.readouterr().out)}
    assert {folder for folder, problem in problems.items() if problem} == {
        str(folder) for folder in (*bad, runs / "notes")
    }
    for folder in (*bad, *good):
        assert check(str(folder), runs_dir=tmp_path / "runs") == (folder in bad)
