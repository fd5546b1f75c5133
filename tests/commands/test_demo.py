"""`dlrun demo`: for real where the data are on the machine, on generated data elsewhere."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from dlrun.data.download import packaged_paths
from dlrun.execution.checks import load_experiment_config
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from tests.conftest import Dlrun
from tests.experiments.test_registry import WORKING, plugin, plugins
from tests.reproduction.lab import published

__all__ = ["plugins"]


@pytest.mark.slow
def test_demo_is_for_real_where_the_data_are_on_the_machine(forked: Dlrun, tmp_path: Path) -> None:
    """Its table is in the chapter's order, in 80 columns, and has the book's numbers there only."""
    package = tmp_path / "packages" / "ISLP"
    for file in published("classify-images")["packaged"].values():
        photograph = package.parent / file
        photograph.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 240), "navy").save(photograph)
    (package / "__init__.py").write_text("raise RuntimeError('it is not to be imported')")
    path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = forked(
        "demo", "imdb-lasso", "classify-images", "hitters-linear", PYTHONPATH=path
    ).is_told(0)
    head, *lines = done.stdout[done.stdout.index("\nfit ") + 1 :].splitlines()
    assert head.split() == "fit metric here book notebook data seconds".split()
    assert [line for line in lines if len(line) > 80] == []
    names = [line.split()[0] for line in lines[:2]]
    assert names == ["imdb-lasso", "classify-images"], "as they are named"
    assert re.search(r"classify-images +labels of 6 +\d +6 +4 +real", lines[1])
    assert re.search(r"imdb-lasso +accuracy +0\.\d{4} +generated", lines[0])
    assert re.search(r"hitters-linear +mae .* generated", lines[2])
    assert "pip install" not in done.stdout, "the package is there, though not its table"
    if not packaged_paths("ISLP"):
        without = forked("demo", "classify-images").is_told(0)
        assert "pip install --no-deps islp" in without.stdout and " real" not in without.stdout


def test_the_reviews_of_the_demo_are_the_same_for_all_their_experiments() -> None:
    """So that `dlrun runs compare` can compare them on the same test rows."""
    sizes = set()
    for name in ("imdb-dense", "imdb-lasso", "imdb-lstm"):
        overlays = registry.experiment_entry(name).overlays("smoke", "demo")
        data = load_experiment_config(name, RunSettings(config=overlays)).data_section
        sizes.add((data.source, data.sample_reviews))
    assert len(sizes) == 1


BROKEN = WORKING.replace(
    "        report =", "        raise RuntimeError('a bug')\n        report ="
)


def test_demo_goes_on_after_a_bug(forked: Dlrun, plugins: tuple[Path, Mapping[str, str]]) -> None:
    folder, env = plugins
    for name, code in (("broken", BROKEN), ("count-words", WORKING)):
        plugin(folder, name, code=code)
        smoke = folder / name.replace("-", "_") / "configs" / "smoke"
        smoke.mkdir()
        (smoke / f"{name}.yaml").write_text("words: 2\n")
    done = forked("demo", "broken", "count-words", **env)
    table = done.stdout[done.stdout.index("\nfit ") + 1 :].splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert table[1].split() == ["broken", "failed"]
    assert table[2].split()[:3] == ["count-words", "words", "2.0000"]
    assert "a bug" in done.stderr
