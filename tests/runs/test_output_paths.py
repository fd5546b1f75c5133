"""Output files: named where a file can be, and never in place of a run's file."""

import os
from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.runs.output_paths import check_output_path
from tests.conftest import Dlrun, Patch, setting
from tests.experiments.use import finished


@pytest.mark.parametrize("name", [".", "no/where", "pipe", "link", "x" * 300])
def test_where_no_file_can_be(tmp_path: Path, monkeypatch: Patch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="^--out "):
        check_output_path("--out", Path(name), force=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "pipe"]


def files_below(folder: Path) -> dict[Path, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and ".output" not in file.parts]
    return {file: file.read_bytes() for file in files}


def test_no_output_replaces_a_file_of_a_run(forked: Dlrun, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("x,y\n" + "".join(f"{x},{2 * x % 7}\n" for x in range(40)))
    run = finished(tmp_path, ["table-linear", "own.csv", "data.target=y", "--name", "own"])
    forked("sweep", "hitters-linear", *setting("data.source=sample"), "--seeds", "1,").is_told(0)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    (run / "inside").mkdir()
    (tmp_path / "folder").symlink_to(run)
    (tmp_path / "new.csv").write_text("x\n1\n")
    (tmp_path / "page.html").write_text('<meta name="generator" content="dlrun report">')
    protected = [run / "results.json", run / "inside" / "new.txt", sweep / "report.html"]
    protected += [tmp_path / "folder" / "notes.json"]
    before = files_below(tmp_path)
    table = ["predict", "own", "--csv", "new.csv"]
    commands = [table, ["report", "own"]]
    for out, command in zip(protected, commands * 2, strict=True):
        forked(*command, "--out", out, "--force").is_told(2, ": is ")
    forked("new", "my-net", "--into", run).is_told(2, "is in the folder of a run")
    assert files_below(tmp_path) == before
    forked("report", "own", "--out", "page.html").is_told(0)
    forked(*table, "--out", "runs/hitters-linear/page.csv").is_told(0)
