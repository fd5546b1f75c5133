"""Fit ridge or logistic regression to the rows that dlrun did not test."""

import sys

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

path, target, task, tested, out = sys.argv[1:]
table = pd.read_csv(path).drop(columns="Unnamed: 0", errors="ignore")
words = table.drop(columns=target).select_dtypes(exclude="number").columns
is_test = (table.index + 2).isin(pd.read_csv(tested)["line"])  # the header is line 1
train, test = table[~is_test], table[is_test].drop(columns=target)
one_hot = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)
encode = make_column_transformer(one_hot, remainder="passthrough")
classify = task == "classification"
solver = LogisticRegression() if classify else RidgeCV()
model = make_pipeline(encode, StandardScaler(), solver)
model.fit(train.drop(columns=target), train[target])
predicted = model.predict_proba(test)[:, 1] if classify else model.predict(test)
pd.DataFrame({"line": test.index + 2, "predicted": predicted}).to_csv(out, index=False)
