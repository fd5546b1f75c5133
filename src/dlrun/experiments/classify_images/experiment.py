"""Run classify-images: find each photograph's most probable labels, and draw a contact sheet."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from dlrun.data.images import Labelled, Photograph
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.base import Experiment, ExportedNetwork, LabSetup
from dlrun.experiments.book_comparison import changed_result_keys
from dlrun.experiments.classify_images.config import Config
from dlrun.experiments.classify_images.inference import (
    classify_photographs,
    find_photographs,
    input_transform,
)
from dlrun.experiments.predictor import ImagePredictor
from dlrun.experiments.saved_run import Run
from dlrun.networks import BUNDLED, pretrained
from dlrun.networks.pretrained import PretrainedNetwork
from dlrun.run_context import DataOrigin, Results, RunContext
from dlrun.run_folder.folder import PREDICTIONS
from dlrun.system.accelerator import AcceleratorReport, run_with_fallback
from dlrun.system.console import Screen, pluralize, printable
from dlrun.training.network_summary import write_network_summary
from dlrun.training.torch_state import training_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 24  # photographs on the contact sheet, and on the screen
SHEET, THUMBNAILS = "contact_sheet.png", "thumbnails.npz"
PHOTOGRAPHS = "book_images"  # folder of the lab's photographs, in the data folder


class ClassifyImagesExperiment(Experiment[Config]):
    """Finds the most probable labels of each photograph."""

    name = "classify-images"

    def run(self, config: Config, context: RunContext) -> Results:
        """Classify the photographs; one that cannot be read becomes a row with its error."""
        screen, files = context.screen, find_photographs(config)
        origin = pluralize(len(files), "file")
        if not config.images:
            origin = "two photographs that scikit-learn ships"
            screen.note(f"no image given: classifying {origin}")
        with context.phase("model"), training_settings(1):  # one input: more threads only wait
            pretrained.download_weights(config.model, screen)
            model = pretrained.load_pretrained(config.model)
            side = model.transform.crop_size[0]
            example = torch.zeros(1, 3, side, side)
            parameters = write_network_summary(model.network, example, context)
            model = replace(model, network=pretrained.fold_batch_norms(model.network, side))

        def probe(device: str) -> None:
            pretrained.predict_probabilities(model, example, device, config.precision)

        def classify(report: AcceleratorReport) -> tuple[AcceleratorReport, list[Photograph]]:
            return report, classify_photographs(config, context, files, model, report.used, SHOWN)

        with context.phase("classify"), training_settings(context.threads):
            report, found = run_with_fallback(
                config.accelerator, probe, classify, screen.warn, fallback=config.fallback
            )
        errors = {str(one.file): one.error for one in found if one.error is not None}
        predictions = {str(one.file): one.labels for one in found if one.error is None}
        for file, why in list(errors.items())[:SHOWN]:
            screen.warn(f"{printable(file)}: {why}")
        if (more := len(errors) - SHOWN) > 0:
            screen.warn(f"{pluralize(more, 'more file')} could not be read: see {PREDICTIONS}")
        if not predictions:
            raise DataError("there is no file that could be read as a photograph")
        jpegs = [one.thumbnail for one in found if one.thumbnail is not None]
        stream = io.BytesIO()
        np.savez(stream, *(np.frombuffer(jpeg, dtype=np.uint8) for jpeg in jpegs))
        context.keep(THUMBNAILS, stream.getvalue())
        published = {} if changed_result_keys(self, config) else config.reference.book
        return Results(
            metrics={"images": len(predictions), "unreadable": len(errors)},
            accelerator=report,
            origin=DataOrigin(origin),
            reference=config.reference.model_dump(),
            extra={
                "model": config.model.name,
                "parameters": parameters,
                "predictions": {
                    file: [{"label": label, "probability": value} for label, value in labels]
                    for file, labels in predictions.items()
                },
                "errors": errors,
            },
            shown=[*_labels_table(predictions, published)],
            exit_code=1 if errors else 0,
        )

    def network(self, run: Run, config: Config) -> nn.Module:
        """Return the pretrained network with the weights from the file that the run used."""
        return _load_again(config).network

    def predictor(self, run: Run, config: Config) -> ImagePredictor:
        """Return a predictor for further photographs."""
        model = _load_again(config)
        transform, smallest = input_transform(config, model)

        def probabilities(inputs: list[Tensor]) -> NDArray[np.float64]:
            found = pretrained.predict_probabilities(
                model, torch.stack(inputs), "cpu", config.precision
            )
            return found.double().numpy()

        return ImagePredictor(model.labels, transform, probabilities, config.top, smallest)

    def exported(self, run: Run, config: Config) -> ExportedNetwork:
        """Return the pretrained network for export; its input is a transformed photograph."""
        model = _load_again(config)
        transform = model.transform
        (resize,), (side,) = transform.resize_size, transform.crop_size
        preprocessing = {
            "resize": [resize, resize] if config.transform.squash else resize,  # the shorter side
            "interpolation": transform.interpolation.value,
            "centre_crop": side,
            "divide_by": 255,
            "mean": transform.mean,
            "std": transform.std,
        }

        def inputs(rows: int) -> Tensor:
            return torch.randn(rows, 3, side, side, generator=torch.Generator().manual_seed(0))

        about = {"model": model.source, "labels": model.labels, "preprocessing": preprocessing}
        return ExportedNetwork(model.network, "images", inputs, about)

    def draw(self, run: Run, config: Config) -> "dict[str, Figure]":
        """Draw the first photographs with their most probable labels."""
        from dlrun.plots.photographs import draw_contact_sheet  # slow: matplotlib

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
        return {SHEET: draw_contact_sheet(sheet, predictions, title=title)}

    def lab_setup(self, config: Config, data_dir: Path, screen: Screen) -> LabSetup:
        """Return the lab's photographs and network, or the bundled network if it is missing."""
        files = [data_dir / PHOTOGRAPHS / name for name in config.reference.book]
        if missing := [file.name for file in files if not file.is_file()]:
            raise DataError(f"{files[0].parent}: missing photographs: {', '.join(missing)}")
        settings: dict[str, object] = {"images": [str(files[0].parent)], "transform.squash": True}
        try:
            pretrained.download_weights(config.model, screen)
        except DataError as error:
            try:
                pretrained.check_pretrained(config.model.model_copy(update={"name": BUNDLED}))
            except ConfigError:  # it is not installed
                raise error from None
            screen.warn(f"{self.name}: {error.message}: {BUNDLED} instead")
            settings["model.name"] = BUNDLED
        return LabSetup(files, settings)


def _load_again(config: Config) -> PretrainedNetwork:
    pretrained.check_pretrained(config.model)
    return pretrained.load_pretrained(config.model)


def _labels_table(
    predictions: Mapping[str, Labelled], published: Mapping[str, Mapping[str, float]]
) -> list[Table | Text]:
    """Return a table of the first photographs' labels, beside those in the book."""
    first = {Path(file): labels for file, labels in list(predictions.items())[:SHOWN]}
    names = Counter(file.name for file in first)
    show_book = any(name in published for name in names)
    table = Table("photograph", "label", box=None, pad_edge=False)
    table.add_column("probability", justify="right")
    if show_book:
        table.add_column("book")
    for file, labels in first.items():
        book = [f"{label} {value:.4f}" for label, value in published.get(file.name, {}).items()]
        shown = file.name if names[file.name] == 1 else str(file)
        for rank, (label, probability) in enumerate(labels):
            row = ["" if rank else shown, label, f"{probability:.4f}", *book[rank : rank + 1]]
            table.add_row(*(Text(printable(cell)) for cell in row))
    if (more := len(predictions) - SHOWN) <= 0:
        return [table]
    return [table, Text(f"and {pluralize(more, 'more photograph')}: see {PREDICTIONS}")]


experiment = ClassifyImagesExperiment()
