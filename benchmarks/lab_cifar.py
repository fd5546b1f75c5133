"""The lab's convolutional network (ISLP 10.9.3) with the lab's own package `islp`.

Runs in benchmarks/.venv-lab: lab_cifar.py ARRAYS EPOCHS OUT
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from lab_imdb import EpochTimer
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.optim import RMSprop
from torch.utils.data import Subset, TensorDataset
from torchinfo import summary

SIZES = [(3, 32), (32, 64), (64, 128), (128, 256)]
BATCH = 128


class BuildingBlock(nn.Module):
    """A convolution, a ReLU and a pooling."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=(3, 3), padding="same")
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool2d(kernel_size=(2, 2))

    def forward(self, x):
        return self.pool(self.activation(self.conv(x)))


class CIFARModel(nn.Module):
    """Four blocks and two dense layers."""

    def __init__(self, blocks):
        super().__init__()
        self.conv = nn.Sequential(*blocks)
        self.output = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(2 * 2 * 256, 512), nn.ReLU(), nn.Linear(512, 100)
        )

    def forward(self, x):
        return self.output(torch.flatten(self.conv(x), start_dim=1))


def lab(train, test, fitted, held, epochs, out):
    data = SimpleDataModule(
        Subset(train, fitted.tolist()),  # as its own random_split makes them
        test,
        validation=Subset(train, held.tolist()),
        num_workers=0,
        batch_size=BATCH,
    )
    model = CIFARModel([BuildingBlock(*sizes) for sizes in SIZES])
    columns = ["input_size", "output_size", "num_params"]
    summary(model, input_data=train.tensors[0][:BATCH], col_names=columns, verbose=0)
    optimizer = RMSprop(model.parameters(), lr=0.001)
    module = SimpleModule.classification(model, num_classes=100, optimizer=optimizer)
    timer = EpochTimer()
    trainer = Trainer(
        deterministic=True,
        accelerator="cpu",
        max_epochs=epochs,
        logger=CSVLogger(str(out / "logs"), name="CIFAR100"),
        enable_progress_bar=False,
        callbacks=[ErrorTracker(), timer],
    )
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    return timer.seconds, tested["test_accuracy"]


def main():
    arrays, epochs, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    seed_everything(0, workers=True)
    train, test = (
        TensorDataset(
            torch.from_numpy(np.load(arrays / f"x_{part}.npy")) / 255,
            torch.from_numpy(np.load(arrays / f"y_{part}.npy")),
        )
        for part in ("train", "test")
    )
    fitted, held = (np.load(arrays / f"{name}.npy") for name in ("fitted", "held"))
    seconds, accuracy = lab(train, test, fitted, held, epochs, out)
    found = {"epoch_seconds": seconds, "test_accuracy": accuracy}
    (out / "lab.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
