"""Fit scikit-learn's trees, with all defaults, to the rows that dlrun did not test."""

import sys

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

path, target, task, tested, out = sys.argv[1:]
table = pd.read_csv(path).drop(columns="Unnamed: 0", errors="ignore")
words = table.drop(columns=target).select_dtypes(exclude="number").columns
table[words] = table[words].astype("category")
is_test = (table.index + 2).isin(pd.read_csv(tested)["line"])  # the header is line 1
train, test = table[~is_test], table[is_test].drop(columns=target)
classify = task == "classification"
trees = HistGradientBoostingClassifier() if classify else HistGradientBoostingRegressor()
trees.fit(train.drop(columns=target), train[target])
predicted = trees.predict_proba(test)[:, 1] if classify else trees.predict(test)
pd.DataFrame({"line": test.index + 2, "predicted": predicted}).to_csv(out, index=False)
