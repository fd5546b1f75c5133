"""The lab's two networks on MNIST (ISLP 10.9.2) with the lab's own package `islp`.

Runs in benchmarks/.venv-lab: lab_mnist.py dense|logistic ROOT EPOCHS OUT; ROOT has MNIST/raw.
"""

import json
import sys
from pathlib import Path

from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from lab_imdb import EpochTimer
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torchinfo import summary
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor


class MNISTModel(nn.Module):
    """Two hidden layers with dropout."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.4))
        self.layer2 = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3))
        self._forward = nn.Sequential(self.layer1, self.layer2, nn.Linear(128, 10))

    def forward(self, x):
        return self._forward(x)


class MNISTMLR(nn.Module):
    """Multinomial logistic regression."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x):
        return self.linear(x)


def main():
    kind, root, epochs, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    seed_everything(0, workers=True)
    train, test = (MNIST(root=root, train=part, transform=ToTensor()) for part in (True, False))
    data = SimpleDataModule(train, test, validation=0.2, num_workers=0, batch_size=256)
    model = {"dense": MNISTModel, "logistic": MNISTMLR}[kind]()
    columns = ["input_size", "output_size", "num_params"]
    summary(model, input_data=train[0][0][None], col_names=columns, verbose=0)
    module = SimpleModule.classification(model, num_classes=10)
    timer = EpochTimer()
    trainer = Trainer(
        deterministic=True,
        accelerator="cpu",
        max_epochs=epochs,
        logger=CSVLogger(str(out / "logs"), name="MNIST"),
        enable_progress_bar=False,
        callbacks=[ErrorTracker(), timer],
    )
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    found = {"epoch_seconds": timer.seconds, "test_accuracy": tested["test_accuracy"]}
    (out / "lab.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
