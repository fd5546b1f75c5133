"""Photographs classified by a pretrained ImageNet network (ISLP, lab 10.9.4)."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from rich.table import Table
from rich.text import Text

from dlrun.config import BatchSize, LocalPath, PositiveInt, Section
from dlrun.errors import DataError
from dlrun.experiments.sections import Experiment
from dlrun.screen import counted, printable
from dlrun.session import Results, Session

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from dlrun.experiments.pretrained import Pretrained, Transform

THUMBNAIL = 360  # pixels of a side, in the contact sheet
OVERSAMPLING = 6  # times the resize's side: at 5 the six photographs' top 3 already change
DECODERS = 2  # threads; Pillow decodes and resizes without Python's lock
SHEET_LIMIT = 24  # photographs on the contact sheet

Labelled = list[tuple[str, float]]


class Model(Section):
    """Which network, with which weights and labels."""

    name: str
    weights: str
    num_classes: PositiveInt
    labels: LocalPath | None


class TransformConfig(Section):
    """How a photograph becomes the network's input."""

    squash: bool
    scaled_decoding: bool


class Reference(Section):
    """Published probabilities for each photograph, and where they stand."""

    source: str
    book: dict[str, dict[str, float]]
    notebook: dict[str, dict[str, float]]


class Config(Experiment):
    """configs/classify-images.yaml."""

    batch_size: BatchSize
    precision: Literal["32-true", "bf16-mixed"]
    images: list[LocalPath]
    top: Annotated[int, Field(ge=1, le=100)]
    model: Model
    transform: TransformConfig
    reference: Reference

    def check(self) -> None:
        """The images are there, the model's name, weights and labels are right."""
        from dlrun.data import images
        from dlrun.experiments import pretrained  # slow: needs torch

        images.find(self.images)
        pretrained.check(self.model)


@dataclass
class Classified:
    """What became of the files."""

    predictions: dict[Path, Labelled] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    sheet: list[tuple[str, Any]] = field(default_factory=list)  # thumbnails, SHEET_LIMIT at most


def run(config: Config, session: Session) -> Results:
    """Classify the photographs; one that cannot be read becomes a row with its error."""
    import torch  # slow imports come once a run begins

    from dlrun.accelerator import run_on
    from dlrun.data import images
    from dlrun.experiments import pretrained
    from dlrun.training.fit import write_summary

    files = images.find(config.images) if config.images else images.shipped()
    if not config.images:
        session.screen.note("no image given: classifying two photographs that scikit-learn ships")
    with session.phase("model"):
        model = pretrained.load(config.model, session.screen)
        crop = model.transform.crop_size[0]
        example = torch.zeros(1, 3, crop, crop)
        parameters = write_summary(model.network, example, session)
    with session.phase("classify"):
        classified, report = run_on(
            config.accelerator,
            fallback=config.fallback,
            probe=lambda device: _probabilities(model, example, device, config.precision),
            run=lambda device: _classify(files, model, config, session, device),
            warn=session.screen.warn,
        )
    _write_predictions(session, files, classified)
    for file, error in classified.errors.items():
        session.screen.warn(f"{printable(str(file))}: {error}")
    if not classified.predictions:
        raise DataError("there is no file that could be read as a photograph")
    with session.phase("figures"):
        _draw(session, config, classified)
    return Results(
        metrics={"images": len(classified.predictions), "unreadable": len(classified.errors)},
        reference=config.reference.model_dump() if config.model.name == "resnet50" else {},
        accelerator=report,
        data=counted(len(files), "file")
        if config.images
        else "two photographs that scikit-learn ships",
        figures=["contact_sheet.png"],
        more={
            "model": config.model.name,
            "parameters": parameters,
            "predictions": {
                str(file): [
                    {"label": label, "probability": probability} for label, probability in labels
                ]
                for file, labels in classified.predictions.items()
            },
            "errors": {str(file): error for file, error in classified.errors.items()},
        },
        shown=[_table(classified.predictions, config)],
        exit_code=1 if classified.errors else 0,
    )


def _probabilities(model: "Pretrained", batch: "Tensor", device: str, precision: str) -> "Tensor":
    """A batch (n, 3, height, width) -> probabilities (n, classes), on the CPU."""
    import torch

    # Channels last in memory: the layout in which convolutions on a CPU are fastest.
    network = model.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = batch.to(device).to(memory_format=torch.channels_last)
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16-mixed")
    with torch.inference_mode(), autocast:
        logits: Tensor = network(inputs)
        return logits.float().softmax(-1).cpu()


def _classify(
    files: Sequence[Path], model: "Pretrained", config: Config, session: Session, device: str
) -> Classified:
    import torch

    from dlrun.experiments.pretrained import squashed

    to_input = squashed(model.transform) if config.transform.squash else model.transform
    side = model.transform.resize_size[0]
    smallest = OVERSAMPLING * side if config.transform.scaled_decoding else None
    out = Classified()
    with session.screen.progress("classifying", len(files), "photographs") as bar:
        for batch in _batched(
            _loaded(files, to_input, smallest, config.batch_size), config.batch_size
        ):
            out.errors.update({file: item for file, item in batch if isinstance(item, str)})
            readable = [(file, *item) for file, item in batch if not isinstance(item, str)]
            if readable:
                inputs = torch.stack([pixels for _, pixels, _ in readable])
                probabilities = _probabilities(model, inputs, device, config.precision)
                best = probabilities.topk(min(config.top, len(model.labels)))
                for (file, _, thumbnail), values, places in zip(
                    readable, best.values.tolist(), best.indices.tolist(), strict=True
                ):
                    labels = [model.labels[place] for place in places]
                    out.predictions[file] = list(zip(labels, values, strict=True))
                    if thumbnail is not None:
                        out.sheet.append((str(file), thumbnail))
            bar.to(len(out.predictions) + len(out.errors))
    return out


def _draw(session: Session, config: Config, classified: Classified) -> None:
    from dlrun import plots

    shown, count = len(classified.sheet), len(classified.predictions)
    title = f"{config.model.name}: {count} photographs"
    if count > shown:
        title += f" (the first {shown})"
    labelled = {str(file): labels for file, labels in classified.predictions.items()}
    with session.folder.replacing("contact_sheet.png") as path:
        plots.contact_sheet(classified.sheet, labelled, path, title=title)


def _loaded(
    files: Sequence[Path], to_input: "Transform", smallest: int | None, ahead: int
) -> Iterator[tuple[Path, Any]]:
    """For each file, in order, (file, (input, thumbnail or None)) or (file, error).

    Threads decode while the network runs, at most two batches ahead: memory stays flat.
    """
    with ThreadPoolExecutor(DECODERS) as pool:
        pending: deque[Future[tuple[Path, Any]]] = deque()
        for index, file in enumerate(files):
            pending.append(pool.submit(_load, file, to_input, smallest, index < SHEET_LIMIT))
            if len(pending) > 2 * ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _load(
    file: Path, to_input: "Transform", smallest: int | None, on_sheet: bool
) -> tuple[Path, Any]:
    from dlrun.data import images

    try:
        photograph = images.read(file, smallest)
    except images.UnreadableImageError as error:
        return file, str(error)
    return file, (to_input(photograph), _thumbnail(photograph) if on_sheet else None)


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter (itertools.batched needs Python 3.12)."""
    while batch := list(islice(items, size)):
        yield batch


def _thumbnail(photograph: "Image.Image") -> Any:
    import numpy as np

    photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # last use of it: may change in place
    return np.asarray(photograph)


def _write_predictions(
    session: Session,
    files: Sequence[Path],
    classified: Classified,
) -> None:
    rows: list[list[Any]] = []
    for file in files:
        if file in classified.errors:
            rows.append([str(file), "", "", "", classified.errors[file]])
        labels = classified.predictions.get(file, [])
        for rank, (label, probability) in enumerate(labels, start=1):
            rows.append([str(file), rank, label, probability, ""])
    session.folder.write_csv(
        "predictions.csv", ["image", "rank", "label", "probability", "error"], rows
    )


def _table(predictions: dict[Path, Labelled], config: Config) -> Table:
    """The labels of each photograph, the book's beside them where it has that photograph."""
    book = config.reference.book if config.model.name == "resnet50" else {}
    table = Table(box=None, pad_edge=False)
    for column in ("photograph", "label", "probability"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    names = Counter(file.name for file in predictions)
    show_book = any(file.name in book for file in predictions)
    if show_book:
        table.add_column("book")
    for file, labels in predictions.items():
        published = list(book.get(file.name, {}).items())
        shown = file.name if names[file.name] == 1 else str(file)
        for place, (label, probability) in enumerate(labels):
            row: list[Text | str] = [
                Text(printable(shown) if place == 0 else ""),
                Text(label),
                f"{probability:.4f}",
            ]
            if show_book:
                row.append(
                    f"{published[place][0]} {published[place][1]:.4f}"
                    if place < len(published)
                    else ""
                )
            table.add_row(*row)
    return table
