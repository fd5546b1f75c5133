"""Classify photographs with a pretrained network; each batch is a step, so a run can resume."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from dlrun.data import images
from dlrun.data.download import is_offline
from dlrun.data.images import (
    Labelled,
    Photograph,
    pack_predictions,
    prediction_table_rows,
    unpack_predictions,
)
from dlrun.experiments.classify_images.config import Config
from dlrun.networks import pretrained
from dlrun.networks.pretrained import PretrainedNetwork, Transform, photograph_transform
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import IMAGE_COLUMNS, PREDICTIONS, to_csv
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import fingerprint_files

STEP_COLUMNS = ["images", "unreadable", "seconds"]  # of metrics.csv; the first two are totals
OVERSAMPLING = 6  # times the resize's side: at 5 the six photographs' top 3 already change
LINES = 10  # on the screen: one for each batch would be too many


def find_photographs(config: Config) -> list[Path]:
    """Return the photographs to classify; raise ConfigError if a file does not exist."""
    return images.find_images(config.images) if config.images else images.sample_photographs()


def check_photographs_and_model(config: Config) -> None:
    """Raise ConfigError or DataError if the photographs, weights or labels are invalid."""
    find_photographs(config)
    pretrained.check_pretrained(config.model)
    if is_offline():
        pretrained.download_weights(config.model, Screen())


def classify_photographs(
    config: Config,
    context: RunContext,
    files: Sequence[Path],
    model: PretrainedNetwork,
    device: str,
    thumbnails: int,
) -> list[Photograph]:
    """Return the most probable labels of each photograph; a resumed run continues.

    The first `thumbnails` photographs that can be read get a thumbnail.
    """
    steps, starts = context.steps, range(0, len(files), config.batch_size)
    found = steps.begin(STEP_COLUMNS, fingerprint_files(files), len(starts), "step")
    done = [
        prediction
        for start, part in zip(starts, found.parts if found else [], strict=False)
        for prediction in unpack_predictions(part, files[start : start + config.batch_size])
    ]
    if done:
        context.screen.note(f"continuing after {pluralize(len(done), 'photograph')}")
    unreadable = sum(prediction.error is not None for prediction in done)
    context.folder.write(PREDICTIONS, to_csv([IMAGE_COLUMNS, *prediction_table_rows(done)]))
    transform, smallest = input_transform(config, model)
    stream = images.load_photographs(
        files[len(done) :],
        transform,
        thumbnails=thumbnails - sum(prediction.thumbnail is not None for prediction in done),
        smallest=smallest,
    )
    with steps.progress("classifying", len(starts), "step", lines=LINES), closing(stream):
        started = time.perf_counter()
        while batch := list(islice(stream, config.batch_size)):
            predictions = _predict(config, model, batch, device)
            done += predictions
            unreadable += sum(prediction.error is not None for prediction in predictions)
            counts = len(done) - unreadable, unreadable, time.perf_counter() - started
            row = dict(zip(STEP_COLUMNS, counts, strict=True))
            line = f"{len(done):,}/{len(files):,} photographs"
            steps.finish(row, line, b"", pack_predictions(predictions))
            context.folder.append(PREDICTIONS, to_csv(prediction_table_rows(predictions)))
            context.stop.after_step()
            started = time.perf_counter()
    return done


def input_transform(config: Config, model: PretrainedNetwork) -> tuple[Transform, int | None]:
    """Return a photograph's transform, and the size to which a JPEG may be decoded for it."""
    transform = photograph_transform(model.transform, squash=config.transform.squash)
    side: int = OVERSAMPLING * model.transform.resize_size[0]
    return transform, side if config.transform.scaled_decoding else None


def _predict(
    config: Config, model: PretrainedNetwork, batch: Sequence[Photograph], device: str
) -> list[Photograph]:
    labels: dict[Path, Labelled] = {}
    if readable := [photograph for photograph in batch if photograph.error is None]:
        inputs = torch.stack([photograph.pixels for photograph in readable])
        found = pretrained.predict_probabilities(model, inputs, device, config.precision)
        best = found.topk(min(config.top, len(model.labels)))
        for photograph, values, indices in zip(
            readable, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            names = [model.labels[index] for index in indices]
            labels[photograph.file] = list(zip(names, values, strict=True))
    return [replace(one, pixels=None, labels=labels.get(one.file, [])) for one in batch]
