"""The user's own table by gradient-boosted trees, which take gaps and categories as they are.

`dlrun table-boosting` divides the rows in the same way, and predicts the same. The constants of the
file are what dlrun finds in it: which columns are numbers, and which words are gaps.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedKFold,
    train_test_split,
)
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
MAX_ITER = 1000  # model.max_iter
N_ITER_NO_CHANGE = 20  # model.n_iter_no_change
LEARNING_RATE = 0.1  # model.learning_rate
MAX_LEAF_NODES = 31  # model.max_leaf_nodes
MAX_DEPTH = None  # model.max_depth
MIN_SAMPLES_LEAF = 20  # model.min_samples_leaf
L2_REGULARIZATION = 0.0  # model.l2_regularization
SEED = 0  # seed

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


def date_columns(train, dates):
    """Return the parts of dates."""
    days = (dates - train.min()) / pd.Timedelta(days=1)
    columns = {"year": dates.dt.year, "month": dates.dt.month}
    columns |= {"day of week": dates.dt.day_of_week, "days": days}
    known = train.dropna()
    if (known != known.dt.normalize()).any():
        columns["hour"] = (dates - dates.dt.normalize()) / pd.Timedelta(hours=1)
    return pd.DataFrame({f"{dates.name}[{part}]": columns[part] for part in columns})


def category_numbers(train, words):
    """Return the number of each word among the levels; a gap, or another word, is NaN."""
    levels = train.value_counts().sort_index().nlargest(255).sort_index().index
    numbers = levels.get_indexer(words)
    return pd.DataFrame({words.name: np.where(numbers < 0, np.nan, numbers)}, words.index)


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


def encode_for_trees(train, rows):
    """Return columns of numbers, made of rows by what the training rows have; gaps are NaN."""
    parts = {}
    for name in NUMBERS:
        parts[name] = rows[[name]]
    for name in BOOLEANS:
        parts[name] = rows[[name]]
    for name in DATES:
        parts[name] = date_columns(train[name], rows[name])
    for name in CATEGORIES:
        parts[name] = category_numbers(train[name], rows[name])
    for name in TEXTS:
        parts[name] = text_columns(train[name], rows[name].fillna(""))
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


def prepare_for_trees(train, others):
    """Return the columns and targets of both, and the centre and the unit of the targets."""
    X, X_others = encode_for_trees(train, train), encode_for_trees(train, others)
    y, y_others = train[TARGET].to_numpy(), others[TARGET].to_numpy()
    if STANDARDISE:
        standardise(X, X_others)
    centre, unit = 0, 1
    if STANDARDISE and not CLASSES:
        centre, unit = y.mean(), y.std()
        y, y_others = (y - centre) / unit, (y_others - centre) / unit
    return X, y, X_others, y_others, centre, unit


def make_model(X, **settings):
    """Return the trees, not grown yet."""
    if CLASSES:
        trees = HistGradientBoostingClassifier
    else:
        trees = HistGradientBoostingRegressor
    return trees(
        learning_rate=LEARNING_RATE,
        max_leaf_nodes=MAX_LEAF_NODES,
        max_depth=MAX_DEPTH,
        min_samples_leaf=MIN_SAMPLES_LEAF,
        l2_regularization=L2_REGULARIZATION,
        categorical_features=[name in CATEGORIES for name in X],
        random_state=SEED,
        **settings,
    )


def choose_number_of_trees(train):
    """Return the number with the lowest validation loss, for as many rows as train has."""
    fitted, valid = hold_out(train)
    X, y, X_valid, y_valid, _, _ = prepare_for_trees(fitted, valid)
    model = make_model(X, max_iter=MAX_ITER, early_stopping=True, n_iter_no_change=N_ITER_NO_CHANGE)
    model.fit(X.to_numpy(), y, X_val=X_valid.to_numpy(), y_val=y_valid)
    trees = max(1, int(np.argmax(model.validation_score_)))
    return round(trees * len(train) / len(fitted))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    trees = choose_number_of_trees(train)
    print(f"trees {trees}")
    X, y, X_test, _, centre, unit = prepare_for_trees(train, test)
    y_test = test[TARGET].to_numpy()
    model = make_model(X, max_iter=trees, early_stopping=False).fit(X.to_numpy(), y)
    predicted = model.predict(X_test.to_numpy())
    if CLASSES:
        probabilities = model.predict_proba(X_test.to_numpy())
        print(f"test accuracy {accuracy_score(y_test, predicted):.4f}")
        print(f"test macro_f1 {f1_score(y_test, predicted, average='macro'):.4f}")
        names = np.array(CLASSES)
        columns = {"label": names[y_test], "predicted": names[predicted]}
        columns["probability"] = probabilities.max(1)
    else:
        predicted = centre + unit * predicted
        print(f"test mae {mean_absolute_error(y_test, predicted):.4f}")
        print(f"test r2 {r2_score(y_test, predicted):.4f}")
        columns = {"target": y_test, "predicted": predicted}
    if ID:
        columns = {"id": test[ID], **columns}
    if options.predictions:
        pd.DataFrame(columns).to_csv(options.predictions, index=False)


if __name__ == "__main__":
    main()
