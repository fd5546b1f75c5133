"""Classify photographs with a pretrained network; each batch is a step, so runs can resume."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from dlrun.data import images
from dlrun.data.images import Labelled, Photograph, pack, table_rows, unpack
from dlrun.networks.pretrained import Pretrained, photograph_transform, probabilities
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import IMAGE_COLUMNS, PREDICTIONS, to_csv
from dlrun.system.console import pluralize
from dlrun.system.files import fingerprint_files

STEP_COLUMNS = ["images", "unreadable", "seconds"]  # of metrics.csv; the first two are totals
OVERSAMPLING = 6  # times the resize's side: at 5 the six photographs' top 3 already change
LINES = 10  # on the screen: one for each batch would be too many


def classify_photographs(
    context: RunContext,
    files: Sequence[Path],
    model: Pretrained,
    device: str,
    *,
    squash: bool,
    scaled_decoding: bool,
    batch_size: int,
    top: int,
    precision: str,
    thumbnails: int,
) -> list[Photograph]:
    """Return the most probable labels of each photograph; a resumed run continues.

    Args:
        context: the run's folder, steps and screen.
        files: the photographs.
        model: classifies them.
        device: on which.
        squash: resize to a square, instead of keeping the ratio of the sides.
        scaled_decoding: decode large JPEGs at a fraction of their size.
        batch_size: photographs of a step.
        top: how many labels.
        precision: 32-true or bf16-mixed.
        thumbnails: how many of the first readable photographs get one.
    """
    steps, starts = context.steps, range(0, len(files), batch_size)
    found = steps.begin(STEP_COLUMNS, fingerprint_files(files), len(starts), "step")
    done = [
        one
        for start, part in zip(starts, found.parts if found else [], strict=False)
        for one in unpack(part, files[start : start + batch_size])
    ]
    if done:
        context.screen.note(f"continuing after {pluralize(len(done), 'photograph')}")
    unreadable: float = sum(one.error is not None for one in done)
    context.folder.write(PREDICTIONS, to_csv([IMAGE_COLUMNS, *table_rows(done)]))
    stream = images.batches(
        files[len(done) :],
        photograph_transform(model.transform, squash=squash),
        size=batch_size,
        thumbnails=thumbnails - sum(one.thumbnail is not None for one in done),
        smallest=OVERSAMPLING * model.transform.resize_size[0] if scaled_decoding else None,
    )
    with steps.progress("classifying", len(starts), "step", lines=LINES), closing(stream):
        started = time.perf_counter()
        for batch in stream:
            predictions = _predict(model, batch, device, precision, top)
            done += predictions
            unreadable += sum(one.error is not None for one in predictions)
            seconds = time.perf_counter() - started
            counts = (len(done) - unreadable, unreadable, seconds)
            row = dict(zip(STEP_COLUMNS, counts, strict=True))
            line = f"{len(done):,}/{len(files):,} photographs"
            steps.finish(row, line, b"", pack(predictions))
            context.folder.append(PREDICTIONS, to_csv(table_rows(predictions)))
            context.stop.after_step()
            started = time.perf_counter()
    return done


def _predict(
    model: Pretrained, batch: Sequence[Photograph], device: str, precision: str, top: int
) -> list[Photograph]:
    readable = [one for one in batch if one.error is None]
    labels: dict[Path, Labelled] = {}
    if readable:
        inputs = torch.stack([one.pixels for one in readable])
        best = probabilities(model, inputs, device, precision).topk(min(top, len(model.labels)))
        for one, values, places in zip(
            readable, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            names = [model.labels[place] for place in places]
            labels[one.file] = list(zip(names, values, strict=True))
    return [replace(one, pixels=None, labels=labels.get(one.file, [])) for one in batch]
