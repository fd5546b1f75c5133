"""Photographs through a pretrained network: each batch is a step, so that a run can go on."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch

from dlrun.data import images, photographs
from dlrun.data.photograph_predictions import (
    COLUMNS,
    PREDICTIONS,
    Labelled,
    PhotographPrediction,
    pack,
    rows,
    unpack,
)
from dlrun.data.photographs import Photograph
from dlrun.networks.pretrained import Pretrained, kept, probabilities, squashed
from dlrun.run_context import RunContext
from dlrun.system.console import pluralize

STEP_COLUMNS = ["images", "unreadable", "seconds"]  # of metrics.csv; the first two since the start
OVERSAMPLING = 6  # times the resize's side: at 5 the six photographs' top 3 already change
LINES = 10  # on the screen: one for each batch would be too many


class PhotographClassifier:
    """The most probable labels of each photograph.

    Args:
        context: where everything goes.
        files: the photographs.
        model: what classifies them.
        squash: to a square, or keep the sides' ratio.
        scaled_decoding: whether large JPEGs are decoded at a fraction of their size.
        size: of a batch.
        top: how many labels.
        precision: 32-true or bf16-mixed.
        thumbnails: how many of the first ones that can be read get one.
    """

    def __init__(
        self,
        context: RunContext,
        files: Sequence[Path],
        model: Pretrained,
        *,
        squash: bool,
        scaled_decoding: bool,
        size: int,
        top: int,
        precision: str,
        thumbnails: int,
    ) -> None:
        self._context, self._files, self._model = context, files, model
        self._to_input = (squashed if squash else kept)(model.transform)
        smallest = OVERSAMPLING * model.transform.resize_size[0]
        self._smallest = smallest if scaled_decoding else None
        self._size, self._top, self._precision = size, min(top, len(model.labels)), precision
        self._thumbnails = thumbnails

    def on(self, device: str) -> list[PhotographPrediction]:
        """What became of each file, on a device; the first attempt goes on from the checkpoint."""
        steps, folder, size = self._context.steps, self._context.folder, self._size
        starts = range(0, len(self._files), size)
        found = steps.begin(
            STEP_COLUMNS, images.files_fingerprint(self._files), len(starts), "step"
        )
        done = [
            one
            for start, part in zip(starts, found.parts if found else [], strict=False)
            for one in unpack(part, self._files[start : start + size])
        ]
        if done:
            self._context.screen.note(f"going on after {pluralize(len(done), 'photograph')}")
        unreadable: float = sum(one.error is not None for one in done)
        folder.write_csv(PREDICTIONS, COLUMNS, rows(done))
        stream = photographs.batches(
            self._files[len(done) :],
            self._to_input,
            size=size,
            thumbnails=self._thumbnails - sum(one.thumbnail is not None for one in done),
            smallest=self._smallest,
        )
        with (
            steps.progress("classifying", len(starts), "step", lines=LINES),
            closing(stream),
        ):
            started = time.perf_counter()
            for batch in stream:
                predictions = self._predict(batch, device)
                done += predictions
                unreadable += sum(one.error is not None for one in predictions)
                seconds = time.perf_counter() - started
                counts = (len(done) - unreadable, unreadable, seconds)
                row = dict(zip(STEP_COLUMNS, counts, strict=True))
                line = f"{len(done):,}/{len(self._files):,} photographs"
                steps.finish(row, line, b"", pack(predictions))
                folder.add_csv(PREDICTIONS, rows(predictions))
                self._context.stop.after_step()
                started = time.perf_counter()
        return done

    def _predict(self, batch: Sequence[Photograph], device: str) -> list[PhotographPrediction]:
        readable = [one for one in batch if one.error is None]
        labels: dict[Path, Labelled] = {}
        if readable:
            inputs = torch.stack([one.pixels for one in readable])
            best = probabilities(self._model, inputs, device, self._precision).topk(self._top)
            for one, values, places in zip(
                readable, best.values.tolist(), best.indices.tolist(), strict=True
            ):
                names = [self._model.labels[place] for place in places]
                labels[one.file] = list(zip(names, values, strict=True))
        return [
            PhotographPrediction(one.file, labels.get(one.file, []), one.error, one.thumbnail)
            for one in batch
        ]
