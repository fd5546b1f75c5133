"""Define the config of the experiments mnist-dense and mnist-logistic."""

from pathlib import Path

from dlrun.config.sections import DigitsDataConfig, HiddenLayersConfig, NetworkConfig, Reference
from dlrun.errors import ConfigError


class DigitsConfig(NetworkConfig):
    """Defines the keys of configs/mnist-dense.yaml and configs/mnist-logistic.yaml."""

    dataset_location = "dlrun.data.mnist:DATASET"
    changeable_keys = NetworkConfig.changeable_keys | {"data.archive", "data.mirrors"}
    max_threads = 1  # two took no less time beside other work

    data: DigitsDataConfig
    model: HiddenLayersConfig
    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check that the folder of the files exists, and that images are left to fit."""
        super().check(runs_dir)
        archive = self.data.archive
        if self.data.source == "sample":
            self.data.held_out(self.data.sample_images)
        elif archive is not None and not archive.is_dir():
            raise ConfigError(
                f"data.archive: {archive}: no such folder",
                "it names the folder with MNIST's four files; null downloads them",
            )


CONFIGS = dict.fromkeys(("mnist-dense", "mnist-logistic"), DigitsConfig)
