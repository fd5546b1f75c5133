"""Label photographs by a pretrained network, and draw them as a contact sheet (ISLP, 10.9.4)."""

import io
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from dlrun.data import photographs
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.data.download import is_offline, with_published_name
from dlrun.data.file_hashes import hash_contents
from dlrun.data.photographs import Labelled, Photograph
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.comparable_with_published import changes_that_affect_results
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.photographs import BOOK_PHOTOGRAPHS, PhotographsConfig, PublishedLabels
from dlrun.experiments.predictors import ImagePredictor
from dlrun.networks import BUNDLED, pretrained
from dlrun.networks.layer_summary import describe_layers
from dlrun.networks.pretrained import PretrainedNetwork
from dlrun.plots import draw_contact_sheet
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import PREDICTIONS, THUMBNAILS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import SECONDS
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import Run
from dlrun.system.accelerator import run_with_fallback
from dlrun.system.console import Screen
from dlrun.system.files import file_digest, read_arrays
from dlrun.system.library_settings import temporary_library_settings
from dlrun.system.text import pluralize, printable

SHOWN = 24  # the contact sheet and the screen show so many photographs
# Photographs that one CPU thread computes together. Two threads that share a batch wait for each
# other: they took 1.6 times as much CPU time, with bf16 twice as much.
GROUP = 4


class PhotographsImplementation(Implementation[PhotographsConfig]):
    """Finds the most probable labels of each photograph with a pretrained network."""

    def check(self, config: PhotographsConfig) -> None:
        """Raise ConfigError if the model or its weights do not exist."""
        pretrained.check_pretrained(config.model)
        if is_offline():
            pretrained.download_weights(config.model, Screen())

    def run(self, config: PhotographsConfig, run: LiveRun) -> Results:
        """Classify the photographs. An unreadable photograph becomes a row with its error."""
        screen = run.screen
        files, origin = config.find_photographs(run.data_dir)
        with temporary_library_settings(1), run.phase("model"):
            pretrained.download_weights(config.model, screen)
            model = pretrained.load_pretrained(config.model)
            side = model.transform.crop_size[0]
            example = torch.zeros(1, 3, side, side)
            layers, parameters = describe_layers(model.network, example)
            run.write_summary(layers)
        with temporary_library_settings(1), run.phase("classify"):
            classified, report = run_with_fallback(
                config.accelerator,
                screen.warn,
                lambda device: pretrained.make_classifier(model, device, config.precision)(example),
                lambda device: _classify_photographs(config, run, files, model, device),
                fallback=config.fallback,
                undo=run.restart_steps,
            )
        errors = {str(photo.file): photo.error for photo in classified if photo.error is not None}
        predictions = {str(photo.file): photo.labels for photo in classified if photo.error is None}
        for file, why in list(errors.items())[:SHOWN]:
            screen.warn(f"{printable(file)}: {why}")
        if not predictions:
            raise DataError("no file could be read as a photograph", "name others")
        run.keep(PREDICTIONS, to_csv(photographs.prediction_table(classified)))
        run.keep(THUMBNAILS, _pack_thumbnails(classified))
        reference = self.experiment.published
        assert isinstance(reference, PublishedLabels)
        changed = changes_that_affect_results(self.experiment, config)
        published = {} if changed else reference.book
        is_book = all(file_digest(Path(file)) in BOOK_PHOTOGRAPHS for file in predictions)
        return Results(
            metrics={"images": len(predictions), "unreadable": len(errors)},
            accelerator=report,
            origin=DataOrigin(origin, is_book),
            extra={
                "model": config.model.name,
                "parameters": parameters,
                "predictions": {
                    file: [{"label": label, "probability": value} for label, value in labels]
                    for file, labels in predictions.items()
                },
                "errors": errors,
            },
            shown=[_labels_table(predictions, published, reference.packaged)],
            exit_code=1 if errors else 0,
        )

    def network(self, run: Run, config: PhotographsConfig) -> nn.Module:
        """Load the pretrained network with the weights from the file that the run used."""
        return _load_again(config).network

    def predictor(self, run: Run, config: PhotographsConfig) -> ImagePredictor:
        return _predictor(config, _load_again(config), "cpu")

    def draw(self, run: Run, config: PhotographsConfig) -> DrawnFigures:
        """Draw the first photographs with their most probable labels."""
        packaged = config.reference.packaged
        predictions = {
            str(with_published_name(Path(file), packaged)): [
                (label["label"], label["probability"]) for label in labels
            ]
            for file, labels in (run.record.model_extra or {})["predictions"].items()
        }
        stored = read_arrays(run.read(THUMBNAILS))
        thumbnails = [Image.open(io.BytesIO(jpeg.tobytes())) for jpeg in stored.values()]
        # The first ones that could be read have a thumbnail.
        sheet = list(zip(predictions, map(np.asarray, thumbnails), strict=False))
        title = f"{self.title(run)}, {config.model.name}"
        return {"contact_sheet.png": draw_contact_sheet(sheet, predictions, title=title)}

    def lab_setup(
        self, config: PhotographsConfig, data_dir: Path, screen: Screen
    ) -> dict[str, object]:
        """Download the lab's network, or choose the bundled one if that is impossible."""
        config.book_photographs(data_dir)  # raises DataError if one is missing
        try:
            pretrained.download_weights(config.model, screen)
        except DataError as error:
            try:
                pretrained.check_pretrained(config.model.model_copy(update={"name": BUNDLED}))
            except ConfigError:  # the bundled network is not installed
                raise error from None
            screen.warn(f"{self.name}: {error.message}: {BUNDLED} instead")
            return {"model.name": BUNDLED}
        return {}


def _classify_photographs(
    config: PhotographsConfig,
    run: LiveRun,
    files: Sequence[Path],
    model: PretrainedNetwork,
    device: str,
) -> list[Photograph]:
    """Find the most probable labels of each photograph. A resumed run skips finished batches.

    At least the first SHOWN photographs that can be read get a thumbnail.
    """
    starts = range(0, len(files), config.batch_size)
    steps = run.begin_steps(None, hash_contents(files, run.data_dir))
    done: list[Photograph] = []
    for start, content in zip(starts, steps.saved_parts, strict=False):
        part = files[start : start + config.batch_size]
        done += photographs.unpack_photograph_predictions(content, part)
    threads = run.threads if device == "cpu" else 1
    group_size = GROUP if device == "cpu" else config.batch_size
    predictor = _predictor(config, model, device)

    with (
        steps.progress_bar("classifying", len(starts), "step"),
        ThreadPoolExecutor(threads) as pool,
    ):
        for start in range(len(done), len(files), config.batch_size):
            started = time.perf_counter()
            part = files[start : start + config.batch_size]
            thumbnails = sum(photograph.thumbnail is not None for photograph in done) < SHOWN
            batch = list(
                photographs.iterate_photographs(part, predictor.to_input, thumbnails=thumbnails)
            )
            groups = [batch[i : i + group_size] for i in range(0, len(batch), group_size)]
            predictions = list(chain.from_iterable(pool.map(predictor.label, groups)))
            done += predictions
            unreadable = sum(photograph.error is not None for photograph in done)
            row = {"images": len(done) - unreadable, "unreadable": unreadable}  # so far
            steps.finish(
                row | {SECONDS: time.perf_counter() - started},
                f"{len(done):,}/{len(files):,} photographs",
                b"",
                photographs.pack_photograph_predictions(predictions),
            )
            run.stop.raise_if_received()
    return done


def _pack_thumbnails(classified: Sequence[Photograph]) -> bytes:
    """Pack the first photographs' thumbnails into the bytes of an .npz file of JPEG files."""
    jpegs = [photo.thumbnail for photo in classified if photo.thumbnail is not None][:SHOWN]
    stream = io.BytesIO()
    np.savez(stream, *(np.frombuffer(jpeg, dtype=np.uint8) for jpeg in jpegs))
    return stream.getvalue()


def _predictor(config: PhotographsConfig, model: PretrainedNetwork, device: str) -> ImagePredictor:
    compute = pretrained.make_classifier(model, device, config.precision)
    transform = pretrained.photograph_transform(model.transform, squash=config.transform.squash)

    def probabilities(inputs: list[Tensor]) -> NDArray[np.float64]:
        return compute(torch.stack(inputs)).double().numpy()

    return ImagePredictor(model.labels, transform, probabilities, config.top)


def _load_again(config: PhotographsConfig) -> PretrainedNetwork:
    """Load the network of a finished run, if the files of the network are still there."""
    pretrained.check_pretrained(config.model)
    return pretrained.load_pretrained(config.model)


def _labels_table(
    predictions: Mapping[str, Labelled],
    published: Mapping[str, Mapping[str, float]],
    packaged: Mapping[str, str],
) -> Table:
    """Show the first photographs' labels in a table, beside those in the book."""
    first = {
        with_published_name(Path(file), packaged): labels
        for file, labels in list(predictions.items())[:SHOWN]
    }
    show_book = any(file.name in published for file in first)
    table = Table("photograph", "label", box=None, pad_edge=False)
    table.add_column("probability", justify="right")
    if show_book:
        table.add_column("book")
    for file, labels in first.items():
        book = [f"{label} {value:.4f}" for label, value in published.get(file.name, {}).items()]
        for rank, (label, probability) in enumerate(labels):
            row = ["" if rank else file.name, label, f"{probability:.4f}", *book[rank : rank + 1]]
            table.add_row(*(Text(printable(cell)) for cell in row))
    more = len(predictions) - SHOWN
    if more > 0:
        table.caption = f"and {pluralize(more, 'more photograph')}: see {PREDICTIONS}"
    return table
