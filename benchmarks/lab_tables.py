"""The lab's hitters-dense, nyse-rnn and nyse-dense (ISLP 10.9.1, 10.9.6) with its package `islp`.

Runs in benchmarks/.venv-lab: lab_tables.py hitters|rnn|dense EPOCHS OUT
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ISLP import load_data
from ISLP.models import ModelSpec
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from lab_imdb import EpochTimer
from matplotlib.pyplot import subplots
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim import RMSprop
from torch.utils.data import TensorDataset
from torchinfo import summary
from torchmetrics import MeanAbsoluteError, R2Score


class HittersModel(nn.Module):
    """A hidden layer of 50."""

    def __init__(self, input_size):
        super().__init__()
        self.flatten = nn.Flatten()
        self.sequential = nn.Sequential(
            nn.Linear(input_size, 50), nn.ReLU(), nn.Dropout(0.4), nn.Linear(50, 1)
        )

    def forward(self, x):
        return torch.flatten(self.sequential(self.flatten(x)))


class NYSEModel(nn.Module):
    """A recurrent layer of 12, a linear layer on its last output."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 12, batch_first=True)
        self.dense = nn.Linear(12, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        val, _ = self.rnn(x)
        return torch.flatten(self.dense(self.dropout(val[:, -1])))


class NonLinearARModel(nn.Module):
    """A hidden layer of 32."""

    def __init__(self):
        super().__init__()
        self._forward = nn.Sequential(
            nn.Flatten(), nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1)
        )

    def forward(self, x):
        return torch.flatten(self._forward(x))


def dataset(inputs, targets):
    return TensorDataset(
        *(torch.tensor(np.asarray(a).astype(np.float32)) for a in (inputs, targets))
    )


def hitters():
    table = load_data("Hitters").dropna()
    spec = ModelSpec(table.columns.drop("Salary"), intercept=False)
    X, y = spec.fit_transform(table).to_numpy(), table["Salary"].to_numpy()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=1)
    return dataset(X_train, y_train), dataset(X_test, y_test)


def nyse(kind):
    table = load_data("NYSE")
    cols = ["DJ_return", "log_volume", "log_volatility"]
    X = pd.DataFrame(StandardScaler().fit_transform(table[cols]), columns=cols, index=table.index)
    for lag in range(1, 6):
        for col in cols:
            X[f"{col}_{lag}"] = X[col].shift(lag)
    X.insert(len(X.columns), "train", table["train"])
    X = X.join(pd.get_dummies(table["day_of_week"]))
    X = X.dropna()
    y, train = X["log_volume"], X["train"].astype(bool)
    X = X.drop(columns=["train", *cols])
    if kind == "rnn":
        ordered = [f"{col}_{lag}" for lag in range(5, 0, -1) for col in cols]
        X = X.reindex(columns=ordered).to_numpy().reshape((-1, 5, 3))
    else:
        X = X.to_numpy(dtype=float)
    return dataset(X[train], y[train]), dataset(X[~train], y[~train])


def main():
    kind, epochs, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    seed_everything(0, workers=True)
    train, test = hitters() if kind == "hitters" else nyse(kind)
    batch_size = 32 if kind == "hitters" else 64
    data = SimpleDataModule(train, test, num_workers=0, validation=test, batch_size=batch_size)
    model = {"hitters": lambda: HittersModel(19), "rnn": NYSEModel, "dense": NonLinearARModel}[
        kind
    ]()
    columns = ["input_size", "output_size", "num_params"]
    summary(model, input_data=train.tensors[0][:batch_size], col_names=columns, verbose=0)
    if kind == "hitters":
        module = SimpleModule.regression(model, metrics={"mae": MeanAbsoluteError()})
    else:
        optimizer = RMSprop(model.parameters(), lr=0.001)
        module = SimpleModule.regression(model, optimizer=optimizer, metrics={"r2": R2Score()})
    logger = CSVLogger(str(out / "logs"), name=kind)
    timer = EpochTimer()
    trainer = Trainer(
        deterministic=True,
        accelerator="cpu",
        max_epochs=epochs,
        log_every_n_steps=5,
        logger=logger,
        enable_progress_bar=False,
        callbacks=[ErrorTracker(), timer],
    )
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)

    metric = "mae" if kind == "hitters" else "r2"
    results = pd.read_csv(logger.experiment.metrics_file_path)
    fig, ax = subplots(1, 1, figsize=(6, 6))
    for stage in (f"train_{metric}_epoch", f"valid_{metric}"):
        found = results.dropna(subset=[stage])
        ax.plot(found["epoch"], found[stage], "o-", label=stage)
    ax.legend()
    fig.savefig(out / "curves.png")
    found = {"epoch_seconds": timer.seconds, f"test_{metric}": tested[f"test_{metric}"]}
    (out / "lab.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
