"""Tables of the authors' package by name: `dlrun table-linear islp:Default ...`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import dlrun as package
from dlrun.api import Run
from dlrun.data.tables_of_islp import path_of_table
from tests.conftest import ROOT, Dlrun, Hide, Patch, setting
from tests.experiments.use import latest

CARS = ROOT / "examples" / "own" / "cars.csv"
WORDS = ["table-linear", "islp:Cars", "data.target=price"]
NAMES = ["Auto", "Carsales", "Cars", "Zebra"]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Patch) -> Path:
    """Install a package that looks like islp for this process."""
    folder = tmp_path_factory.mktemp("site")
    data = folder / "ISLP" / "data"
    data.mkdir(parents=True)
    (folder / "ISLP" / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    for name in NAMES:
        (data / f"{name}.csv").write_bytes(CARS.read_bytes())
    (data / "Array.npy").touch()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def installed(site: Path) -> dict[str, str]:
    """The environment of processes in which the package is installed."""
    there = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(there)}


def shown_path(cli: Dlrun, *words: str) -> str:
    shown: dict[str, Any] = json.loads(cli(*words, "--dry-run", "--json").is_told(0).stdout)
    return str(shown["data"]["path"])


def test_a_name_stays_a_name_unless_a_file_has_it(cli: Dlrun, tmp_path: Path, site: Path) -> None:
    assert shown_path(cli, *WORDS) == "islp:Cars"
    (tmp_path / "mine.yaml").write_text("data: {path: islp:Cars, test: islp:Auto, target: price}")
    assert shown_path(cli, "table-boosting", "--config", "mine.yaml") == "islp:Cars"
    file = tmp_path / "islp:Cars"
    file.write_bytes(CARS.read_bytes())
    assert shown_path(cli, *WORDS) == str(file)


def test_an_unknown_name_tells_the_names_the_nearest_first(cli: Dlrun, site: Path) -> None:
    for name in ("islp:cars", "islp:Carz", "islp:Cars.csv", "islp:../data/Cars", "islp:"):
        cli("table-linear", name, "data.target=price").is_told(2, name, *NAMES)
    said = cli("table-linear", "islp:cars", "data.target=price").is_told(2, "data.path").stderr
    assert said.index("Cars,") < said.index("Carsales") < said.index("Zebra")
    assert "Array" not in said
    cli(*WORDS, "data.test=islp:Carz").is_told(2, "data.test")
    cli("text-dense", "islp:Cars").is_told(2, "no such file")


def test_without_the_package_the_remedy_is_told(cli: Dlrun, without_package: Hide) -> None:
    without_package("ISLP")
    cli(*WORDS).is_told(2, "islp:Cars", "pip install --no-deps islp")
    assert path_of_table(Path("islp:Cars")) == Path("islp:Cars")


def test_a_run_repeats_from_another_folder(
    forked: Dlrun, tmp_path: Path, installed: dict[str, str]
) -> None:
    forked(*WORDS, **installed).is_told(0)
    run = Run.open(latest(tmp_path, "table-linear"))
    assert run.record.config["data"]["path"] == "islp:Cars"
    forked("verify", run.folder, **installed).is_told(0)
    forked("predict", run.folder, "--csv", "islp:Cars", "--out", "a.csv", **installed).is_told(0)
    forked("predict", run.folder, "--csv", CARS, "--out", "b.csv").is_told(0)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    forked("predict", run.folder, "--csv", "islp:Carz", **installed).is_told(2, "--csv", "Cars")
    forked("table-linear", CARS, *setting("data.target=price")).is_told(0)
    of_file = Run.open(latest(tmp_path, "table-linear"))
    assert of_file.record.data_digest == run.record.data_digest
    forked("sweep", "table-linear,table-lasso", *WORDS[1:], "--folds", "2", **installed).is_told(0)


def test_python_takes_a_name(tmp_path: Path, site: Path) -> None:
    runs = tmp_path / "runs"
    run = package.run("table-linear", "islp:Cars", target="price", runs_dir=runs, quiet=True)
    assert run.record.config["data"]["path"] == "islp:Cars"


def test_a_script_reads_the_file_of_this_machine(cli: Dlrun, site: Path) -> None:
    script = cli("script", *WORDS).is_told(0).stdout
    assert script.startswith("# The same as `dlrun table-linear islp:Cars ")
    assert f'PATH = "{site / "ISLP" / "data" / "Cars.csv"}"' in script
