"""The built package: what its files hold, and that it works without a checkout."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from dlrun.runs.environment import code_hashes
from dlrun.system.commit import describe_commit
from tests.conftest import NAMES, ROOT, Ended, clean_environment, python

SMOKE = Path("dlrun", "configs", "smoke", "imdb-dense.yaml")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    return build(tmp_path_factory.mktemp("dist"))


def build(folder: Path) -> Path:
    options = "--no-isolation", "--outdir", folder, ROOT
    python(folder, "-m", "build", *options, SOURCE_DATE_EPOCH="1700000000").is_told(0)
    return folder


def kept_by_git(*folders: str) -> set[str]:
    """The files of this tree that git has, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_has_the_code_the_configs_and_the_scripts(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith("/METADATA")]
        told = BytesParser().parsebytes(archive.read(metadata))
    about = {name for name in names if ".dist-info/" in name}
    code = {name.removeprefix("src/") for name in kept_by_git("src")}
    others = {name.removeprefix("examples/") for name in kept_by_git("configs", "examples/plain")}
    assert names - about == code | {"dlrun/commit.txt"} | {f"dlrun/{name}" for name in others}
    assert {"dlrun/py.typed", "dlrun/reports/page.html", SMOKE.as_posix()} <= names
    assert {name.partition("/")[2] for name in about} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip
    assert told["License-Expression"] == "MIT" and told["Keywords"] and told["Author"]
    assert told["Description-Content-Type"] == "text/markdown"


def test_the_sdist_has_the_files_that_git_has(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == kept_by_git() | {"PKG-INFO", "src/dlrun/commit.txt"}


def test_two_builds_are_equal(built: Path, tmp_path: Path) -> None:
    again = {file.name: file.read_bytes() for file in build(tmp_path).iterdir()}
    assert len(again) == 2
    assert again == {file.name: file.read_bytes() for file in built.iterdir()}


@pytest.fixture(scope="module")
def program(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new environment, which has the wheel and the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = built.glob("*.whl")
    options = "--no-deps", "--no-index", "--no-compile", "--quiet", wheel
    python(folder, "-m", "pip", "--python", programs / "python", "install", *options).is_told(0)
    (configs,) = folder.rglob(str(SMOKE))
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    (configs.parents[3] / "shared.pth").write_text("\n".join(shared))
    return programs / "dlrun"


def installed(program: Path, folder: Path, *arguments: object) -> Ended:
    """Run the installed command; nothing says where the checkout is."""
    environment = clean_environment()
    del environment["PYTHONPATH"]
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([program, *map(str, arguments)], check=False, **options)
    return Ended(done.returncode, done.stdout, done.stderr).is_told(0)


def test_the_wheel_works_without_a_checkout(program: Path, tmp_path: Path) -> None:
    version, folder = installed(program, tmp_path, "--version").stdout.splitlines()
    assert version.endswith(f", commit {describe_commit()}") and Path(folder).name == "dlrun"
    told = installed(program, tmp_path, "--help").stdout
    assert all(name in told for name in NAMES)
    shipped = python(tmp_path, "-m", "dlrun", "config", "imdb-dense").stdout
    assert installed(program, tmp_path, "config", "imdb-dense").stdout == shipped
    script = (ROOT / "examples/plain/imdb_dense.py").read_text(encoding="utf-8")
    assert installed(program, tmp_path, "script", "imdb-dense").stdout == script
    (smoke,) = program.parents[1].rglob(str(SMOKE))
    installed(program, tmp_path, "imdb-dense", "--config", smoke)
    (run,) = (tmp_path / "runs" / "imdb-dense").glob("*Z-*")
    assert json.loads((run / "environment.json").read_text())["code"] == code_hashes("dlrun")
    installed(program, tmp_path, "verify", run)
    installed(program, tmp_path, "new", "my-net")
    assert (tmp_path / "my-net" / "src" / "my_net" / "experiment.py").is_file()
