from dlrun.plugin import Experiment, LightningConfig, PositiveInt


class Config(LightningConfig):
    batch_size: PositiveInt
    width: PositiveInt
    lr: float


AUTOENCODER = Experiment(
    "autoencoder", Config, "digit_autoencoder.implementation:DigitAutoencoder", stochastic=True
)
