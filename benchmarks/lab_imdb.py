"""The lab's imdb-dense and imdb-lstm (ISLP 10.9.5, 10.9.6) with the lab's own package `islp`.

Runs in benchmarks/.venv-lab: lab_imdb.py dense|lstm ARRAYS EPOCHS OUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from matplotlib.pyplot import subplots
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.optim import RMSprop
from torch.utils.data import Subset, TensorDataset
from torchinfo import summary


class IMDBModel(nn.Module):
    """Two hidden layers of 16 on a dense bag of words."""

    def __init__(self, input_size):
        super().__init__()
        self.dense1 = nn.Linear(input_size, 16)
        self.activation = nn.ReLU()
        self.dense2 = nn.Linear(16, 16)
        self.output = nn.Linear(16, 1)

    def forward(self, x):
        val = self.activation(self.dense1(x))
        val = self.activation(self.dense2(val))
        return torch.flatten(self.output(val))


class LSTMModel(nn.Module):
    """An embedding of 32, an LSTM of 32, a linear layer on its last output."""

    def __init__(self, input_size):
        super().__init__()
        self.embedding = nn.Embedding(input_size, 32)
        self.lstm = nn.LSTM(input_size=32, hidden_size=32, batch_first=True)
        self.dense = nn.Linear(32, 1)

    def forward(self, x):
        val, _ = self.lstm(self.embedding(x))
        return torch.flatten(self.dense(val[:, -1]))


class EpochTimer(Callback):
    """Seconds of each epoch, from its start to the end of its validation."""

    def __init__(self):
        self.seconds = []
        self.started = None

    def on_train_epoch_start(self, trainer, pl_module):
        self.started = time.perf_counter()

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.seconds.append(time.perf_counter() - self.started)


def main():
    kind, arrays, epochs, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    seed_everything(0, workers=True)
    letter, batch_size = {"dense": ("x", 512), "lstm": ("s", 300)}[kind]

    def dataset(part):
        inputs, labels = (np.load(arrays / f"{name}_{part}.npy") for name in (letter, "y"))
        if kind == "lstm":
            inputs = inputs.astype(np.int32)  # the lab's own type; nn.Embedding reads no int16
        return TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels))

    train, test = dataset("train"), dataset("test")
    fitted, held = (np.load(arrays / f"{name}.npy").tolist() for name in ("fitted", "held"))
    data = SimpleDataModule(
        Subset(train, fitted),  # as its own random_split makes them
        test,
        validation=Subset(train, held),
        num_workers=0,
        batch_size=batch_size,
    )
    columns = ["input_size", "output_size", "num_params"]
    if kind == "dense":
        width = train.tensors[0].shape[1]
        model = IMDBModel(width)
        summary(model, input_size=(batch_size, width), col_names=columns, verbose=0)
        optimizer = RMSprop(model.parameters(), lr=0.001)
        module = SimpleModule.binary_classification(model, optimizer=optimizer)
    else:
        model = LSTMModel(10_003)
        summary(model, input_data=train.tensors[0][:10], col_names=columns, verbose=0)
        module = SimpleModule.binary_classification(model)
    logger = CSVLogger(str(out / "logs"), name="IMDB")
    timer = EpochTimer()
    trainer = Trainer(
        deterministic=True,
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        log_every_n_steps=10,
        enable_progress_bar=False,
        callbacks=[ErrorTracker(), timer],
    )
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)

    results = pd.read_csv(logger.experiment.metrics_file_path)
    fig, axes = subplots(1, 2, figsize=(12, 6))
    for ax, name in zip(axes, ("accuracy", "loss"), strict=True):
        for stage in ("train_{}_epoch" if name == "accuracy" else "train_{}", "valid_{}"):
            found = results.dropna(subset=[stage.format(name)])
            ax.plot(found["epoch"], found[stage.format(name)], "o-", label=stage.format(name))
        ax.set_xlabel("epoch")
        ax.legend()
    fig.savefig(out / "curves.png")
    found = {"epoch_seconds": timer.seconds, "test_accuracy": tested["test_accuracy"]}
    (out / "lab.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
