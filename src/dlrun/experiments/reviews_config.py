"""Define the config keys that all experiments on movie reviews share."""

from pathlib import Path
from typing import ClassVar

from dlrun.config.data_sections import COPY_KEYS, OWN_DATA_KEYS, ReviewsDataConfig
from dlrun.config.network_sections import NetworkConfig
from dlrun.config.sections import ExperimentConfig, Reference
from dlrun.data import user_data

DATA_KEYS = COPY_KEYS | OWN_DATA_KEYS


class ReviewsConfig(ExperimentConfig):
    """Defines the config keys of every experiment on movie reviews."""

    dataset_location = "dlrun.data.labelled_texts:DATASET"
    changeable_keys: ClassVar[frozenset[str]] = DATA_KEYS

    data: ReviewsDataConfig
    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check the user's own texts, and the number of generated ones."""
        super().check(runs_dir)
        user_data.check_review_files(self.data)


class ReviewsNetworkConfig(ReviewsConfig, NetworkConfig):
    """Defines the config keys of every experiment that trains a network on movie reviews."""

    changeable_keys = NetworkConfig.changeable_keys | DATA_KEYS
