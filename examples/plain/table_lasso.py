"""The user's own table by the lasso, its penalty chosen by cross-validation, as hitters-lasso.

`dlrun table-lasso` divides the rows in the same way, and predicts the same. The constants of the
file are what dlrun finds in it: which columns are numbers, and which words are gaps.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedKFold,
    TimeSeriesSplit,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PATH = "examples/own/cars.csv"  # data.path
TEST = None  # data.test
TARGET = "price"  # data.target
ID = None  # data.id
GROUP = None  # data.group
TIME = None  # data.time
TEST_SHARE = 0.2  # data.test_share
FOLDS = None  # data.folds
FOLD = None  # data.fold
SPLIT_SEED = 0  # data.split_seed
VALIDATION = 0.2  # data.validation
STANDARDISE = False  # data.standardise
VALUES = 100  # path.values
SMALLEST = 0.01  # path.smallest
CV_FOLDS = 10  # cross_validation.folds
CV_SEED = 1  # cross_validation.seed
MAX_ITERATIONS = 30000  # max_iterations
SCALE = True  # scale

# What dlrun finds in the file:
FORMAT = "csv"  # file.format
READING = {"sep": ","}  # file.reading
GAPS = {}  # file.gaps
NEEDED = []  # file.needed
WITH_BLANKS = []  # file.with_blanks
WITH_DECIMALS = []  # file.with_decimals
WITH_UNITS = []  # file.with_units
WITH_ZONES = []  # file.with_zones
NUMBERS = ["power", "weight", "year"]  # file.numbers
CATEGORIES = ["maker"]  # file.categories
BOOLEANS = {}  # file.booleans
DATES = {}  # file.dates
TEXTS = []  # file.texts
WITH_GAPS = []  # file.with_gaps
TIME_FORMAT = None  # file.time_format
CLASSES = []  # file.classes


def read(path):
    """Return the rows that have a target, as the file has them; a gap is NaN."""
    if FORMAT == "parquet":
        table = pd.read_parquet(path).reset_index()
    elif FORMAT == "excel":
        table = pd.read_excel(path, dtype=str, keep_default_na=False, **READING)
    else:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, **READING)
    for name, words in GAPS.items():
        table[name] = table[name].mask(table[name].isin(words))
    if NEEDED:
        table = table.dropna(subset=NEEDED).reset_index(drop=True)
    return table


def convert(table):
    """Return the rows with numbers, booleans and dates in place of their words."""
    for name in WITH_BLANKS:
        table[name] = table[name].str.strip()
    for name in WITH_DECIMALS:  # such as 1.0, a class that is 1 elsewhere
        table[name] = table[name].str.removesuffix(".0")
    for name in WITH_UNITS:  # such as $1,234.50 or 12 %
        table[name] = table[name].str.replace(r"[^-+.\d]", "", regex=True)
    for name in WITH_ZONES:  # the time is that of the clock there
        zone = r"(:\d\d([.,]\d+)?) ?(Z|[+-]\d\d(:?\d\d)?)$"
        table[name] = table[name].str.replace(zone, r"\1", regex=True)
    table[NUMBERS] = table[NUMBERS].astype(float)
    for name, words in BOOLEANS.items():
        table[name] = table[name].map(words)
    for name, date_format in DATES.items():
        table[name] = pd.to_datetime(table[name], format=date_format).astype("datetime64[us]")
    if CLASSES:
        table[TARGET] = table[TARGET].astype(str).map(CLASSES.index)
    else:
        table[TARGET] = table[TARGET].astype(float)
    return table


def sort_by_time(table):
    """Return the rows in the order of time."""
    if TIME_FORMAT == "number":
        table[TIME] = table[TIME].astype(float)
    elif TIME_FORMAT:
        table[TIME] = pd.to_datetime(table[TIME], format=TIME_FORMAT)
    return table.sort_values(TIME, kind="stable")


def divide(table):
    """Return the training rows and the test rows."""
    if GROUP:
        groups, names = pd.factorize(table[GROUP])
    if TIME:  # rows of one time are not divided
        first = table[TIME].iloc[-int(np.ceil(TEST_SHARE * len(table)))]
        train, test = np.flatnonzero(table[TIME] < first), np.flatnonzero(table[TIME] >= first)
    elif FOLDS and GROUP:
        folds = GroupKFold(FOLDS, shuffle=True, random_state=SPLIT_SEED)
        train, test = list(folds.split(table, groups=groups))[FOLD - 1]
    elif GROUP:
        held_out = max(1, round(TEST_SHARE * len(names)))
        divider = GroupShuffleSplit(1, test_size=held_out, random_state=SPLIT_SEED)
        train, test = map(np.sort, next(divider.split(table, groups=groups)))
    elif FOLDS and CLASSES:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SPLIT_SEED)
        train, test = list(folds.split(table, table[TARGET]))[FOLD - 1]
    elif FOLDS:
        folds = KFold(FOLDS, shuffle=True, random_state=SPLIT_SEED)
        train, test = list(folds.split(table))[FOLD - 1]
    elif CLASSES:  # a share of each class
        random, test = np.random.default_rng(SPLIT_SEED), []
        for label in table[TARGET].unique():
            rows = np.flatnonzero(table[TARGET] == label)
            held_out = min(max(1, round(TEST_SHARE * len(rows))), len(rows) - 1)
            test = np.sort([*test, *random.permutation(rows)[:held_out]])
        train = np.delete(np.arange(len(table)), test)
    else:
        every = np.arange(len(table))
        train, test = train_test_split(every, test_size=TEST_SHARE, random_state=SPLIT_SEED)
    return table.iloc[train], table.iloc[test]


def load():
    """Return the training rows and the test rows."""
    table = convert(read(PATH))
    if TIME:
        table = sort_by_time(table)
    if TEST:
        train, test = table, convert(read(TEST))
        if TIME:
            test = sort_by_time(test)
    else:
        train, test = divide(table)
    return train, test


def fill_gaps(train, rows):
    """Return the rows with the usual value of the training rows in place of a gap."""
    filled = rows.copy()
    for name in WITH_GAPS:
        if name in BOOLEANS:
            fill = 0 if train[name].isna().any() else train[name].mean()
        else:
            fill = "" if name in [*CATEGORIES, *TEXTS] else train[name].median()
        filled[name] = rows[name].fillna(fill)
    return filled


def date_columns(train, dates):
    """Return the parts of dates."""
    days = (dates - train.min()) / pd.Timedelta(days=1)
    columns = {"year": dates.dt.year, "month": dates.dt.month}
    columns |= {"day of week": dates.dt.day_of_week, "days": days}
    known = train.dropna()
    if (known != known.dt.normalize()).any():
        columns["hour"] = (dates - dates.dt.normalize()) / pd.Timedelta(hours=1)
    return pd.DataFrame({f"{dates.name}[{part}]": columns[part] for part in columns})


def category_columns(train, words):
    """Return a column of 0 and 1 for each level but the first."""
    counts = train.value_counts().sort_index().nlargest(255).sort_index()
    codes = counts.index.get_indexer(words)
    is_level = (codes[:, None] == np.arange(len(counts))).astype(float)
    is_level[codes < 0] = counts / len(train)  # no training row has the level: an average row
    names = [f"{words.name}[{level}]" for level in counts.index]
    return pd.DataFrame(is_level, words.index, names).drop(columns=names[:1])


def text_columns(train, texts):
    """Return a column of 0 and 1 for each of the words that are frequent, but not in all texts."""
    known = train.dropna()
    least = max(5, int(np.ceil(0.01 * len(known))))
    counter = CountVectorizer(binary=True, token_pattern=r"\w+")
    counts = np.asarray(counter.fit_transform(known).sum(0)).ravel()
    counts = pd.Series(counts, counter.get_feature_names_out())
    words = sorted(counts[(counts >= least) & (counts < len(known))].nlargest(100).index)
    has_word = counter.transform(texts)[:, [counter.vocabulary_[word] for word in words]]
    names = [f"{texts.name}[{word}]" for word in words]
    return pd.DataFrame(has_word.toarray(), texts.index, names)


def encode(train, rows):
    """Return columns of numbers, made of rows by what the training rows have."""
    if WITH_GAPS:
        filled = fill_gaps(train, rows)
    else:
        filled = rows
    parts = {}
    for name in NUMBERS:
        parts[name] = filled[[name]]
    for name in BOOLEANS:
        parts[name] = filled[[name]]
    for name in DATES:
        parts[name] = date_columns(train[name], filled[name])
    for name in CATEGORIES:
        parts[name] = category_columns(train[name], filled[name])
    for name in TEXTS:
        parts[name] = text_columns(train[name], filled[name])
    for name in WITH_GAPS:  # those of training rows are marked
        is_gap = rows[name].isna()
        if train[name].isna().any() and not (name in TEXTS and parts[name].empty):
            if name in CATEGORIES:
                parts[name][is_gap] = 0
            parts[name] = parts[name].assign(**{f"{name}[missing]": is_gap})
    columns = [parts[name] for name in rows if name in parts and train[name].notna().any()]
    return pd.concat(columns, axis=1).astype(float)


def hold_out(train):
    """Return the training rows to fit, and those that validate."""
    if VALIDATION < 1:
        count = max(1, int(VALIDATION * len(train)))
    else:
        count = VALIDATION
    if GROUP:
        groups, names = pd.factorize(train[GROUP])
        held_out = max(1, round(count / len(train) * len(names)))
        divider = GroupShuffleSplit(1, test_size=held_out, random_state=SPLIT_SEED)
        fitted, held_out = next(divider.split(train, groups=groups))
    elif TIME:  # the last rows
        fitted, held_out = np.split(np.arange(len(train)), [len(train) - count])
    elif CLASSES:  # a share of each class
        random, held_out = np.random.default_rng(SPLIT_SEED), []
        for label in np.unique(train[TARGET]):
            rows = np.flatnonzero(train[TARGET] == label)
            of_class = min(max(1, round(count / len(train) * len(rows))), len(rows) - 1)
            held_out = [*held_out, *random.permutation(rows)[:of_class]]
        fitted = np.delete(np.arange(len(train)), held_out)
    else:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
        held_out, fitted = np.split(order, [count])
    return train.iloc[np.sort(fitted)], train.iloc[np.sort(held_out)]


def standardise(X, *others):
    """Give the columns of numbers mean 0 and standard deviation 1 in the training rows."""
    dates = tuple(f"{name}[" for name in DATES)
    numbers = [
        name
        for name in X
        if name in NUMBERS or (name.startswith(dates) and not name.endswith("[missing]"))
    ]
    scaler = StandardScaler().fit(X[numbers].to_numpy())
    for rows in (X, *others):
        rows[numbers] = scaler.transform(rows[numbers].to_numpy())


def penalties(X, y):
    """Return lambdas of the scaled columns, evenly spaced by their logarithms."""
    outputs = y
    if CLASSES:
        outputs = np.eye(len(CLASSES))[y]
    scaled = StandardScaler().fit_transform(X)
    largest = np.abs(scaled.T @ (outputs - outputs.mean(0))).max() / len(y)
    return np.geomspace(largest, SMALLEST * largest, VALUES)


def cross_validation(train, y):
    """Return the rows to fit and the rows that validate, for each fold."""
    if TIME:
        folds = TimeSeriesSplit(CV_FOLDS).split(y)
    elif GROUP:
        folds = GroupKFold(CV_FOLDS, shuffle=True, random_state=CV_SEED)
        folds = folds.split(y, groups=pd.factorize(train[GROUP])[0])
    elif CLASSES:
        folds = StratifiedKFold(CV_FOLDS, shuffle=True, random_state=CV_SEED).split(y, y)
    else:
        folds = KFold(CV_FOLDS, shuffle=True, random_state=CV_SEED).split(y)
    return list(folds)


def solve(X, y, penalty):
    """Return the model with a penalty of the mean loss of a row."""
    if CLASSES:  # C weighs the sum of the losses, and intercept_scaling against a penalty of it
        share = 1 / (penalty * len(y))
        model = LogisticRegression(
            l1_ratio=1,
            C=share,
            solver="liblinear",
            intercept_scaling=100,
            max_iter=MAX_ITERATIONS,
            random_state=0,
        )
        if len(CLASSES) > 2:  # each class against the rest
            model = OneVsRestClassifier(model)
    else:
        model = Lasso(alpha=penalty, max_iter=MAX_ITERATIONS)
    return make_pipeline(StandardScaler(with_mean=SCALE, with_std=SCALE), model).fit(X, y)


def score(model, X, y):
    """Return the log loss, or the mean absolute error, below 0."""
    if CLASSES:
        value = -log_loss(y, model.predict_proba(X), labels=range(len(CLASSES)))
    else:
        value = -mean_absolute_error(y, model.predict(X))
    return value


def choose_penalty(X, y, folds):
    """Return the penalty with the best mean score of the folds, and this score."""
    best_score = -np.inf
    for penalty in penalties(X, y):
        scores = [
            score(solve(X[fitted], y[fitted], penalty), X[held_out], y[held_out])
            for fitted, held_out in folds
        ]
        if np.mean(scores) > best_score:
            best_score, best = np.mean(scores), penalty
    return best, best_score


def prepare(train, others):
    """Return the columns and targets of both, and the centre and the unit of the targets."""
    X, X_others = encode(train, train), encode(train, others)
    y, y_others = train[TARGET].to_numpy(), others[TARGET].to_numpy()
    if STANDARDISE:
        standardise(X, X_others)
    centre, unit = 0, 1
    if STANDARDISE and not CLASSES:
        centre, unit = y.mean(), y.std()
        y, y_others = (y - centre) / unit, (y_others - centre) / unit
    return np.ascontiguousarray(X), y, np.ascontiguousarray(X_others), y_others, centre, unit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    fitted, valid = hold_out(train)
    X, y, X_valid, y_valid, _, unit = prepare(fitted, valid)
    penalty, of_folds = choose_penalty(X, y, cross_validation(fitted, y))
    of_valid = score(solve(X, y, penalty), X_valid, y_valid)
    print(f"lambda {penalty:.4g}")
    if CLASSES:
        print(f"cross-validation log_loss {-of_folds:.4f}")
        print(f"valid log_loss {-of_valid:.4f}")
    else:
        print(f"cross-validation mae {-of_folds * unit:.4f}")
        print(f"valid mae {-of_valid * unit:.4f}")
    X, y, X_test, _, centre, unit = prepare(train, test)  # all training rows
    y_test = test[TARGET].to_numpy()
    model = solve(X, y, penalty)
    if CLASSES:
        predicted, probabilities = model.predict(X_test), model.predict_proba(X_test)
        print(f"test accuracy {accuracy_score(y_test, predicted):.4f}")
        print(f"test macro_f1 {f1_score(y_test, predicted, average='macro'):.4f}")
        names = np.array(CLASSES)
        columns = {"label": names[y_test], "predicted": names[predicted]}
        columns["probability"] = probabilities.max(1)
    else:
        predicted = centre + unit * model.predict(X_test)
        print(f"test mae {mean_absolute_error(y_test, predicted):.4f}")
        print(f"test r2 {r2_score(y_test, predicted):.4f}")
        columns = {"target": y_test, "predicted": predicted}
    if ID:
        columns = {"id": test[ID], **columns}
    if options.predictions:
        pd.DataFrame(columns).to_csv(options.predictions, index=False)


if __name__ == "__main__":
    main()
