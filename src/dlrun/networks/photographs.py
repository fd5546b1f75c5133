"""Label photographs by a pretrained network, and draw them as a contact sheet (ISLP, 10.9.4)."""

import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from dlrun.data.photographs import Photograph
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.comparable_with_published import changes_that_affect_results
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.photographs import (
    BOOK_PHOTOGRAPH_HASHES,
    PhotographsConfig,
    PublishedLabels,
)
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
from dlrun.system.accelerator import AcceleratorChoice, run_with_fallback
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
        """Raise ConfigError if the model or its weights do not exist.

        Raises DataError if the weights have to be downloaded, but downloads are forbidden. Where
        they are allowed, the run downloads the weights itself.
        """
        pretrained.check_pretrained(config.model)
        if is_offline():
            pretrained.download_weights(config.model, Screen())

    def run(self, config: PhotographsConfig, run: LiveRun) -> Results:
        """Classify the photographs. An unreadable photograph becomes a row with its error."""
        files, origin = config.find_photographs(run.data_dir)
        with temporary_library_settings(1):
            with run.phase("model"):
                pretrained.download_weights(config.model, run.screen)
                model = pretrained.load_pretrained(config.model)
                layers, parameters = describe_layers(model.network, _example_input(model))
                run.write_summary(layers)
            with run.phase("classify"):
                classification = _Classification(config, run, files, model)
                classified, accelerator = classification.run_on_accelerator()
        readable = [photo for photo in classified if photo.error is None]
        errors = {str(photo.file): photo.error for photo in classified if photo.error is not None}
        for file, why in list(errors.items())[:SHOWN]:
            run.screen.warn(f"{printable(file)}: {why}")
        if not readable:
            raise DataError("no file could be read as a photograph", "name others")
        run.keep(PREDICTIONS, to_csv(photographs.prediction_table(classified)))
        run.keep(THUMBNAILS, _pack_thumbnails(readable[:SHOWN]))
        is_book = all(file_digest(photo.file) in BOOK_PHOTOGRAPH_HASHES for photo in readable)
        return Results(
            metrics={"images": len(readable), "unreadable": len(errors)},
            accelerator=accelerator,
            origin=DataOrigin(origin, is_book),
            extra={
                "model": config.model.name,
                "parameters": parameters,
                "predictions": {
                    str(photo.file): [
                        {"label": label, "probability": value} for label, value in photo.labels
                    ]
                    for photo in readable
                },
                "errors": errors,
            },
            shown=[self._labels_table(config, readable)],
            exit_code=1 if errors else 0,
        )

    def _labels_table(self, config: PhotographsConfig, readable: Sequence[Photograph]) -> Table:
        """Show the first photographs' labels in a table, beside those in the book.

        The book's are left out if the run has changed what its labels depend on.
        """
        published = self.experiment.published  # the config of a run may say anything
        assert isinstance(published, PublishedLabels)
        changed = changes_that_affect_results(self.experiment, config)
        book_labels = {} if changed else published.book
        first = {
            with_published_name(photo.file, config.reference.packaged): photo.labels
            for photo in readable[:SHOWN]
        }
        show_book = any(file.name in book_labels for file in first)
        table = Table("photograph", "label", box=None, pad_edge=False)
        table.add_column("probability", justify="right")
        if show_book:
            table.add_column("book")
        for file, labels in first.items():
            in_book = book_labels.get(file.name, {})
            book = [f"{label} {value:.4f}" for label, value in in_book.items()]
            for rank, (label, probability) in enumerate(labels):
                name = "" if rank else file.name
                row = [name, label, f"{probability:.4f}", *book[rank : rank + 1]]
                table.add_row(*(Text(printable(cell)) for cell in row))
        more = len(readable) - SHOWN
        if more > 0:
            table.caption = f"and {pluralize(more, 'more photograph')}: see {PREDICTIONS}"
        return table

    def network(self, run: Run, config: PhotographsConfig) -> nn.Module:
        """Load the pretrained network with the weights from the file that the run used."""
        return _load_again(config).network

    def predictor(self, run: Run, config: PhotographsConfig) -> ImagePredictor:
        return _predictor(config, _load_again(config), "cpu")

    def draw(self, run: Run, config: PhotographsConfig) -> DrawnFigures:
        """Draw the first photographs with their most probable labels."""
        predictions = (run.record.model_extra or {})["predictions"]
        jpegs = read_arrays(run.read(THUMBNAILS)).values()
        cards = []
        # Both have the photographs that could be read, in order: see _pack_thumbnails.
        for file, jpeg in zip(list(predictions)[:SHOWN], jpegs, strict=True):
            name = with_published_name(Path(file), config.reference.packaged).name
            pixels = np.asarray(Image.open(io.BytesIO(jpeg.tobytes())))
            labels = [(label["label"], label["probability"]) for label in predictions[file]]
            cards.append((name, pixels, labels))
        title = f"{self.title(run)}, {config.model.name}"
        return {"contact_sheet.png": draw_contact_sheet(cards, title=title)}

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


def _example_input(model: PretrainedNetwork) -> Tensor:
    side = model.transform.crop_size[0]
    return torch.zeros(1, 3, side, side)


@dataclass(frozen=True)
class _Classification:
    """Finds the most probable labels of the photographs of a run."""

    config: PhotographsConfig
    run: LiveRun
    files: Sequence[Path]
    model: PretrainedNetwork

    def run_on_accelerator(self) -> tuple[list[Photograph], AcceleratorChoice]:
        """Classify on the accelerator of the config, or on the CPU if it fails; say which."""
        return run_with_fallback(
            self.config.accelerator,
            self.run.screen.warn,
            self._compute_example,
            self._classify,
            fallback=self.config.fallback,
            undo=self.run.restart_steps,
        )

    def _compute_example(self, device: str) -> Tensor:
        compute = pretrained.make_probability_function(self.model, device, self.config.precision)
        return compute(_example_input(self.model))

    def _classify(self, device: str) -> list[Photograph]:
        """Classify the photographs batch by batch. A resumed run skips finished batches.

        At least the first SHOWN photographs that can be read get a thumbnail.
        """
        size = self.config.batch_size
        batches = [self.files[start : start + size] for start in range(0, len(self.files), size)]
        steps = self.run.begin_steps(None, hash_contents(self.files, self.run.data_dir))
        done: list[Photograph] = []
        for batch, content in zip(batches, steps.saved_parts, strict=False):
            done += photographs.unpack_photograph_predictions(content, batch)
        predictor = _predictor(self.config, self.model, device)
        threads = self.run.threads if device == "cpu" else 1
        group_size = GROUP if device == "cpu" else size

        with (
            steps.progress_bar("classifying", len(batches), "step"),
            ThreadPoolExecutor(threads) as pool,
        ):
            for batch in batches[len(steps.saved_parts) :]:
                started = time.perf_counter()
                lacks_thumbnails = _count_readable(done) < SHOWN
                inputs = list(
                    photographs.iterate_photographs(
                        batch, predictor.to_input, thumbnails=lacks_thumbnails
                    )
                )
                groups = [inputs[i : i + group_size] for i in range(0, len(inputs), group_size)]
                labelled = list(chain.from_iterable(pool.map(predictor.label, groups)))
                done += labelled
                readable = _count_readable(done)
                steps.finish(
                    {
                        "images": readable,
                        "unreadable": len(done) - readable,
                        SECONDS: time.perf_counter() - started,
                    },
                    f"{len(done):,}/{len(self.files):,} photographs",
                    state=b"",  # the next batch needs nothing of this one
                    part=photographs.pack_photograph_predictions(labelled),
                )
        return done


def _count_readable(photos: Sequence[Photograph]) -> int:
    return sum(photo.error is None for photo in photos)


def _pack_thumbnails(photos: Sequence[Photograph]) -> bytes:
    """Pack the thumbnails of photographs, in order, into the bytes of an .npz file of JPEG files.

    The members of the .npz have no names of files: zip files cannot have all of them.
    """
    jpegs: list[NDArray[np.uint8]] = []
    for photo in photos:
        assert photo.thumbnail is not None  # the first photographs that could be read have one
        jpegs.append(np.frombuffer(photo.thumbnail, dtype=np.uint8))
    stream = io.BytesIO()
    np.savez(stream, *jpegs)
    return stream.getvalue()


def _predictor(config: PhotographsConfig, model: PretrainedNetwork, device: str) -> ImagePredictor:
    compute = pretrained.make_probability_function(model, device, config.precision)
    transform = pretrained.photograph_transform(model.transform, squash=config.transform.squash)

    def probabilities(inputs: list[Tensor]) -> NDArray[np.float64]:
        return compute(torch.stack(inputs)).double().numpy()

    return ImagePredictor(model.labels, transform, probabilities, config.top)


def _load_again(config: PhotographsConfig) -> PretrainedNetwork:
    """Load the network of a finished run, if the files of the network are still there."""
    pretrained.check_pretrained(config.model)
    return pretrained.load_pretrained(config.model)
