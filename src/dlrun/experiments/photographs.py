"""Declare the experiment that classifies photographs by a pretrained network (lab 10.9.4)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dlrun.config.network_sections import BatchSize, PretrainedModelConfig
from dlrun.config.sections import ExperimentConfig, LocalPath, PublishedNumbers, Section
from dlrun.data.photographs import find_book_photographs, find_images, sample_photographs
from dlrun.errors import DataError
from dlrun.experiments.experiment import Argument, Demo, Experiment
from dlrun.system.text import pluralize

BOOK_PHOTOGRAPH_HASHES = {  # SHA-256 of the lab's six
    "e1d779cfbcf5609e3baa609d1af46df0b72ef2b44991696ec8a329b59336d495",
    "c0b864c8ca35fa52e7933e11bed12e337a899e974c29d202804f51bfff030445",
    "04328a1ef3b7748aa76fac994eba1eabb79bc1fa60d91ca34eceb85a2a45822b",
    "cd3f70ec4b10c455e834eb26cdcdf3ec214907b00c633518ceafc5c868fd7d5e",
    "5edea0f97ab6e2b5ab9267740ef708fdff6b1250cf5bf6179982f35f5c6674c9",
    "d889979a50bc6f7f7bca371ce292bc505153010e6c5584356bf76c72459ffe3a",
}
PHOTOGRAPHS = "book_images"  # the folder of the lab's photographs in the data folder


class TransformConfig(Section):
    """Defines how a photograph becomes the input of the network."""

    squash: bool


class PublishedLabels(PublishedNumbers):
    """Defines ISLP's published label probabilities of each photograph.

    packaged: where the authors' package `islp` has each photograph.
    """

    model: str
    packaged: dict[str, str]
    book: dict[str, dict[str, float]]
    notebook: dict[str, dict[str, float]]


class PhotographsConfig(ExperimentConfig):
    """Defines the config keys of classify-images."""

    batch_size: BatchSize
    precision: Literal["32-true", "bf16-mixed"]
    images: list[LocalPath]
    top: Annotated[int, Field(ge=1, le=100)]
    model: PretrainedModelConfig
    transform: TransformConfig
    reference: PublishedLabels

    def book_photographs(self, data_dir: Path) -> list[Path]:
        """Return the book's photographs; raise DataError if any is missing."""
        return find_book_photographs(data_dir / PHOTOGRAPHS, self.reference.packaged)

    def find_photographs(self, data_dir: Path) -> tuple[list[Path], str]:
        """Find the photographs to classify, and say in words where they are from."""
        if self.images:
            files = find_images(self.images)
            return files, pluralize(len(files), "file")
        try:
            return self.book_photographs(data_dir), "the book's six photographs"
        except DataError:
            return sample_photographs(), "two photographs that scikit-learn ships"

    def data_files(self, data_dir: Path) -> list[Path]:
        files, _ = self.find_photographs(data_dir)
        return files

    def check(self) -> None:
        """Raise DataError if an image does not exist."""
        find_images(self.images)


CLASSIFY_IMAGES = Experiment(
    "classify-images",
    PhotographsConfig,
    "dlrun.networks.photographs:PhotographsImplementation",
    argument=Argument(
        "images",
        "IMAGE_OR_FOLDER",
        "Image files (JPEG, PNG, WebP, GIF or BMP), or folders of such files.",
    ),
    neutral_keys=frozenset({"images", "batch_size", "top"}),
    stochastic=False,
    checks_itself=True,
    demo=Demo(),
)
