"""The environment that a run records."""

from pathlib import Path

import pytest

from dlrun import __version__
from dlrun.run_folder import environment
from dlrun.run_folder.record import read_run_environment
from dlrun.system.resources import usable_cores
from tests.run_folder.making import seal


def test_environment_says_what_is_needed_to_repeat(tmp_path: Path) -> None:
    about = environment.describe_environment("dlrun")
    seal(tmp_path / "environment.json", {"format": 1} | about)
    found = read_run_environment(tmp_path)
    assert found.packages["torch"]
    assert found.packages == environment.package_versions()
    assert found.threads == usable_cores() >= 1
    assert found.code == environment.code_version("dlrun")
    wanted = {"python", "dlrun", "git_commit", "platform", "processor", "command", "folder"}
    assert wanted <= about.keys()


def test_code_is_a_version_a_commit_and_the_version_of_an_experiments_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "_git_commit", lambda: "0123456789abcdef")
    assert environment.code_version("dlrun") == f"{__version__}+0123456789ab"
    assert environment.code_version("rich").startswith(f"{__version__}+0123456789ab, rich ")
    monkeypatch.setattr(environment, "_git_commit", lambda: None)
    assert environment.code_version("dlrun") == __version__
    assert environment.code_version("not_installed") == __version__
