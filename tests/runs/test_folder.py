"""Run folders: claimed once, written whole, removed alone."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlrun.errors import ConfigError, DlrunError
from dlrun.runs.folder import OutputFolder, check_runs_folder_writable, remove_run
from dlrun.runs.run import scan_folder
from dlrun.system.json_text import to_json
from tests.runs.making import a_run


def test_many_claims_in_the_same_second_share_no_folder(tmp_path: Path) -> None:
    name = "ü_1.5,+-" + "n" * 190
    with ThreadPoolExecutor(20) as pool:
        folders = list(
            pool.map(lambda _: OutputFolder.claim_run(tmp_path, "x", name).path, range(200))
        )
    assert len(set(folders)) == 200 and all(folder.is_dir() for folder in folders)
    assert any(folder.name.endswith(f"Z-{name}") for folder in folders)
    assert (tmp_path / "x" / "latest").resolve() in {folder.resolve() for folder in folders}


def test_a_folder_that_a_user_named_latest_stays(tmp_path: Path) -> None:
    latest = tmp_path / "x" / "latest"
    latest.mkdir(parents=True)
    OutputFolder.claim_run(tmp_path, "x")
    assert latest.is_dir() and not latest.is_symlink() and len([*latest.parent.iterdir()]) == 2


@pytest.mark.parametrize("name", [
    "../x", "", ".", "a.", "a\nb", "a b", "a$(b)", "a\\b", "it's", "a\u202eb", "n" * 201,
])  # fmt: skip
def test_name_that_a_shell_or_a_system_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        OutputFolder.claim_run(tmp_path, "x", name)


def test_runs_folder_that_cannot_be_one(tmp_path: Path) -> None:
    check_runs_folder_writable(tmp_path / "new" / "runs")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("none")
    for name in ("file", "link"):
        for runs in (tmp_path / name, tmp_path / name / "runs"):
            with pytest.raises(ConfigError, match="is not a folder"):
                check_runs_folder_writable(runs)
            for claim in (OutputFolder.claim_run, OutputFolder.claim_sweep):
                with pytest.raises(ConfigError, match="is not a folder"):
                    claim(runs, "x")


def test_a_runs_folder_in_a_run_is_refused_by_its_own_name(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    for runs in (run, run / "new"):
        with pytest.raises(ConfigError, match=f"^--runs-dir {runs}: is in the folder of a run"):
            check_runs_folder_writable(runs)


@pytest.mark.parametrize("damaged", ["results.json", "environment.json"])
def test_a_damaged_run_is_protected_too(tmp_path: Path, damaged: str) -> None:
    run = a_run(tmp_path / "run")
    (run / damaged).write_text("{")
    with pytest.raises(ConfigError, match=f"is in the folder of a run, {run}$"):
        check_runs_folder_writable(run / "new")


def test_plain_files_of_a_users_project_make_no_run_and_no_sweep(tmp_path: Path) -> None:
    for name in ("config.yaml", "run.lock", "results.json", "environment.json", "sweep.json"):
        (tmp_path / name).write_text('{"format": 1, "method": "grid"}')
    check_runs_folder_writable(tmp_path / "runs")
    (tmp_path / "results.json").unlink()
    os.mkfifo(tmp_path / "results.json")
    check_runs_folder_writable(tmp_path / "runs")


def test_a_sweeps_name_is_taken_once(tmp_path: Path) -> None:
    folder = OutputFolder.claim_sweep(tmp_path, "mine")
    assert folder.path == tmp_path / "sweeps" / "mine"
    folder.write("sweep.json", b"{}")
    for name in ("mine", "latest", "a/b"):
        with pytest.raises(ConfigError, match=name):
            OutputFolder.claim_sweep(tmp_path, name)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder.write_text("a.txt", "caf\udce9 \u00e9")  # the name of a file that is not UTF-8
    (tmp_path / ".new-123-weights.pt").write_bytes(b"half")
    folder.remove_temporary_files()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9 \u00e9"


def test_what_is_no_number_in_json_is_null() -> None:
    text = to_json({"loss": float("nan"), "list": [float("inf"), 1], "large": 10**400})
    assert json.loads(text) == {"loss": None, "list": [None, 1], "large": None}


def test_a_run_goes_with_its_files_and_nothing_that_links_point_at(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("")
    run = a_run(tmp_path / "runs" / "x" / "a")
    (run / "sub").mkdir()
    (run / "sub" / "link").symlink_to(treasure)
    (run / "link").symlink_to(treasure / "file")
    remove_run(run)
    assert not run.exists() and (treasure / "file").exists()


def test_a_run_behind_a_link_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path / "elsewhere" / "x" / "a")
    (run / "checkpoint").write_bytes(b"state")
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "a").symlink_to(run)
    with pytest.raises(DlrunError, match="behind a link"):
        remove_run(tmp_path / "runs" / "x" / "a")
    assert (run / "checkpoint").exists() and scan_folder(run).state == "finished"
