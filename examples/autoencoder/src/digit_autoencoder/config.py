from dlrun.plugin import LightningConfig, PositiveInt


class Config(LightningConfig):
    batch_size: PositiveInt
    width: PositiveInt
    lr: float
