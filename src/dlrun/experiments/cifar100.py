"""CIFAR100 by the lab's convolutional network (ISLP, lab 10.9.3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from dlrun.config.schema import LocalPath, PositiveInt, Section
from dlrun.config.sections import OWN_DATA_KEYS, NetworkConfig, OwnData, Reference
from dlrun.experiments.network import LoadedData, NetworkExperiment
from dlrun.experiments.predictor import ImagePredictor, Predictor
from dlrun.run_context import DataOrigin, RunContext
from dlrun.run_folder.stored_run import StoredRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.data.download import Dataset
    from dlrun.training.objective import Objective

SCALE = 255  # makes bytes to numbers in [0, 1]


class Data(OwnData):
    """Which images."""

    source: Literal["torchvision", "sample", "folder"]
    archive: LocalPath | None
    mirrors: list[str]
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class Model(Section):
    """The network's sizes; each block halves the 32 pixels of a side, so there are at most five."""

    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)]
    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Config(NetworkConfig):
    """configs/cifar100.yaml."""

    data: Data
    model: Model
    reference: Reference


class Cifar100(NetworkExperiment[Config]):
    """A convolutional network on small colour images."""

    name = "cifar100"
    schema = Config
    may_change = NetworkExperiment.may_change | {"data.archive", "data.mirrors"} | OWN_DATA_KEYS

    def check(self, config: Config, runs_dir: Path) -> None:
        """The data's places are there; the archive may be a folder, unpacked."""
        from dlrun.data import user_data
        from dlrun.data.archives import check_archive_type
        from dlrun.data.download import check_local

        super().check(config, runs_dir)
        archive = config.data.archive
        if config.data.is_own:
            user_data.check(config.data)
        if config.data.source != "torchvision" or archive is None:
            return
        check_local("data.archive", archive, folder_allowed=True)
        if not archive.is_dir():
            check_archive_type(archive, "tar")

    def dataset(self) -> "Dataset":
        """The images."""
        from dlrun.data import cifar100

        return cifar100.DATASET

    def load(self, config: Config, context: RunContext) -> LoadedData:
        """Images; the held-out ones are chosen by the seed."""
        from dlrun.data import cifar100  # slow imports come once a run begins
        from dlrun.data.images import png
        from dlrun.data.splits import split
        from dlrun.training.data import ArrayData, TensorBatches

        images = cifar100.load_config(config, context.data_dir, context.screen)
        train, test = images.train, images.test
        seed, screen = config.split_seed, context.screen
        fitted, valid = split(config.data, train.labels, test.labels, seed, screen)
        data = ArrayData(
            TensorBatches(train.pixels[fitted], train.labels[fitted], scale=SCALE),
            TensorBatches(train.pixels[valid], train.labels[valid], scale=SCALE),
            TensorBatches(test.pixels, test.labels, scale=SCALE),
            batch_size=config.batch_size,
            seed=config.seed,
        )
        assets = {"labels": images.names, "preprocessing": {"scale": SCALE, "size": [3, 32, 32]}}
        return LoadedData(
            data,
            DataOrigin(images.origin, images.differs),
            assets,
            lambda row: {"image": png(test.pixels[row].transpose(1, 2, 0))},
        )

    def build(self, config: Config, assets: dict[str, Any]) -> "nn.Module":
        """The untrained network."""
        from dlrun.networks.cnn import ConvNet

        model = config.model
        return ConvNet(model.channels, model.hidden, model.dropout, len(assets["labels"]))

    def objective(self, config: Config, assets: dict[str, Any]) -> "Objective":
        """A hundred classes, or as many as the user's own images have."""
        from dlrun.training.objective import classification

        return classification(len(assets["labels"]))

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """Images of any size."""
        return _Predictor(self.network(run, config), self.objective(config, run.assets), run.assets)

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """Black images; a batch of them, unless that alone would fill the memory."""
        import torch

        return torch.zeros(min(config.batch_size, 512), *assets["preprocessing"]["size"])


class _Predictor(ImagePredictor):
    """Of an image the largest centred square, at the network's size."""

    shown = 5

    def __init__(self, network: Any, objective: "Objective", assets: dict[str, Any]) -> None:
        super().__init__(assets["labels"])
        self._network, self._objective = network, objective
        self._scale, (_, side, _) = (assets["preprocessing"][name] for name in ("scale", "size"))
        self._side = side
        self.smallest = 4 * side  # of a large JPEG; the rest is averaged away

    def to_input(self, image: Any) -> Any:
        import numpy as np
        from PIL import Image, ImageOps

        square = ImageOps.fit(image, (self._side, self._side), Image.Resampling.BICUBIC)
        return np.asarray(square).transpose(2, 0, 1)

    def probabilities(self, inputs: Sequence[Any]) -> "NDArray[np.float64]":
        import numpy as np
        import torch

        from dlrun.training.test_predictions import probabilities

        pixels = torch.from_numpy(np.stack(inputs)) / self._scale
        return probabilities(self._network, self._objective, pixels)


experiment = Cifar100()
