"""The user's own table by a network with one hidden layer, as hitters-dense.

The rows are divided as by `dlrun table-dense`, which trains the same network; from the same seed
the two draw other random numbers. The constants of the file are what dlrun finds in it.
"""

import argparse

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.preprocessing import StandardScaler
from torch import nn

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
STANDARDISE = True  # data.standardise
EPOCHS = 50  # trainer.max_epochs
BATCH_SIZE = 32  # batch_size
LEARNING_RATE = 0.01  # optimizer.lr
HIDDEN = [50]  # model.hidden
DROPOUT = [0.4]  # model.dropout
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


def dense_network(columns):
    """Return hidden layers, each with a ReLU and dropout, and the outputs: a value, or logits."""
    layers, size = [], columns
    for units, share in zip(HIDDEN, DROPOUT, strict=True):
        layers += [nn.Linear(size, units), nn.ReLU(), nn.Dropout(share)]
        size = units
    if len(CLASSES) > 2:
        layers.append(nn.Linear(size, len(CLASSES)))
    else:
        layers += [nn.Linear(size, 1), nn.Flatten(0)]
    return nn.Sequential(*layers)


def loss_of(outputs, y):
    """Return the mean loss of the rows; two classes have one logit, that of the second."""
    if len(CLASSES) == 2:
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, y.float())
    elif CLASSES:
        loss = nn.functional.cross_entropy(outputs, y)
    else:
        loss = nn.functional.mse_loss(outputs, y)
    return loss


def train_epoch(network, optimizer, X, y, batches):
    """Update the weights by each batch of row numbers; return the mean loss of a row."""
    network.train()
    losses = []  # one for each row
    for rows in batches:
        loss = loss_of(network(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(network, X):
    """Return the outputs of the rows, and from them the values or the class probabilities."""
    network.eval()
    outputs = network(X)
    predicted = outputs.double()
    if len(CLASSES) == 2:
        second = predicted.sigmoid()
        predicted = torch.stack([1 - second, second], dim=1)
    elif CLASSES:
        predicted = predicted.softmax(1)
    return outputs, predicted


def evaluate(network, X, y, unit):
    """Return the mean loss, and the share of right classes or the mean absolute error."""
    outputs, predicted = predict(network, X)
    if CLASSES:
        metric = (predicted.argmax(1) == y).double().mean()
    else:
        metric = unit * (predicted - y).abs().mean()
    return loss_of(outputs, y).item(), metric.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    fitted, valid = hold_out(train)
    parts = fitted, valid, test
    matrices = [encode(fitted, rows) for rows in parts]
    if STANDARDISE:
        standardise(*matrices)
    X, X_valid, X_test = (torch.tensor(rows.to_numpy(), dtype=torch.float32) for rows in matrices)
    if CLASSES:
        metric, centre, unit = "accuracy", 0, 1
        y, y_valid, y_test = (torch.tensor(rows[TARGET].to_numpy()) for rows in parts)
    else:
        metric, centre, unit = "mae", 0, 1
        if STANDARDISE:
            centre, unit = fitted[TARGET].mean(), fitted[TARGET].std(ddof=0)
        y, y_valid, y_test = (
            torch.tensor(((rows[TARGET] - centre) / unit).to_numpy(), dtype=torch.float32)
            for rows in parts
        )
    torch.set_num_threads(1)  # several wait for each other when other programs run
    torch.manual_seed(SEED)
    network = dense_network(columns=X.shape[1])
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(X)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X, y, batches)
        loss, value = evaluate(network, X_valid, y_valid, unit)
        print(f"epoch {epoch}: loss {train_loss:.4f}, valid {loss:.4f}, {metric} {value:.4f}")
    loss, value = evaluate(network, X_test, y_test, unit)
    print(f"test loss {loss:.4f}")
    print(f"test {metric} {value:.4f}")
    predicted = predict(network, X_test)[1].numpy()
    if CLASSES:
        names = np.array(CLASSES)
        columns = {"label": names[test[TARGET]], "predicted": names[predicted.argmax(1)]}
        columns["probability"] = predicted.max(1)
    else:
        columns = {"target": test[TARGET], "predicted": centre + unit * predicted}
    if ID:
        columns = {"id": test[ID], **columns}
    if options.predictions:
        pd.DataFrame(columns).to_csv(options.predictions, index=False)


if __name__ == "__main__":
    main()
