"""Training options for data of one's own whose classes are unequal."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Dlrun, setting, smoke
from tests.experiments.use import finished, table

BALANCED = setting("loss.class_weights=balanced")
DIVISION = setting("data.test_share=0.3333333333333333", "data.split_seed=1")


def own(folder: Path, shares: dict[str, float]) -> list[str]:
    """The command line of a classification of 600 rows, whose classes overlap."""
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    names = random.choice([*shares], size=600, p=[*shares.values()])
    centres = {name: place * 1.5 for place, name in enumerate(shares)}
    lines = (f"{random.normal(centres[name]):.4f},{name}" for name in names)
    (folder / "own.csv").write_text("size,kind\n" + "\n".join(lines) + "\n")
    words = setting("data.target=kind", "data.task=classification", "trainer.max_epochs=15")
    return ["table-dense", str(folder / "own.csv"), *words, *DIVISION]


def recall(run: Path, name: str) -> float:
    rows = [row for row in table(run, "predictions.csv") if row["label"] == name]
    return sum(row["predicted"] == name for row in rows) / len(rows)


@pytest.mark.parametrize(
    "shares", [{"common": 0.93, "rare": 0.07}, {"common": 0.55, "other": 0.38, "rare": 0.07}]
)
def test_balanced_classes_find_more_of_the_rare_one(
    tmp_path: Path, shares: dict[str, float]
) -> None:
    words = own(tmp_path, shares)
    plain = finished(tmp_path / "plain", words)
    run = finished(tmp_path / "balanced", [*words, *BALANCED])
    assert recall(run, "rare") > recall(plain, "rare") + 0.2


@pytest.mark.parametrize("value", ["loss.class_weights=balanced", "loss.label_smoothing=0.1"])
def test_a_regression_refuses_what_is_for_classes(forked: Dlrun, value: str) -> None:
    key = value.partition("=")[0]
    forked(*smoke("hitters-dense"), *setting(value)).is_told(2, key, "classifies")
