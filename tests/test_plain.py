"""The scripts of examples/plain are the oracle: dlrun computes what they compute.

A script's `main` runs whole. Only its loop, `train_epoch`, gets the initial weights, the batches
and the random numbers of dropout from dlrun's run: both sides draw others. The rows, which both
sides have from the same code, are not tested here.
"""

import ast
import contextlib
import functools
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torchvision.models import resnet50

import dlrun
from dlrun.api import Run
from dlrun.experiments import registry
from dlrun.lasso.logistic_lasso import unpack_linear_models
from dlrun.training.array_batches import EpochBatches
from dlrun.training.seeded_loaders import epoch_seed
from tests.conftest import ROOT, python
from tests.reproduction import lab

PLAIN = ROOT / "examples" / "plain"
# By `--sample`; the others have a small data folder.
SAMPLED = ("hitters", "mnist", "nyse", "cifar100")
ALL = sorted(file.stem for file in PLAIN.glob("*.py"))
OWN = [name for name in ALL if name.startswith(("table_", "text_", "image_"))]
SCRIPTS = [name for name in ALL if name not in OWN]
KINDS = ("dense", "logistic", "lstm", "rnn", "100", "cnn")
NETWORKS = [name for name in ALL if name.endswith(KINDS)]
FITS = {
    "hitters_linear": ["test_mae", "test_r2"],  # what `fit` returns
    "hitters_lasso": ["lambda", "valid_mae", "test_mae", "test_r2", "nonzero"],
    "nyse_linear": ["test_r2"],
}
# Rows of a batch, of which an epoch of the small data has three: enough to see gradients that are
# not set to zero.
BATCH_SIZES = {"imdb": 640, "mnist": 560, "hitters": 70, "nyse": 70, "cifar100": 560}
BATCH_SIZES |= {"table": 13, "text": 13, "image": 6}
OWN_DATA = {
    "table": {"data.path": "examples/own/cars.csv", "data.target": "price"},
    "text": {"data.path": "examples/own/mails.csv"},
    "image": {"data.path": "examples/own/photos"},
}
EPOCHS = 2  # in the second one the order is another, and the optimizer has its mean squares
VALUES, EXACT = 5, 1e-9  # penalties of a lasso, and the tolerance of its solvers
# RMSprop's first update moves every weight by ten learning rates towards the sign of its gradient,
# however small that is. Where a gradient is what is left of a sum that cancels out, the sign is
# rounding: in single precision the weights of these two can differ by some thousandths.
SINGLE, DOUBLE = "32-true", "64-true"
IN_DOUBLE = ["cifar100", "image_cnn", "mnist_dense"]
# The largest differences. Of equal columns liblinear and dlrun choose others, so the coefficients
# of imdb-lasso are not compared, but what they add up to for each review.
BOUNDS = {"loss": 1e-5, "weights": 1e-4, "objective": 1e-7, "logits": 5e-3, "probability": 1e-5}
DIGITS = 6e-5  # a printed metric has four
# The least p-value of the test whether both sides draw the initial weights of a layer from the same
# distribution (Kolmogorov's and Smirnov's). The seeds are fixed, so that the value is, too.
LIKELY = 1e-3
# What a script prints: the numbers of an epoch, a metric of a part, and the straw man.
EPOCH = re.compile(r"^epoch \d+: loss \S+, (?:valid|test) (\S+), \S+ (\S+)$", re.MULTILINE)
METRIC = re.compile(r"^((?:train|valid|test) \w+) (\S+)$", re.MULTILINE)
STRAW_MAN = re.compile(r"^yesterday's volume as the prediction: R² (\S+)$", re.MULTILINE)
Metrics = dict[str, float]


def script(name: str, old: str = "", new: str = "") -> ModuleType:
    """A script as a module, with the only place of an old text changed."""
    text, module = (PLAIN / f"{name}.py").read_text(), ModuleType(name)
    assert not old or text.count(old) == 1
    exec(text.replace(old, new) if old else text, vars(module))
    return module


def run_main(module: ModuleType, *options: str) -> str:
    """Run a script's main; return what it prints."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        sample = ["--sample"] * module.__name__.startswith(SAMPLED)
        patch.setattr(sys, "argv", [module.__name__, *sample, *options])
        module.main()
    return said.getvalue()


def printed_metrics(said: str) -> Metrics:
    """The metrics that a script has printed at its end."""
    found = {name.replace(" ", "_"): float(value) for name, value in METRIC.findall(said)}
    straw_man = STRAW_MAN.search(said)
    return found | ({"straw_man_r2": float(straw_man[1])} if straw_man else {})


def shares(found: Metrics, expected: Metrics) -> Metrics:
    """By what each number differs, as a share where it is above 1."""
    assert found
    pairs = {name: (value, expected[name]) for name, value in found.items()}
    return {name: abs(one - other) / max(1, abs(other)) for name, (one, other) in pairs.items()}


@pytest.fixture(scope="module", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Few reviews, images and photographs in the published layouts; own data are in `examples`."""
    folder = lab.data_folder(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DLRUN_DATA_DIR", str(folder))
        patch.setenv("DLRUN_RUNS_DIR", str(folder / "runs"))
        yield folder


@functools.cache
def run_small(name: str, **values: Any) -> Run:
    """Run an experiment on the data of a script, with two threads of the CPU."""
    values |= {"data.source": "sample"} if name.startswith(SAMPLED) else {}
    values |= OWN_DATA.get(name.partition("_")[0], {})
    values |= {"path.values": VALUES} if name.endswith("lasso") else {}
    return dlrun.run(name.replace("_", "-"), quiet=True, accelerator="cpu", threads=2, **values)


@dataclass(frozen=True)
class Oracle:
    """A run of a network: what it began with, and what epochs of few updates made of it."""

    run: Run
    network: nn.Module  # before the first epoch
    batches: list[list[Tensor]]  # of each epoch
    weights: list[Tensor]

    @classmethod
    @functools.cache
    def of(cls, name: str, precision: str, **values: Any) -> "Oracle":
        """Do the run."""
        size = BATCH_SIZES[name.partition("_")[0]]
        values |= {"trainer.max_epochs": EPOCHS, "trainer.precision": precision}
        run = run_small(name, **values | {"batch_size": size})
        torch.manual_seed(run.config.seed)
        implementation: Any = run.experiment.load_implementation()
        network = implementation.build(run.config, implementation.assets(run))
        order = EpochBatches(run.results["train_rows"], size, run.config.seed)
        batches = []
        for epoch in range(EPOCHS):
            order.set_epoch(epoch)
            batches.append([*map(torch.from_numpy, order)])
        assert len(order) == 3
        assert are_all_rows_shuffled(batches, run.results["train_rows"])
        return cls(run, network, batches, [one.detach() for one in run.network().parameters()])

    def differences(self, module: ModuleType) -> Metrics:
        """Train and test by a script: by which shares do losses, weights and metrics differ?"""
        train_epoch, found = module.train_epoch, Metrics()
        networks, all_batches, losses = list[nn.Module](), list[list[Tensor]](), list[float]()

        def train(network: nn.Module, optimizer: object, X: Any, y: Tensor, own: Any) -> float:
            epoch = len(all_batches)
            if epoch == 0:
                networks.append(network)
                found["initial"] = 0 if self.begin_alike(network) else 1
            all_batches.append([*own])
            if self.run.config.trainer.precision == DOUBLE:
                X = 255 * (X / 255).float().double()  # dlrun rounds pixels to single precision
            torch.manual_seed(epoch_seed(self.run.config.seed, epoch))
            losses.append(train_epoch(network, optimizer, X, y, self.batches[epoch]))
            return losses[-1]

        vars(module).update({"train_epoch": train, "DEVICE": "cpu"})
        with computing_in(self.run.config.trainer.precision):
            said = run_main(module, "--epochs", f"{EPOCHS}")
        shipped = registry.shipped_config(self.run.record.experiment).values
        rows = self.run.results["train_rows"]
        size = min(shipped["batch_size"], rows)
        is_size = all(len(batches[0]) == size for batches in all_batches)
        found["batches"] = 0 if is_size and are_all_rows_shuffled(all_batches, rows) else 1
        for loss, valid, row in zip(losses, EPOCH.findall(said), self.run.rows, strict=True):
            expected = {name: value for name, value in row.items() if name.startswith("valid_")}
            numbers = dict(zip(expected, map(float, valid), strict=True))
            worse = shares(numbers, expected) | {"loss": abs(loss / row["train_loss"] - 1)}
            found |= {name: max(share, found.get(name, 0)) for name, share in worse.items()}
        pairs = [*zip(networks[0].parameters(), self.weights, strict=True)]
        ours = torch.cat([weight.detach().flatten() for weight, _ in pairs])
        theirs = torch.cat([in_shape(other, weight).flatten() for weight, other in pairs])
        found["weights"] = float((ours - theirs).norm() / theirs.norm())
        return shares(printed_metrics(said), self.run.record.metrics) | found

    def begin_alike(self, network: nn.Module) -> bool:
        """Give a script's network dlrun's initial weights, and the class of its dropout layers.

        Tell whether both sides have drawn the weights from the same distributions.
        """
        alike = True
        for weight, first in zip(network.parameters(), self.network.parameters(), strict=True):
            drawn = weight.detach().flatten(), first.detach().flatten()
            alike &= ks_2samp(*drawn).pvalue > LIKELY
            weight.data.copy_(in_shape(first.detach(), weight))
        # The same random numbers, but the shares of the script, at its places.
        for layer, other in zip(dropouts(network), dropouts(self.network), strict=True):
            layer.__class__ = type(other)
        return alike


def dropouts(network: nn.Module) -> list[nn.Module]:
    """The layers that drop units: a script also has those of the share 0."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Dropout) and layer.p]


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let torch make numbers of a precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if precision == DOUBLE else torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def are_all_rows_shuffled(batches: list[list[Tensor]], count: int) -> bool:
    """Whether the batches of each epoch are of all rows, each in an order of its own."""
    every = torch.arange(count)
    orders = [torch.cat(of_epoch) for of_epoch in batches]
    has_all = all(torch.equal(order.sort().values, every) for order in orders)
    return has_all and len({tuple(order.tolist()) for order in [every, *orders]}) == len(orders) + 1


def in_shape(weight: Tensor, like: Tensor) -> Tensor:
    """A weight in the shape of another: BagLinear's is nn.Linear's transposed."""
    return weight if weight.shape == like.shape else weight.T


def fit_differences(module: ModuleType, **values: Any) -> Metrics:
    """Fit by a script and by dlrun: by which shares do the numbers differ?"""
    name, fit, found = module.__name__, module.fit, list[Any]()

    def keep(*arguments: Any) -> Any:
        returned = fit(*arguments)
        found.extend(np.atleast_1d(returned))
        return returned

    vars(module).update({"fit": keep, "VALUES": VALUES})
    printed = printed_metrics(run_main(module))
    expected = run_small(name, **values).record.metrics
    return shares(printed | dict(zip(FITS[name], found, strict=True)), expected)


def lasso_differences(module: ModuleType) -> Metrics:
    """Solve by liblinear and by dlrun, both far beyond their usual tolerance."""
    solve, found = module.solve, list[Any]()

    def keep(train: Any, penalty: float) -> Any:
        found.append((train, penalty, solve(train, penalty)))
        return found[-1][-1]

    vars(module).update({"solve": keep, "VALUES": VALUES, "TOLERANCE": EXACT})
    run = run_small("imdb_lasso", tolerance=EXACT)
    worst = shares(printed_metrics(run_main(module)), run.record.metrics)
    ours = unpack_linear_models(run.read("model.npz"))
    for row, own, (train, penalty, model) in zip(run.rows, ours, found, strict=True):
        margins = model.decision_function(train.X)
        loss = np.logaddexp(0, -(2.0 * train.y - 1) * margins).sum()
        norm = np.abs([*model.coef_[0], *model.intercept_]).sum()
        for key, share in {
            "lambda": abs(penalty / row["lambda"] - 1),
            "objective": abs((loss + penalty * norm) / row["objective"] - 1),
            "logits": np.abs(margins - own.logits(train.X)).max(),
        }.items():
            worst[key] = max(share, worst.get(key, 0))
    return worst


def photograph_differences(module: ModuleType) -> Metrics:
    """Classify by a ResNet-50 of random weights: do the labels and probabilities differ?"""
    network, run = classified()
    worst = 0.0
    for path, expected in run.results["predictions"].items():
        for one, (label, value) in zip(expected, module.classify(network, path), strict=True):
            same = one["label"] == label
            worst = max(worst, abs(one["probability"] - value) if same else 1)
    return {"probability": worst}


@functools.cache
def classified() -> tuple[nn.Module, Run]:
    torch.manual_seed(0)
    folder, network = Path(os.environ["DLRUN_DATA_DIR"]), resnet50()
    torch.save(network.state_dict(), folder / "weights.pt")
    files, values = sorted((folder / "book_images").iterdir())[:2], dict[str, Any]()
    values |= {"model.weights": folder / "weights.pt", "accelerator": "cpu", "quiet": True}
    return network, dlrun.run("classify-images", *files, **values)


def differences(module: ModuleType, precision: str | None = None) -> Metrics:
    """By which shares do a script's numbers differ from dlrun's?"""
    name = module.__name__
    if name in NETWORKS:
        usual = DOUBLE if name in IN_DOUBLE else SINGLE
        return Oracle.of(name, precision or usual).differences(module)
    others = {"imdb_lasso": lasso_differences, "classify_images": photograph_differences}
    return others.get(name, fit_differences)(module)


def too_large(name: str, found: Metrics, *of: str) -> Metrics:
    """Print the differences, and return those beyond their bounds."""
    print(f"{name:15}", *of, *(f"{key} {share:.1e}" for key, share in found.items()))
    bounds = BOUNDS | dict.fromkeys(FITS.get(name, []), 1e-6)
    return {key: share for key, share in found.items() if not share <= bounds.get(key, DIGITS)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "cifar100" else ())  # 20 s in double
        for name in sorted({*SCRIPTS, *NETWORKS})
    ],
)
def test_dlrun_computes_what_the_script_computes(name: str) -> None:
    assert not too_large(name, differences(script(name)))


def test_a_lasso_without_scaling_is_that_of_the_script() -> None:
    """Its penalties are those of the scaled columns, as in the book's printed code."""
    module = script("hitters_lasso", "SCALE = True", "SCALE = False")
    assert not too_large("hitters_lasso", fit_differences(module, scale=False), "not scaled")


# What a script computes with another value than the shipped one, beside dlrun.
OTHER_VALUES = [
    ("imdb_dense", "DROPOUT = 0.0", "DROPOUT = 0.3", {"model.dropout": 0.3}),
    ("text_dense", "DROPOUT = 0.0", "DROPOUT = 0.3", {"model.dropout": 0.3}),
    ("nyse_rnn", "DAY_OF_WEEK = False", "DAY_OF_WEEK = True", {"data.day_of_week": True}),
    ("nyse_rnn", "MONTH = False", "MONTH = True", {"data.month": True}),
    ("nyse_dense", "MONTH = False", "MONTH = True", {"data.month": True}),
    ("nyse_linear", "MONTH = False", "MONTH = True", {"data.month": True}),
]


@pytest.mark.parametrize(("name", "old", "new", "values"), OTHER_VALUES)
def test_dlrun_computes_what_the_script_computes_with_another_value(
    name: str, old: str, new: str, values: dict[str, Any]
) -> None:
    module = script(name, old, new)
    if name in NETWORKS:
        found = Oracle.of(name, SINGLE, **values).differences(module)
    else:
        found = fit_differences(module, **values)
    assert not too_large(name, found, new)


MUTATIONS = [
    ("hitters_dense", "nn.ReLU(), ", ""),
    ("hitters_dense", "        optimizer.zero_grad()\n", ""),
    ("hitters_dense", "lr=LEARNING_RATE", "lr=LEARNING_RATE / 2"),
    ("hitters_dense", "optim.RMSprop", "optim.Adam"),
    ("hitters_dense", "nn.Dropout(share)", "nn.Dropout(share / 2)"),
    ("nyse_dense", ", y[rows])", ", -y[rows])"),
    ("nyse_dense", "torch.randperm(len(X))", "torch.arange(len(X))"),
    ("nyse_rnn", "outputs[:, -1]", "outputs[:, 0]"),
    ("nyse_rnn", ".reshape(-1, 5, 3)", ".reshape(-1, 5, 3).flip(1)"),
    ("mnist_logistic", "network(X[rows] / 255)", "network(X[rows] / 256)"),
    ("mnist_dense", "logits.argmax(1)", "logits.argmin(1)"),
    ("cifar100", "nn.MaxPool2d(2)", "nn.AvgPool2d(2)"),
    ("imdb_dense", "y[rows].float()", "1 - y[rows].float()"),
    ("imdb_dense", "evaluate(network, reviews.valid.X", "evaluate(network, reviews.valid.X[::-1]"),
    ("imdb_lstm", "outputs[:, -1]", "outputs[:, -2]"),
    ("imdb_lasso", "C=1 / penalty", "C=2 / penalty"),
    ("hitters_linear", "LinearRegression()", "LinearRegression(positive=True)"),
    ("hitters_lasso", "make_pipeline(scaler, Lasso", "make_pipeline(Lasso"),
    ("hitters_lasso", "KFold(FOLDS, shuffle=True, random_state=FOLD_SEED)", "KFold(FOLDS)"),
    ("nyse_linear", "LinearRegression()", "LinearRegression(fit_intercept=False)"),
    ("classify_images", "[0].softmax(0)", ".softmax(0)[0]"),
    ("classify_images", "[index] for index", "[999 - index] for index"),
]
COSTLY = ("mnist_dense", "mnist_logistic", "cifar100", "imdb_lasso", "classify_images")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [pytest.param(*one, marks=pytest.mark.slow if one[0] in COSTLY else ()) for one in MUTATIONS],
)
def test_a_script_with_one_other_line_is_found_out(name: str, old: str, new: str) -> None:
    assert too_large(name, differences(script(name, old, new)), repr(old))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_DOUBLE)
def test_in_single_precision_the_loss_is_near(name: str) -> None:
    assert too_large(name, differences(script(name), SINGLE), SINGLE).get("loss", 0) < 1e-4


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_the_values_of_the_config_and_at_most_80_lines(name: str) -> None:
    shipped = registry.shipped_config(name.replace("_", "-")).values
    text = (PLAIN / f"{name}.py").read_text()
    constants = re.findall(r"^[A-Z_]+ = (\S.*?) +# ([\w.]+)$", text, re.MULTILINE)
    assert constants
    assert {key: ast.literal_eval(value) for value, key in constants} == {
        key: shipped[key] for _, key in constants
    }
    assert len(text.splitlines()) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("name", [one for one in SCRIPTS if one != "classify_images"])
def test_a_script_runs_by_itself(tmp_path: Path, name: str) -> None:
    options = ["--sample", *["--epochs", "1"] * (name in NETWORKS)]
    done = python(tmp_path, PLAIN / f"{name}.py", *options, timeout=900).is_told(0)
    assert re.search(r"^test \w+ -?\d", done.stdout, re.MULTILINE)
