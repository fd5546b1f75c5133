"""Fit the reference, which a careful person writes with scikit-learn in some lines, to a table."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

IDENTIFIER = 0.95  # of the values are there once: the words name the rows, and are left out
MOST_LEVELS = 100  # of one-hot columns; rarer ones share a column
MOST_LEVELS_OF_TREES = 254  # scikit-learn's trees take 255

Metrics = dict[str, float]


@dataclass(frozen=True)
class Inputs:
    """The input columns of a table by how they are encoded."""

    numbers: list[str]
    words: list[str]


def columns_of(table: pd.DataFrame, target: str) -> Inputs:
    """Divide the input columns by their types; leave out what is empty, and words that identify."""
    numbers, words = [], []
    for name in table.columns.drop(target):
        values = table[name].dropna()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers.append(name)
        elif len(values) and values.nunique() < IDENTIFIER * len(values):
            words.append(name)
    return Inputs([name for name in numbers if table[name].notna().any()], words)


def linear(inputs: Inputs, task: str) -> Pipeline:
    """Median and indicator and scaling; "missing" and one-hot; least squares, or logistic."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=MOST_LEVELS, sparse_output=False
        ),
    )
    encode = ColumnTransformer(
        [("numbers", numbers, inputs.numbers), ("words", words, inputs.words)]
    )
    classifier = task == "classification"
    return make_pipeline(
        encode, LogisticRegression(max_iter=10_000) if classifier else LinearRegression()
    )


def boosting(inputs: Inputs, task: str) -> Pipeline:
    """Trees with scikit-learn's values for everything; gaps and categories as they are."""
    words = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MOST_LEVELS_OF_TREES,
    )
    encode = ColumnTransformer(
        [("words", words, inputs.words), ("numbers", "passthrough", inputs.numbers)]
    )
    classifier = task == "classification"
    trees = HistGradientBoostingClassifier if classifier else HistGradientBoostingRegressor
    categorical = list(range(len(inputs.words)))
    return make_pipeline(encode, trees(categorical_features=categorical, random_state=0))


def constant(inputs: Inputs, task: str) -> Pipeline:
    """The mean, or the most frequent class, of a table without a column that is read."""
    return make_pipeline(DummyClassifier() if task == "classification" else DummyRegressor())


PIPELINES = {"table-linear": linear, "table-boosting": boosting}


def score(
    experiment: str, task: str, table: pd.DataFrame, target: str, is_test: np.ndarray
) -> Metrics:
    """Fit the reference to the rows that are no test rows, and score it on the test rows."""
    inputs = columns_of(table, target)
    table = table.astype(dict.fromkeys(inputs.words, object))
    # An imputer wants one kind of value in a column: words, or a gap.
    for name in inputs.words:
        table[name] = table[name].map(str, na_action="ignore").where(table[name].notna(), np.nan)
    if task == "classification":
        table[target] = table[target].map(str)
    train, test = table[~is_test], table[is_test]
    make_model = PIPELINES[experiment] if inputs.numbers or inputs.words else constant
    model = make_model(inputs, task).fit(train, train[target])
    predicted, true = model.predict(test), test[target]
    if task == "classification":
        return {"accuracy": float(accuracy_score(true, predicted))}
    metrics = {"mae": float(mean_absolute_error(true, predicted))}
    if true.nunique() > 1:
        metrics["r2"] = float(r2_score(true, predicted))
    return metrics
