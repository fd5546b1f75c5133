"""The environment that a run records."""

from pathlib import Path

from dlrun.runs import environment
from dlrun.runs.checksummed_json import to_checksummed_json
from dlrun.runs.record import read_run_environment
from dlrun.system.resources import usable_cores
from tests.conftest import Patch


def test_environment_says_what_is_needed_to_repeat(tmp_path: Path) -> None:
    found = environment.describe_environment("dlrun")
    (tmp_path / "environment.json").write_text(to_checksummed_json(found))
    assert read_run_environment(tmp_path) == found
    assert found.packages["torch"] and found.packages == environment.package_versions()
    assert found.threads == usable_cores() >= 1
    assert found.code == environment.code_hashes("dlrun")
    assert all((found.python, found.dlrun, found.platform, found.processor, found.command))


def test_code_changes_with_each_py_file(tmp_path: Path, monkeypatch: Patch) -> None:
    """With its name and its content."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "own_package"
    (package / "part").mkdir(parents=True)
    codes = []

    def code_now() -> str:
        environment.code_digest.cache_clear()
        return environment.code_hashes("own_package")

    for name in ("__init__.py", "part/a.py", "part/a.py", "part/b.py"):
        (package / name).write_text(f"a = {len(codes)}")
        codes.append(code_now())
    (package / "part" / "b.py").rename(package / "b.py")
    codes.append(code_now())
    assert len({*codes}) == 5
    (package / "notes.txt").write_text("no code")
    (package / ".#b.py").symlink_to("nobody")  # an editor's lock
    assert code_now() == codes[-1]
    assert codes[-1].startswith(f"{environment.code_hashes('dlrun')}, own_package ")
