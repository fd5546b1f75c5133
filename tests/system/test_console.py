"""What leaves for the terminal, however hostile."""

import re
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from dlrun.system.console import Screen
from dlrun.system.text import shorten_paths
from tests.conftest import Out, Patch

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b31m\u202eb"


def test_no_control_character_is_shown(capsys: Out) -> None:
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE))
    screen = Screen()
    for show in (screen.show, screen.out.print, screen.err.print):
        for what in (HOSTILE, Text(HOSTILE), table):
            show(what)
    for say in (screen.note, screen.warn, screen.fail):
        say(f"two\n{HOSTILE}")
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "red" in text and "b" in text
        assert all(line.isprintable() for line in text.split("\n"))
    assert "two\na" in said.err


def test_paths_here_are_relative(tmp_path: Path, monkeypatch: Patch, capsys: Out) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "a b"
    for text in (f"{folder}: damaged", f"run '{folder}' --out={folder}", f"({folder})"):
        assert shorten_paths(text) == text.replace(str(folder), "runs/a b")
    for text in (f"file://{folder}", f"/elsewhere{folder}", f"{tmp_path}", f"{tmp_path}-2/a"):
        assert shorten_paths(text) == text
    screen = Screen()
    for say in (screen.note, screen.fail, screen.show):
        say(str(folder))
    assert str(tmp_path) not in "".join(capsys.readouterr())
    monkeypatch.chdir("/")
    for text in (str(folder), "https://example.org"):
        assert shorten_paths(text) == text


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("what", "total", "unit", "done", "shown"),
    [
        ("classifying", 12_345, "steps", 1234, "1,234/12,345 steps elapsed 0:00:00 left -:--:--"),
        ("a[b]c.tar.gz", 84.1, "MB", 84.1, "84/84 MB elapsed 0:00:00 left 0:00:00"),
    ],
)
def test_a_bar_fits_80_columns_and_names_its_times(
    capsys: Out, what: str, total: Any, unit: str, done: float, shown: str
) -> None:
    with Screen().progress(what, total, unit) as bar:
        bar.to(done)
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err))
    last = [frame for frame in frames if frame.startswith(what)][-1]
    assert re.sub(r"[━╸╺ ]+", " ", last.removeprefix(what)).strip() == shown
    assert len(last) <= 80


def test_of_many_steps_few_lines_are_shown(capsys: Out, caplog: pytest.LogCaptureFixture) -> None:
    """And the log has all."""
    with caplog.at_level("INFO", "dlrun"), Screen().progress("path", 50, "steps") as bar:
        for n in range(1, 51):
            bar.step(n, f"line {n}")
    lines = [f"line {n}" for n in range(1, 51)]
    assert [record.message for record in caplog.records] == lines
    assert capsys.readouterr().err.splitlines() == [lines[0], *lines[2::3], lines[-1]]
