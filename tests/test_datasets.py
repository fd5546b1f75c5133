"""The loaders return the rows of the experiments, as arrays of documented shapes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from dlrun import ConfigError, DataError, datasets
from dlrun.config.yaml_loader import Values, parse_set_overrides
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.experiments.table_common import EncodedTable, divide_rows
from dlrun.networks.network_implementation import NetworkImplementation
from dlrun.runs.options import RunOptions
from dlrun.system.console import Screen

Loader = Callable[..., Any]
SEED = 3  # none of the defaults
WITH_MONTH = ["data.day_of_week=false", "data.month=true"]
LOADERS: list[tuple[Loader, Values, str, list[str]]] = [
    (datasets.hitters, {}, "hitters-dense", [f"data.split_seed={SEED}"]),
    (datasets.nyse, {}, "nyse-rnn", [f"seed={SEED}"]),
    (datasets.nyse, {"day_of_week": True}, "nyse-dense", [f"seed={SEED}"]),
    (datasets.nyse, {"month": True}, "nyse-dense", [*WITH_MONTH, f"seed={SEED}"]),
    (datasets.mnist, {}, "mnist-logistic", [f"seed={SEED}"]),
    (datasets.cifar100, {}, "cifar100", [f"seed={SEED}"]),
    (datasets.imdb_bags, {}, "imdb-dense", [f"seed={SEED}"]),
    (datasets.imdb_sequences, {}, "imdb-lstm", [f"seed={SEED}"]),
]


def loaded_by(experiment: str, folder: Path, values: list[str]) -> dict[str, Any]:
    """The data sets of a network's run on generated data, by their part."""
    options = RunOptions(values=parse_set_overrides(["data.source=sample", *values]))
    config: Any = load_experiment_config(find_experiment(experiment), options)
    network = find_experiment(experiment).load_implementation()
    assert isinstance(network, NetworkImplementation)
    data = network.load(config, folder, Screen(quiet=True))
    return {"train": data.train, "valid": data.valid, "test": data.test}


@pytest.mark.parametrize(("load", "arguments", "experiment", "values"), LOADERS)
def test_the_rows_are_those_of_the_run(
    tmp_path: Path, load: Loader, arguments: Values, experiment: str, values: list[str]
) -> None:
    loaded = load(sample=True, seed=SEED, data_dir=tmp_path, **arguments)
    for part, batches in loaded_by(experiment, tmp_path, values).items():
        X, y = getattr(loaded, part, loaded.test)  # of the tables, the test rows validate
        if sparse.issparse(X):
            np.testing.assert_array_equal(X.toarray(), batches.bags[batches.rows].toarray())
        else:
            inputs = batches.inputs.numpy()
            np.testing.assert_array_equal(X.reshape(inputs.shape).astype(inputs.dtype), inputs)
        targets = batches.targets.numpy()
        if load is datasets.nyse:  # y is standardised
            assert np.corrcoef(y, targets)[0, 1] == pytest.approx(1)
        else:
            np.testing.assert_array_equal(y.astype(targets.dtype), targets)


def test_a_table_has_names_and_a_frame(tmp_path: Path) -> None:
    players = datasets.hitters(sample=True, data_dir=tmp_path)
    frame = players.frame
    assert frame.shape == (300, 20) and [*frame.columns] == [*players.columns, "Salary"]
    assert {"Hits", "League[N]"} <= {*players.columns}
    np.testing.assert_array_equal(frame.iloc[-100:, :-1], players.test.X)
    np.testing.assert_array_equal(frame["Salary"].iloc[:200], players.train.y)


def test_the_linear_fits_have_the_rows_of_the_networks(tmp_path: Path) -> None:
    experiment = find_experiment("hitters-lasso")
    options = RunOptions(values=parse_set_overrides(["data.source=sample"]))
    config: Any = load_experiment_config(experiment, options)
    screen = Screen(quiet=True)
    table = experiment.load_implementation().load_data(config, tmp_path, screen)
    encoded = EncodedTable.fit(config, table, divide_rows(config, table, screen))
    players = datasets.hitters(sample=True, data_dir=tmp_path)
    for part, loaded in ("train", players.train), ("test", players.test):
        np.testing.assert_array_equal(loaded.X, encoded.parts[part].X)
        np.testing.assert_array_equal(loaded.y, encoded.parts[part].targets)
    assert players.columns == encoded.assets.encoder.names


def test_word_ids_are_words(tmp_path: Path) -> None:
    bags = datasets.imdb_bags(sample=True, data_dir=tmp_path)
    sequences = datasets.imdb_sequences(sample=True, data_dir=tmp_path)
    assert bags.n_words == sequences.n_words == bags.train.X.shape[1] == 10_003
    assert bags.words[:4] == ["<PAD>", "<START>", "<UNK>", "<UNUSED>"]
    assert bags.classes == ["negative", "positive"] and "film" in bags.words
    ids = sequences.train.X[0]
    assert ids.dtype == np.int32 and len(ids) == 500
    present = np.setdiff1d(ids[np.argmax(ids > 0) :], [0])
    np.testing.assert_array_equal(present, bags.train.X[0].indices)  # of fewer than 500 words


def test_images_are_bytes(tmp_path: Path) -> None:
    digits = datasets.mnist(sample=True, data_dir=tmp_path)
    assert [len(part.y) for part in (digits.train, digits.valid, digits.test)] == [1600, 400, 400]
    assert digits.train.X.shape == (1600, 28, 28) and digits.train.X.dtype == np.uint8
    assert digits.test.X.flags.writeable and digits.test.y.flags.writeable  # for torch.from_numpy
    assert digits.classes[7] == "7" and digits.test.y.dtype == np.int64


def test_missing_data_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    with pytest.raises(DataError) as raised:
        datasets.cifar100(data_dir=tmp_path)
    assert str(tmp_path) in raised.value.hint and raised.value.hint in raised.value.__notes__
    with pytest.raises(ConfigError):
        datasets.mnist(sample=True, seed=-1, data_dir=tmp_path)


@pytest.mark.realdata
def test_the_book_s_days_are_standardised(tmp_path: Path, real_data: Path) -> None:
    (tmp_path / "nyse").mkdir()
    (tmp_path / "nyse" / "NYSE.csv").symlink_to(real_data / "NYSE.csv")
    days = datasets.nyse(data_dir=tmp_path)
    assert days.train.X.shape == (4276, 15) and days.test.y.shape == (1770,)
    assert days.frame[days.target].std(ddof=0) == pytest.approx(1, abs=1e-3)
    assert len(datasets.nyse(day_of_week=True, data_dir=tmp_path).columns) == 20
    assert len(datasets.nyse(month=True, data_dir=tmp_path).columns) == 27
