import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import LearningRateMonitor
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset, random_split

from digit_autoencoder.model import Autoencoder
from dlrun.plugin import LightningImplementation


class DigitAutoencoder(LightningImplementation):
    def module(self, config):
        return Autoencoder(config.width, config.lr)

    def datamodule(self, config, data_dir, screen):
        images = TensorDataset(torch.tensor(load_digits().data / 16).float())
        parts = random_split(images, [0.7, 0.15, 0.15])
        return LightningDataModule.from_datasets(*parts, batch_size=config.batch_size)

    def callbacks(self, config):
        return [LearningRateMonitor()]
