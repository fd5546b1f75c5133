"""Photographs classified by a pretrained ImageNet network (ISLP, lab 10.9.4)."""

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from dlrun.config.schema import BatchSize, LocalPath, PositiveInt, Section
from dlrun.config.sections import ExperimentConfig, NameOrPath
from dlrun.data.photograph_predictions import PREDICTIONS, PhotographPrediction
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.base import Argument, Experiment, Lab
from dlrun.experiments.book_comparison import changed_numbers
from dlrun.experiments.label_table import SHOWN, labels_shown
from dlrun.experiments.predictor import ImagePredictor, Predictor
from dlrun.run_context import DataOrigin, Results, RunContext
from dlrun.run_folder.stored_run import StoredRun
from dlrun.system.console import Screen, pluralize, printable

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.networks.pretrained import Pretrained

SHEET_LIMIT = 24  # photographs on the contact sheet
NAMES_LIMIT = 150_000  # bytes of all arguments; a config may have 256 KiB
SHEET, THUMBNAILS = "contact_sheet.png", "thumbnails.npz"
PHOTOGRAPHS = "book_images"  # folder of the lab's photographs, in the data folder


class Model(Section):
    """Which network, with which weights and labels."""

    name: str
    weights: NameOrPath
    num_classes: PositiveInt
    labels: LocalPath | None


class Transform(Section):
    """How a photograph becomes the network's input."""

    squash: bool
    scaled_decoding: bool


class Reference(Section):
    """Published probabilities for each photograph, of a model, and where they stand."""

    source: str
    model: str
    book: dict[str, dict[str, float]]
    notebook: dict[str, dict[str, float]]


class Config(ExperimentConfig):
    """configs/classify-images.yaml."""

    batch_size: BatchSize
    precision: Literal["32-true", "bf16-mixed"]
    images: list[LocalPath]
    top: Annotated[int, Field(ge=1, le=100)]
    model: Model
    transform: Transform
    reference: Reference


class ClassifyImages(Experiment[Config]):
    """The most probable labels of each photograph."""

    name = "classify-images"
    schema = Config
    # The lab squashes its photographs; the published labels stand beside either resize.
    neutral = frozenset({"images", "batch_size", "top", "transform.squash"})
    by_chance = False
    argument = Argument(
        "images",
        "IMAGE_OR_FOLDER",
        "JPEG, PNG, WebP, GIF or BMP, or folders and those in them.",
    )

    def check(self, config: Config, runs_dir: Path) -> None:
        """The images are there, the model's name, weights and labels are right."""
        from dlrun.data.download import is_offline
        from dlrun.networks import pretrained  # slow: needs torch

        if sum(len(os.fsencode(path)) for path in config.images) > NAMES_LIMIT:
            raise ConfigError(
                f"{len(config.images):,} images: too many to be named one by one",
                "name the folder that they are in",
            )
        _files(config)
        pretrained.check(config.model)
        if is_offline():
            _obtain(config, Screen())

    def ready_for_lab(self, config: Config, data_dir: Path, screen: Screen) -> Lab:
        """The lab's photographs and network; the bundled network where that cannot be had."""
        from dlrun.networks import pretrained, torchvision_names

        folder = data_dir / PHOTOGRAPHS
        if missing := [name for name in config.reference.book if not (folder / name).is_file()]:
            raise DataError(f"{folder}: of the lab's photographs {', '.join(missing)} missing")
        settings: dict[str, Any] = {"images": [str(folder)], "transform.squash": True}
        try:
            _obtain(config, screen)
        except DataError as error:
            try:
                pretrained.check(
                    config.model.model_copy(update={"name": torchvision_names.BUNDLED})
                )
            except ConfigError:  # it is not installed
                raise error from None
            screen.warn(f"{self.name}: {error.message}: {torchvision_names.BUNDLED} instead")
            settings["model.name"] = torchvision_names.BUNDLED
        return Lab([folder / name for name in config.reference.book], settings)

    def suggested(self, key: str) -> list[str]:
        """The models' names."""
        from dlrun.networks import torchvision_names

        return torchvision_names.classifier_names() if key == "model.name" else []

    def run(self, config: Config, context: RunContext) -> Results:
        """Classify the photographs; one that cannot be read becomes a row with its error."""
        import torch  # slow imports come once a run begins

        from dlrun.networks.batch_norm_folding import fold_batch_norms, noise_image
        from dlrun.networks.pretrained import probabilities
        from dlrun.system.accelerator import AcceleratorChoice
        from dlrun.training.inference import classify_photographs
        from dlrun.training.network_summary import write_summary
        from dlrun.training.torch_state import training_settings

        screen = context.screen
        files = _files(config)
        origin = pluralize(len(files), "file")
        if not config.images:
            origin = "two photographs that scikit-learn ships"
            screen.note(f"no image given: classifying {origin}")
        with context.phase("model"), training_settings(1):  # one input: more threads only wait
            model = _load(config, context)
            crop = model.transform.crop_size[0]
            example = torch.zeros(1, 3, crop, crop)
            parameters = write_summary(model.network, example, context)
            # The plain one is not kept: `network` reads it anew.
            model = replace(model, network=fold_batch_norms(model.network, noise_image(crop)))

        classify = partial(
            classify_photographs,
            context,
            files,
            model,
            squash=config.transform.squash,
            scaled_decoding=config.transform.scaled_decoding,
            batch_size=config.batch_size,
            top=config.top,
            precision=config.precision,
            thumbnails=SHEET_LIMIT,
        )
        choice = AcceleratorChoice(config.accelerator, config.fallback, screen.warn)
        with context.phase("classify"), training_settings(context.threads):
            report = choice.first(
                lambda device: probabilities(model, example, device, config.precision)
            )
            try:
                found = classify(report.used)
            except Exception as error:
                report = choice.after_failure(error, report)
                found = classify(report.used)
        errors = {str(one.file): one.error for one in found if one.error is not None}
        _warn(errors, context)
        predictions = {str(one.file): one.labels for one in found if one.error is None}
        if not predictions:
            raise DataError("there is no file that could be read as a photograph")
        context.keep(THUMBNAILS, _thumbnails(found))
        published = {} if changed_numbers(self, config) else config.reference.book
        return Results(
            metrics={"images": len(predictions), "unreadable": len(errors)},
            accelerator=report,
            origin=DataOrigin(origin),
            reference=config.reference.model_dump(),
            more={
                "model": config.model.name,
                "parameters": parameters,
                "predictions": {
                    file: [{"label": label, "probability": value} for label, value in labels]
                    for file, labels in predictions.items()
                },
                "errors": errors,
            },
            shown=[*labels_shown(predictions, published)],
            exit_code=1 if errors else 0,
        )

    def network(self, run: StoredRun, config: Config) -> "nn.Module":
        """The pretrained network; its weights are read from where the run found them."""
        from dlrun.networks import pretrained

        pretrained.check(config.model)
        return pretrained.load(config.model).network

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """Further photographs; the weights are read from where the run found them."""
        return _Predictor(config)

    def exported(self, run: StoredRun, config: Config) -> "ExportedNetwork":
        """The pretrained network, on photographs that went through its transform."""
        import torch

        from dlrun.experiments.exported_network import ExportedNetwork
        from dlrun.networks import pretrained

        pretrained.check(config.model)
        model = pretrained.load(config.model)
        transform = model.transform
        (resize,), (side,) = transform.resize_size, transform.crop_size
        steps = {
            "resize": [resize, resize] if config.transform.squash else resize,  # the shorter side
            "interpolation": transform.interpolation.value,
            "centre_crop": side,
            "divide_by": 255,
            "mean": transform.mean,
            "std": transform.std,
        }

        def inputs(rows: int) -> "Tensor":
            random = torch.Generator().manual_seed(0)
            return torch.randn(rows, 3, side, side, generator=random)

        about = {"model": model.source, "labels": model.labels, "preprocessing": steps}
        return ExportedNetwork(model.network, "images", inputs, about)

    def draw(self, run: StoredRun, config: Config) -> "dict[str, Figure]":
        """The photographs with their labels."""
        import numpy as np
        from PIL import Image

        from dlrun.plots.photographs import contact_sheet

        predictions = {
            file: [(one["label"], one["probability"]) for one in labels]
            for file, labels in (run.record.model_extra or {})["predictions"].items()
        }
        with np.load(io.BytesIO(run.read(THUMBNAILS)), allow_pickle=False) as stored:
            photographs = [Image.open(io.BytesIO(jpeg.tobytes())) for jpeg in stored.values()]
        # The first ones that could be read have a thumbnail.
        sheet = list(zip(predictions, map(np.asarray, photographs), strict=False))
        title = f"{self.name}, run {run.name}\n"
        title += f"{config.model.name}: {pluralize(len(predictions), 'photograph')}"
        if len(predictions) > len(sheet):
            title += f" (the first {len(sheet)})"
        return {SHEET: contact_sheet(sheet, predictions, title=title)}


def _load(config: Config, context: RunContext) -> "Pretrained":
    from dlrun.networks import pretrained

    _obtain(config, context.screen)
    return pretrained.load(config.model)


def _obtain(config: Config, screen: Screen) -> None:
    """Have the weights where torchvision looks for them. Raises DataError."""
    from dlrun.data.download import obtain_weights
    from dlrun.networks import pretrained, torchvision_names

    if url := pretrained.url(config.model):
        instead = (
            f"`--set model.name={torchvision_names.BUNDLED}` runs the network "
            "that the extra `offline` carries, without a download"
        )
        obtain_weights(url, pretrained.cache(), screen, instead)


def _files(config: Config) -> list[Path]:
    from dlrun.data import images

    return images.find_images(config.images) if config.images else images.sample_photographs()


def _warn(errors: dict[str, str], context: RunContext) -> None:
    for file, error in list(errors.items())[:SHOWN]:
        context.screen.warn(f"{printable(file)}: {error}")
    if (more := len(errors) - SHOWN) > 0:
        context.screen.warn(f"{pluralize(more, 'more file')} could not be read: see {PREDICTIONS}")


def _thumbnails(found: Sequence[PhotographPrediction]) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    jpegs = [one.thumbnail for one in found if one.thumbnail is not None]
    np.savez(stream, *(np.frombuffer(jpeg, dtype=np.uint8) for jpeg in jpegs))
    return stream.getvalue()


class _Predictor(ImagePredictor):
    def __init__(self, config: Config) -> None:
        from dlrun.networks.pretrained import check, kept, load, squashed
        from dlrun.training.inference import OVERSAMPLING

        check(config.model)
        self._model, self._precision = load(config.model), config.precision
        super().__init__(self._model.labels)
        self.shown = config.top
        transform = self._model.transform
        self._to_input = (squashed if config.transform.squash else kept)(transform)
        if config.transform.scaled_decoding:
            self.smallest = OVERSAMPLING * transform.resize_size[0]

    def to_input(self, image: Any) -> Any:
        return self._to_input(image)

    def probabilities(self, inputs: Sequence[Any]) -> "NDArray[np.float64]":
        import torch

        from dlrun.networks.pretrained import probabilities

        found = probabilities(self._model, torch.stack(list(inputs)), "cpu", self._precision)
        return found.double().numpy()


experiment = ClassifyImages()
