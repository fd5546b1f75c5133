"""A run's data and device in words."""

import pytest

from dlrun.runs.descriptions import describe_data
from dlrun.runs.record import RunRecord


@pytest.mark.parametrize(
    ("seed", "data"), [(3, "digits, fold 2 of 5"), (4, "digits, split by seed 4, fold 2 of 5")]
)
def test_a_split_is_told_where_the_runs_seed_does_not_tell_it(seed: int, data: str) -> None:
    digests = dict.fromkeys(("rows_digest", "test_digest", "train_digest"), "d")
    split = {"seed": seed, "fold": 2, "folds": 5, **digests}
    about = {"experiment": "e", "status": "finished", "seed": 3, "data": "digits", "split": split}
    assert describe_data(RunRecord.model_validate(about)) == data
