"""`dlrun demo`: for real where the data are on the machine, on generated data elsewhere."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions
from tests.conftest import Dlrun, Hide
from tests.experiments.plugins import WORKING, Plugins, plugin
from tests.reproduction.lab import published


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
    names = "imdb-lasso", "classify-images", "hitters-linear"
    done = forked("demo", *names, PYTHONPATH=path).is_told(0)
    head, *lines = done.stdout.splitlines()[1:]
    assert head.split() == "fit metric here book notebook".split()
    assert [line for line in (done.stdout + done.stderr).splitlines() if len(line) > 80] == []
    assert [line.split()[0] for line in lines[:2]] == ["imdb-lasso", "classify-images"]
    assert re.search(r"imdb-lasso +accuracy +0\.\d{4} \(generated\)$", lines[0])
    assert re.search(r"classify-images +first labels of 6 +\d \(\*\) +6 +4$", lines[1])
    assert re.search(r"hitters-linear +mae .* \(generated\)$", lines[2])
    assert len(done.stderr.splitlines()) == 3, "a line for each fit"
    assert "pip install" not in done.stderr, "the package is there, though not its table"
    assert (tmp_path / "runs" / "demo.html").is_file()


def test_demo_says_that_the_tables_are_missing(cli: Dlrun, without_package: Hide) -> None:
    without_package("ISLP")
    done = cli("demo", "hitters-linear").is_told(0)
    assert "pip install --no-deps islp" in done.stdout
    assert done.stderr == "[1/1] hitters-linear\n"


def test_the_reviews_of_the_demo_are_the_same_for_all_their_experiments() -> None:
    """So that `dlrun runs compare` can compare them on the same test rows."""
    sizes = set()
    for name in ("imdb-dense", "imdb-lasso", "imdb-lstm"):
        overlays = registry.shipped_config(name).overlays("smoke", "demo")
        data: Any = load_experiment_config(find_experiment(name), RunOptions(config=overlays)).data
        sizes.add((data.source, data.sample_reviews))
    assert len(sizes) == 1


BROKEN = WORKING.replace("report =", "raise RuntimeError('a bug')\n        report =")


def test_demo_goes_on_after_a_bug(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    for name, code in (("broken", BROKEN), ("count-words", WORKING)):
        plugin(folder, name, code=code)
        smoke = folder / name.replace("-", "_") / "configs" / "smoke"
        smoke.mkdir()
        (smoke / f"{name}.yaml").write_text("words: 2\n")
    done = forked("demo", "broken", "count-words", **env).is_told(1, "a bug")
    table = done.stdout.splitlines()[2:]
    assert table[0].split() == ["broken", "failed"]
    assert table[1].split()[:3] == ["count-words", "words", "2.0000"]


def test_demo_names_an_experiment_that_cannot_be_imported(forked: Dlrun, plugins: Plugins) -> None:
    """Also one without a small config, which the demo would not run if it were whole."""
    folder, env = plugins
    plugin(folder, "broken", config="raise RuntimeError('not whole')")
    plugin(folder, "count-words")
    (folder / "count_words" / "configs" / "smoke").mkdir()
    (folder / "count_words" / "configs" / "smoke" / "count-words.yaml").write_text("words: 2\n")
    done = forked("demo", "broken", "count-words", **env).is_told(1, "not whole")
    table = done.stdout.splitlines()[2:]
    assert table[0].split() == ["broken", "failed"]
    assert table[1].split()[:3] == ["count-words", "words", "2.0000"]
