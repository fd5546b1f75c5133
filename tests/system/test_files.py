"""Files of the user's own are not overwritten by accident, nor devices by anything."""

import os
from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.system.files import check_output_path, write_atomically


@pytest.mark.parametrize("name", ["", ".", "/", "folder", "no/where", "pipe", "link", "x" * 300])
def test_where_no_file_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo("pipe")
    Path("link").symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="^--out "):
        check_output_path("--out", Path(name), force=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_a_file_that_is_there_is_replaced_by_force_and_an_input_never(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 250)
    check_output_path("--out", file)
    write_atomically(file, b"1")
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    with pytest.raises(ConfigError, match="exists already") as caught:
        check_output_path("--out", file)
    assert caught.value.hint == "--force replaces it"
    check_output_path("--out", file, force=True)
    with pytest.raises(ConfigError, match="is also an input"):
        check_output_path("--out", file, force=True, inputs=[tmp_path / "." / file.name])
