"""Several experiments in one sweep: which words they share, how they are ranked and compared."""

import csv
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from PIL import Image

import dlrun
from dlrun.errors import ConfigError
from tests import harness
from tests.conftest import Dlrun
from tests.experiments.test_own_data import texts
from tests.sweeps.use import planned

MODELS = ["table-boosting", "table-dense"]
BOTH = ",".join(MODELS)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(80, 2))
    rows = [f"{a:.6f},{b:.6f},{a - b / 2:.6f}" for a, b in values]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    return tmp_path


def sweep(folder: Path, *words: object) -> dict[str, Any]:
    done = harness.run(folder, "sweep", *words, "--json").is_told(0)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_models_of_a_table_are_compared_in_pairs_on_the_same_folds(table: Path) -> None:
    words = [BOTH, "t.csv", "data.target=y", "--folds", "5", "--name", "s"]
    found = sweep(table, *words)
    assert [one["experiment"] for one in found["points"]] == [MODELS[0]] * 5 + [MODELS[1]] * 5
    for name in MODELS:
        assert len(list((table / "runs" / name).glob("*Z-s-*"))) == 5
    rows = {row["experiment"]: row for row in found["rows"] if row["metric"] == "valid_mae"}
    best = found["best"]["experiment"]
    (other,) = {*MODELS} - {best}
    assert rows[best]["is_best"] and not rows[other]["is_best"]
    assert rows[best]["mean"] < rows[other]["mean"]
    assert found["second"] == {"experiment": other, "settings": {}}
    values = {
        name: [one["metrics"]["valid_mae"] for one in found["points"] if one["experiment"] == name]
        for name in MODELS
    }
    ends = scipy.stats.ttest_rel(values[other], values[best]).confidence_interval()
    assert rows[other]["interval_of_difference"] == pytest.approx([ends.low, ends.high])
    assert rows[other]["difference"] == pytest.approx(rows[other]["mean"] - rows[best]["mean"])
    assert rows[best]["difference"] is None and rows[best]["seconds"] > 0
    assert found["comparison"]["metric"] == "valid_mae"
    tested = found["test_comparison"]
    errors = {
        name: [one["metrics"]["test_mae"] for one in found["points"] if one["experiment"] == name]
        for name in MODELS
    }
    ends = scipy.stats.ttest_rel(errors[best], errors[other]).confidence_interval()
    assert (tested["metric"], tested["unit"], tested["count"]) == ("test_mae", "fold", 5)
    assert tested["interval_of_difference"] == pytest.approx([ends.low, ends.high])
    compared = json.loads(harness.run(table, "runs", "compare", "s", "--json").is_told(0).stdout)
    assert [(one["name"], len(one["runs"])) for one in compared["columns"]] == [
        (best, 5),
        (other, 5),
    ]
    means = {row["key"]: row["values"] for row in compared["rows"]}
    assert means["test_mae"] == pytest.approx([np.mean(errors[name]) for name in (best, other)])
    (of_configs,) = compared["comparisons"]
    assert (of_configs["config"], of_configs["with"]) == (other, best)
    assert of_configs["difference"] == pytest.approx(-tested["difference"])
    others = [row for row in found["rows"] if row["metric"] != "valid_mae"]
    assert {row["difference"] for row in others} == {None}
    folder = table / "runs" / "sweeps" / "s"
    with (folder / "table.csv").open() as stream:
        written = [row for row in csv.DictReader(stream) if row["metric"] == "valid_mae"]
    assert [row["experiment"] for row in written] == [other, best], "the best is last"
    assert float(written[0]["seconds"]) > 0
    assert float(written[0]["difference"]) == pytest.approx(rows[other]["difference"])
    shown = harness.run(table, "sweep", "--resume", "s").is_told(0).stdout.splitlines()
    assert shown[1].split()[0] == other and shown[2].split()[0] == best
    assert "best" in shown[2].split()
    with Image.open(folder / "comparison.png") as image:
        assert image.format == "PNG"
    page = (folder / "report.html").read_text()
    (plot,) = re.findall(r'<figure class="dots">.*?</svg>', page, re.DOTALL)
    assert plot.count("<circle") == 20, "of 5 folds and 2 models, validation and test"
    harness.run(table, "report", "s", "--out", "again.html").is_told(0)
    assert plot in (table / "again.html").read_text()


def test_the_metric_that_is_named_chooses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    rare = a + rng.normal(size=300) > 2  # the accuracy of many models is the same
    rows = [f"{x:.4f},{int(y)}" for x, y in zip(a, rare, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,y", *rows]) + "\n")
    words = [BOTH, "t.csv", "data.target=y", "data.task=classification", "--seeds", "2"]
    found = sweep(tmp_path, *words, "--name", "s", "--by", "roc_auc")

    def chosen_by(metric: str, better: Callable[[Iterable[float]], float]) -> None:
        means = {
            row["experiment"]: row["mean"]
            for row in found["rows"]
            if row["metric"] == f"valid_{metric}"
        }
        assert set(means) == set(MODELS)
        assert means[found["best"]["experiment"]] == better(means.values())
        assert found["comparison"]["metric"] == f"valid_{metric}"
        assert found["test_comparison"]["metric"] == f"test_{metric}"

    chosen_by("roc_auc", max)
    found = sweep(tmp_path, "--resume", "s", "--by", "valid_log_loss")
    chosen_by("log_loss", min)
    found = sweep(tmp_path, "--resume", "s")  # the choice is part of the plan
    chosen_by("log_loss", min)
    assert sweep(tmp_path, "--resume", "s", "--by", "mae")["best"] is None


@pytest.mark.parametrize("metric", ["test_roc_auc", "auc"])
def test_a_metric_that_cannot_choose(table: Path, cli: Dlrun, metric: str) -> None:
    cli("sweep", BOTH, "t.csv", "data.target=y", "--folds", "2", "--by", metric).is_told(2, metric)
    assert not list(table.glob("runs/table-*"))


def test_texts_validate_on_the_same_rows(tmp_path: Path) -> None:
    texts(tmp_path / "t.csv", ["good", "bad"], 60)
    found = sweep(tmp_path, "text-dense,text-lasso", "t.csv", "--seeds", "2")
    assert found["best"] and not found["warnings"]


def test_keys_vary_in_each_experiment(table: Path) -> None:
    words = ["imdb-dense,imdb-lstm", "batch_size=8,9", "--seeds", "2", "--dry-run", "--json"]
    done = harness.run(table, "sweep", *words).is_told(0)
    about = json.loads(done.stdout)
    assert [one["experiment"] for one in about["experiments"]] == ["imdb-dense", "imdb-lstm"]
    assert len(about["points"]) == 8
    for name in ("imdb-dense", "imdb-lstm"):
        of_name = [one["settings"] for one in about["points"] if one["experiment"] == name]
        pairs = [(one["batch_size"], one["seed"]) for one in of_name]
        assert pairs == [(8, 0), (8, 1), (9, 0), (9, 1)]


def test_nothing_but_the_experiment_may_vary(table: Path, cli: Dlrun) -> None:
    (table / "more.yaml").write_text("data: {target: y}\n")
    words = [BOTH, "t.csv", "--config", "more.yaml", "--dry-run", "--json"]
    about = json.loads(cli("sweep", *words).is_told(0).stdout)
    assert [one["settings"] for one in about["points"]] == [{}, {}]
    cli("sweep", "table-boosting", "t.csv", "data.target=y").is_told(2, "nothing varies")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table-boosting,table-densee", "t.csv"], ["table-densee", "'table-dense'"]),
        (["x,y", "t.csv"], ["'x'", "'y'"]),
        (["table-dense,table-dense", "t.csv"], ["table-dense: named twice"]),
        (["table-dense,", "t.csv"], ["no experiment ''"]),
        (
            [BOTH, "t.csv", "model.hidden=[50]", "seed=x"],
            ["2 errors", "\n  seed=x", "table-boosting: model.hidden=[50]", "leave out"],
        ),
        ([BOTH, "t.csv", "optimizer.lr=0.1,0.2"], ["table-boosting: optimizer.lr=0.1"]),
        (["table-dense,imdb-dense", "t.csv"], ["'t.csv'", "imdb-dense takes no path"]),
        (["table-dense,nyse-linear", "--folds", "5"], ["nyse-linear"]),
        ([BOTH, "t.csv", "--trials", "3", "--space", "seed=1|2", "--sampler", "tpe"], ["tpe"]),
    ],
)
def test_what_does_not_fit_all_experiments(
    table: Path, cli: Dlrun, words: list[str], told: list[str]
) -> None:
    target = [] if "imdb" in words[0] or "nyse" in words[0] else ["data.target=y"]
    cli("sweep", *words, *target).is_told(2, *told)
    assert not (table / "runs" / "sweeps").exists()


def test_an_error_of_all_experiments_is_told_once(table: Path, cli: Dlrun) -> None:
    done = cli("sweep", BOTH, "none.csv", "data.target=y").is_told(2, "none.csv")
    assert done.stderr.count("no such file") == 1 and "table-dense:" not in done.stderr


def test_one_of_all_models_of_a_table_is_chosen_by_the_same_rows(table: Path) -> None:
    words = ["table-linear,table-lasso,table-boosting,table-dense", "t.csv", "data.target=y"]
    found = sweep(table, *words, "--folds", "2")
    assert found["best"]["experiment"] in ("table-linear", "table-lasso")
    assert not found["warnings"]
    folders = [table / one["run"] for one in found["points"]]
    splits = [json.loads((one / "results.json").read_text())["split"] for one in folders]
    assert len({(split["fold"], split["validation_digest"]) for split in splits}) == 2


def test_a_config_without_validation_rows_is_named(table: Path) -> None:
    found = sweep(table, "hitters-linear,hitters-dense", "data.source=sample", "--seeds", "1")
    assert found["best"] is None and "hitters-linear" in found["warnings"][0]
    assert "runs compare" in found["warnings"][1]


def test_missing_runs_of_all_experiments_are_run_again(table: Path) -> None:
    words = [BOTH, "t.csv", "data.target=y", "--seeds", "2", "--name", "s", "figures=false"]
    whole = sweep(table, *words)
    last = Path(whole["points"][-1]["run"])
    first = Path(whole["points"][0]["run"])
    for run in (first, last):
        harness.run(table, "runs", "rm", table / run, "--yes").is_told(0)
    again = sweep(table, "--resume", "s")
    assert [one["metrics"] for one in again["points"]] == [
        one["metrics"] for one in whole["points"]
    ]
    assert again["points"][1]["run"] == whole["points"][1]["run"]
    assert "figure" not in again["files"]


def test_in_python_a_sequence_of_names(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table)
    results = dlrun.sweep(MODELS, "t.csv", target="y", folds=2, quiet=True)
    assert {row["experiment"] for row in results.rows} == {*MODELS}
    assert [run.record.experiment for run in results.runs] == [MODELS[0]] * 2 + [MODELS[1]] * 2
    with pytest.raises(ConfigError, match="named twice"):
        dlrun.sweep([MODELS[0], MODELS[0]], "t.csv", target="y", folds=2)


def test_labels_name_the_experiment_if_there_are_several(table: Path) -> None:
    one = planned("data.source=sample", experiment="imdb-dense", seeds="1")
    two = planned("data.source=sample", experiment="imdb-dense,imdb-lasso", seeds="1")
    assert [one.label(point) for point in one.points] == ["seed=0"]
    assert [two.label(point) for point in two.points] == ["imdb-dense seed=0", "imdb-lasso seed=0"]
