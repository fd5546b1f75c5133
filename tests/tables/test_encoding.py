"""Tables become matrices by what the training rows have, and the encoder is JSON."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.errors import DataError
from dlrun.tables.column_kinds import Column, ColumnKind, inspect_columns
from dlrun.tables.encoding import (
    CategoryEncoding,
    NumberEncoding,
    TableEncoder,
    describe_columns,
)

TRAIN = 6  # rows of COLUMNS
COLUMNS = {
    "x": ["1", "", "3", "5", "7", "9", "100", "NA"],
    "c": ["red", "blue", "", "red", "blue", "red", "green", ""],
    "b": ["yes", "No", "no", "Yes", "no", "Yes", "", "yes"],
    "d": ["2003-01-31", "2003-02-01", "", *["2004-02-29"] * 3, "2003-01-30", "2003-01-31"],
}


def fit(
    kinds: dict[str, ColumnKind] | None = None, train: int = TRAIN, **columns: Any
) -> tuple[TableEncoder, pd.DataFrame, list[Column]]:
    """An encoder of the first rows, all rows, and the columns."""
    how = {key: columns.pop(key) for key in ("standardise", "for_trees") if key in columns}
    frame = pd.DataFrame(columns)
    inspected = inspect_columns(frame, kinds or {}, [str(row) for row in range(len(frame))])
    encoder = TableEncoder.fit(inspected.columns, inspected.rows.iloc[:train], **how)
    assert TableEncoder.model_validate_json(encoder.model_dump_json()) == encoder
    return encoder, inspected.rows, inspected.columns


def encode(**columns: Any) -> dict[str, list[float]]:
    """The columns of the matrix of all rows."""
    encoder, rows, _ = fit(**columns)
    matrix = encoder.encode(rows)
    assert matrix.dtype == np.float64 and matrix.shape == (len(rows), len(encoder.names))
    return dict(zip(encoder.names, matrix.T.tolist(), strict=True))


def test_gaps_of_numbers_are_the_median_of_the_training_rows_and_marked() -> None:
    columns = encode(x=COLUMNS["x"])
    assert columns == {
        "x": [1, 5, 3, 5, 7, 9, 100, 5],
        "x[missing]": [0, 1, 0, 0, 0, 0, 0, 1],
    }
    # A gap that only other rows have has no mark.
    columns = encode(x=["1", "2", "9", "4", "5", "6", "", "3"])
    assert columns == {"x": [1, 2, 9, 4, 5, 6, 4.5, 3]}


def test_levels_are_those_of_the_training_rows() -> None:
    columns = encode(c=COLUMNS["c"])
    assert [*columns] == ["c[red]", "c[missing]"]
    assert columns["c[red]"] == [1, 0, 0, 1, 0, 1, 0.5, 0]  # green: as many as are red
    assert columns["c[missing]"] == [0, 0, 1, 0, 0, 0, 0, 1]
    # Without gaps in the training rows a gap is an average row.
    columns = encode(c=["red", "blue", "red", "blue", "green", "green", "", "pink"])
    assert columns["c[green]"][-2:] == columns["c[red]"][-2:] == [1 / 3, 1 / 3]
    encoder, rows, _ = fit(c=COLUMNS["c"])
    assert encoder.unknown_levels(rows) == {"c": ["green"]}
    assert not encoder.unknown_levels(rows.iloc[:TRAIN])


def test_booleans_are_as_a_category_of_two_levels() -> None:
    assert encode(b=COLUMNS["b"]) == {"b[Yes]": [1, 0, 0, 1, 0, 1, 0.5, 1]}
    as_category = encode(kinds={"b": "category"}, b=["no", "yes", "", "no", "yes", "yes", ""])
    assert encode(b=["no", "yes", "", "no", "yes", "yes", ""]) == as_category


def test_dates_are_their_parts() -> None:
    columns = encode(d=COLUMNS["d"])
    assert [*columns] == ["d[year]", "d[month]", "d[day of week]", "d[days]", "d[missing]"]
    assert [part[0] for part in columns.values()] == [2003, 1, 4, 0, 0]
    assert columns["d[days]"][1:6] == [1, 394, 394, 394, 394] and columns["d[days]"][6] == -1
    assert [part[2] for part in columns.values()] == [2004, 2, 6, 394, 1]  # the median date


def test_texts_are_the_words_that_are_frequent_in_the_training_rows() -> None:
    texts = [f"the car {word} r{row}" for row in range(150) for word in ("Good", "bad!")]
    texts[0] = ""
    columns = encode(t=[*texts, "a car, GOOD car"], train=300)
    assert [*columns] == ["t[bad]", "t[good]", "t[missing]"]  # `the` and `car` are in all texts
    assert [part[0] for part in columns.values()] == [0, 0, 1]
    assert [part[1] for part in columns.values()] == [1, 0, 0]
    assert [part[-1] for part in columns.values()] == [0, 1, 0]


def test_for_trees_gaps_stay_and_levels_are_numbers() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    encoder, rows, _ = fit(for_trees=True, **COLUMNS)
    parts = ["d[year]", "d[month]", "d[day of week]", "d[days]"]
    assert encoder.names == ["x", "c", "b[Yes]", *parts]
    assert encoder.categorical == [False, True, False, False, False, False, False]
    matrix = encoder.encode(rows)
    np.testing.assert_array_equal(matrix[:, 1], [1, 0, np.nan, 1, 0, 1, np.nan, np.nan])
    assert np.isnan(matrix).sum(0).tolist() == [2, 3, 1, 1, 1, 1, 1]
    model = HistGradientBoostingRegressor(categorical_features=encoder.categorical)
    assert np.isfinite(model.fit(matrix[:TRAIN], np.arange(TRAIN)).predict(matrix)).all()


def test_a_category_has_at_most_255_levels() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    words = [f"w{row % 300:03}" for row in range(1000)]
    for trees, width in (True, 1), (False, 254):
        encoder, rows, _ = fit({"c": "category"}, train=1000, for_trees=trees, c=words)
        matrix = encoder.encode(rows)
        assert matrix.shape == (1000, width)
        if trees:
            assert np.nanmax(matrix) == 254 and np.isnan(matrix).sum() == 45 * 3
            model = HistGradientBoostingRegressor(categorical_features=encoder.categorical)
            model.fit(matrix, np.arange(1000))


def test_standardised_columns_are_numbers_and_parts_of_dates_alone() -> None:
    encoder, rows, _ = fit(standardise=True, **COLUMNS)
    matrix = dict(zip(encoder.names, encoder.encode(rows.iloc[:TRAIN]).T, strict=True))
    plain, _, _ = fit(**COLUMNS)
    unscaled = dict(zip(plain.names, plain.encode(rows.iloc[:TRAIN]).T, strict=True))
    for name, values in matrix.items():
        if name == "x" or (name.startswith("d[") and name != "d[missing]"):
            assert abs(values.mean()) < 1e-12 and values.std() == pytest.approx(1)
        else:
            assert values.tolist() == unscaled[name].tolist()


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("for_trees", [False, True])
def test_columns_without_a_difference_in_the_training_rows_break_nothing(
    standardise: bool, for_trees: bool
) -> None:
    encoder, rows, columns = fit(
        standardise=standardise,
        for_trees=for_trees,
        x=[str(row / 7) for row in range(8)],
        same=["0.1"] * 6 + ["0.3", "0.2"],
        empty=[""] * 6 + ["1", "2"],
        word=["a"] * 6 + ["b", ""],
        no_word=[""] * 6 + ["b", "b"],
        partly=["a"] * 5 + ["", "b", ""],
        day=["2003-01-01"] * 6 + ["2004-01-01", ""],
    )
    assert "empty" not in encoder.input_columns and "no_word" not in encoder.input_columns
    matrix = encoder.encode(rows)
    if not for_trees:
        assert np.isfinite(matrix).all() and np.abs(matrix).max() < 3000
        assert "partly[missing]" in encoder.names and "word[b]" not in encoder.names
    used = {use.column: use for use in describe_columns(columns, encoder)}
    assert used["empty"].gaps is None and used["partly"].gaps == 1 and used["x"].gaps == 0


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(DataError, match="no column"):
        fit(x=["", "", "1", "2", "3"], train=2)


def test_left_out_columns_are_described_and_not_read() -> None:
    encoder, _, columns = fit(same=["1"] * 8, **COLUMNS)
    uses = describe_columns(columns, encoder)
    assert [use.column for use in uses] == ["same", *COLUMNS]
    assert [use.kind for use in uses[1:]] == ["number", "category", "boolean", "date"]
    assert [use.gaps for use in uses] == [None, 1, 1, 0, 1]
    assert "same value" in uses[0].use
    assert encoder.input_columns == [*COLUMNS]


def test_an_encoder_with_given_moments_and_all_levels() -> None:
    encoder = TableEncoder(
        encodings=[
            NumberEncoding(name="x"),
            CategoryEncoding(name="c", levels=["fri", "mon"], drop_first=False),
        ],
        moments=[(0.1, 0.3), (0, 1), (0, 1)],
    )
    assert encoder.names == ["x", "c[fri]", "c[mon]"]
    rows = pd.DataFrame({"c": ["mon", "fri", "sun"], "x": [0.7, 0.2, 0.1]})
    assert encoder.encode(rows).tolist() == [
        [(0.7 - 0.1) / 0.3, 0, 1],
        [(0.2 - 0.1) / 0.3, 1, 0],
        [0, 0, 0],
    ]


def test_times_of_day_are_hours() -> None:
    columns = encode(t=["2003-01-31 06:30", "2003-01-31 18:00", *["2003-02-01 00:15"] * 6])
    assert columns["t[hour]"][:3] == [6.5, 18, 0.25]
    assert "d[hour]" not in encode(d=COLUMNS["d"])
