"""The page's first table: each config beside the book's number, and what weakens the result."""

import math
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments import registry
from dlrun.reports import warning_tags
from dlrun.reports.comparison import complete_run_sections
from dlrun.reports.overview_table import Overview, make_overview_table
from dlrun.reports.run_section import RunSection
from dlrun.reports.warning_tags import WarningTag, warning_tags_as_html
from dlrun.runs.groups import group_runs
from dlrun.runs.run import Run
from tests.reports.example_runs import a_classification, config, sections


def overview(shown: list[RunSection]) -> Overview:
    groups = group_runs([section.run for section in shown])
    by_folder = {section.run.folder: section for section in shown}
    complete_run_sections(groups, by_folder)
    return make_overview_table(groups, by_folder)


def run(folder: Path, name: str = "r", experiment: str = "e", seed: int = 0, **more: Any) -> Run:
    return a_classification(folder / experiment / name, seed=seed, **more)


BEST = {"metric": "valid_loss", "epoch": 2, "value": 0.5}
ON_TEST = {"config": {"seed": 0, "data": {"validation": "test"}}}
OTHERS = {"reference_differs": "not the book's data"}


@pytest.mark.parametrize(
    ("tag", "record", "harmless"),
    [
        (warning_tags.NOT_COMPARED, OTHERS, {}),
        (warning_tags.GENERATED, {"source": "sample"} | OTHERS, {"source": "x"}),
        (
            warning_tags.CHOSEN_BY_TEST,
            {"weights_epoch": 2} | ON_TEST,
            {"weights_epoch": 3} | ON_TEST,
        ),
        (warning_tags.FAILED, {"status": "failed"}, {}),
        (warning_tags.UNFINISHED, {"status": "interrupted"}, {}),
        (warning_tags.NOT_RANKED, {"metrics": {"test_ece": 0.5}}, {}),
    ],
)
def test_a_weakness_is_a_tag(
    tmp_path: Path, tag: WarningTag, record: dict[str, Any], harmless: dict[str, Any]
) -> None:
    for place, (values, is_weak) in enumerate(((record, True), (harmless, False))):
        found = overview(sections(run(tmp_path, str(place), **values)))
        others = {warning_tags.ONE_SEED} if "status" not in values else set()
        assert set(found.warning_tags) == {*others, *([tag] if is_weak else [])}
        assert (warning_tags_as_html([tag]) in str(found.table.rows[0].cells["tags"])) == is_weak


def test_seeds_damage_and_a_loss_that_grows(tmp_path: Path) -> None:
    two = [run(tmp_path, str(n), seed=n, config={"seed": n}) for n in range(2)]
    assert overview(sections(*two)).warning_tags == [warning_tags.FEW_SEEDS]
    shipped = registry.shipped_config("hitters-linear").layer.values
    fit = run(tmp_path, "fit", "hitters-linear", config=shipped)
    assert overview(sections(fit)).warning_tags == [], "a fit without chance"
    (shown,) = sections(run(tmp_path, "diverged"))
    shown.table = {"epoch": [1, 2], "train_loss": [0.5, 0.6]}
    assert shown.warning_tags == [warning_tags.DIVERGED]
    shown.table = {"epoch": [1, 2, 3], "train_loss": [math.nan, 0.5, math.nan]}
    assert shown.warning_tags == [], "not each epoch has logged a loss"
    (two[0].folder / "words.csv").write_text("x")
    (shown,) = sections(two[0])
    shown.read_predictions()
    assert shown.warning_tags == [warning_tags.DAMAGED]


def test_the_best_are_first_and_generated_data_last(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, f"{lr}", config=config(0, lr), metrics={"test_mae": 20.0 - lr})
        for lr in range(3)
    ]
    made = run(tmp_path, "made", source="sample", metrics={"test_mae": 0.0}, data="sample")
    found = overview(sections(*runs, made))
    assert [row.cells["value"] for row in found.table.rows] == [
        "18.0000",
        "19.0000",
        "20.0000",
        "0.0000",
    ]


@pytest.mark.parametrize(
    ("seeds", "metric", "published", "place"),
    [
        (1, "test_mae", {}, None),
        (1, "test_accuracy", {"book": 0.5}, None),
        (2, "test_mae", {"book": 0.5, "notebook": 0.6}, None),
        (5, "test_mae", {"notebook": 0.6}, "within"),
        (5, "test_mae", {"book": 9.5}, "above"),
    ],
)
def test_a_result_beside_the_books_number(
    tmp_path: Path, seeds: int, metric: str, published: dict[str, float], place: str
) -> None:
    """The picture says its numbers as text."""
    runs = []
    for seed in range(seeds):
        about = {"config": config(seed), "metrics": {metric: 0.4 + seed / 10}}
        about |= {"reference": {name: {metric: value} for name, value in published.items()}}
        runs.append(run(tmp_path, str(seed), seed=seed, **about))
    found = overview(sections(*runs))
    (row,) = found.table.rows
    assert row.cells["position"] == place and row.cells["count"] == str(seeds)
    assert row.picture is not None
    label = row.picture.label
    assert all(f"{value}" in label for value in published.values() if len(published) == 1)
    assert ("range of runs" in label) == (seeds == 5) and (place or "") in label


def test_a_published_number_and_its_mark_name_their_edition(tmp_path: Path) -> None:
    """A number of the notebook is not shown as the book's; without one nothing is explained."""
    numbers = {"notebook": {"test_mae": 0.25}}
    shown = overview(sections(run(tmp_path, metrics={"test_mae": 0.5}, reference=numbers)))
    published = str(shown.table.rows[0].cells["published"])
    assert "0.25" in published and "notebook" in published
    assert "book" not in [column.heading for column in shown.table.columns]
    assert {"book", "notebook"} < {*shown.legend}
    own = overview(sections(run(tmp_path, "own", metrics={"test_mae": 0.5})))
    assert own.legend and not {*own.legend} & {"book", "notebook"}


def test_the_order_is_the_books(tmp_path: Path) -> None:
    late, early = (
        run(tmp_path, "r", name, reference={"book": {}, "place": place})
        for name, place in (("late", [10, 9, 6, 2]), ("early", [10, 9, 1, 1]))
    )
    found = overview(sections(late, run(tmp_path, "r", "own"), early))
    names = ["early", "late", "own"]
    assert all(
        name in str(row.cells["config"]) for name, row in zip(names, found.table.rows, strict=True)
    )


def test_validation_rows_that_are_the_test_rows_are_named(tmp_path: Path) -> None:
    (shown,) = sections(run(tmp_path, best_epoch=BEST, **ON_TEST))
    assert [line.name for line in shown.charts[0].lines] == ["training", "validation = test"]


def test_pictures_of_one_metric_on_the_same_rows_share_a_scale(tmp_path: Path) -> None:
    """Each run is a dot."""
    runs = [
        run(tmp_path, f"{name}{seed}", name, seed=seed, metrics={"test_mae": mae + seed / 100})
        for name, mae in (("a", 0.2), ("b", 0.9))
        for seed in range(5)
    ]
    low, high = (row.picture for row in overview(sections(*runs)).table.rows)
    assert low is not None and high is not None
    assert (low.axis.start, low.axis.end) == (high.axis.start, high.axis.end)
    assert low.dots == [0.2 + seed / 100 for seed in range(5)]
    assert low.axis.at(low.mean) + 50 < high.axis.at(high.mean)


def test_a_legend_explains_what_is_drawn(tmp_path: Path) -> None:
    alone = overview(sections(run(tmp_path, metrics={"test_mae": 0.5})))
    assert [*alone.legend] == ["mean"]
    seeds = [run(tmp_path, str(n), seed=n, metrics={"test_mae": 0.5 + n}) for n in range(5)]
    assert [*overview(sections(*seeds)).legend] == ["mean", "run", "interval"]


def test_always_the_largest_class_stands_beside_the_accuracy(tmp_path: Path) -> None:
    classes = {"classes": {"number": 2, "largest": "no", "share": 0.75}}
    found = overview(sections(run(tmp_path, metrics={"test_accuracy": 0.8}, **classes)))
    assert found.table.rows[0].cells["guess"] == "0.7500"
    of_values = overview(sections(run(tmp_path, "v", metrics={"test_mae": 0.8})))
    assert "guess" not in [column.name for column in of_values.table.columns]
