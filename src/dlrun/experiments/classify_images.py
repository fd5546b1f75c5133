"""Photographs classified by a pretrained ImageNet network (ISLP, lab 10.9.4)."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from rich.table import Table
from rich.text import Text

from dlrun.config.schema import BatchSize, LocalPath, PositiveInt, Section
from dlrun.config.sections import ExperimentConfig, NameOrPath
from dlrun.declaration.experiment import Argument, Experiment
from dlrun.errors import DataError
from dlrun.screen import counted, printable
from dlrun.session import Origin, Results, Session
from dlrun.store.stored import StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from dlrun.models.pretrained import Pretrained

OVERSAMPLING = 6  # times the resize's side: at 5 the six photographs' top 3 already change
SHEET_LIMIT = 24  # photographs on the contact sheet
SHEET, THUMBNAILS = "contact_sheet.png", "thumbnails.npz"

Labelled = list[tuple[str, float]]


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

    @property
    def published(self) -> dict[str, dict[str, float]]:
        """The book's labels for each photograph, where they are of this model."""
        return self.reference.book if self.model.name == self.reference.model else {}


@dataclass
class Classified:
    """What became of the files."""

    predictions: dict[Path, Labelled] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    thumbnails: list[bytes] = field(default_factory=list)  # JPEGs of the first SHEET_LIMIT


class ClassifyImages(Experiment[Config]):
    """The most probable labels of each photograph."""

    name = "classify-images"
    schema = Config
    argument = Argument(
        "images",
        "IMAGE_OR_FOLDER",
        "JPEG, PNG, WebP, GIF or BMP, or folders and those in them.",
    )
    resumable = False

    def check(self, config: Config, runs_dir: Path) -> None:
        """The images are there, the model's name, weights and labels are right."""
        from dlrun.data import images
        from dlrun.models import pretrained  # slow: needs torch

        images.find(config.images)
        pretrained.check(config.model)

    def run(self, config: Config, session: Session) -> Results:
        """Classify the photographs; one that cannot be read becomes a row with its error."""
        import torch  # slow imports come once a run begins

        from dlrun.accelerator import run_on
        from dlrun.data import images
        from dlrun.training.fit import write_summary
        from dlrun.training.process import own_settings

        screen = session.screen
        files = images.find(config.images) if config.images else images.shipped()
        origin = counted(len(files), "file")
        if not config.images:
            origin = "two photographs that scikit-learn ships"
            screen.note(f"no image given: classifying {origin}")
        with session.phase("model"), own_settings(session.threads):
            model = _load(config, session)
            crop = model.transform.crop_size[0]
            example = torch.zeros(1, 3, crop, crop)
            parameters = write_summary(model.network, example, session)
        with session.phase("classify"):
            classified, report = run_on(
                config.accelerator,
                fallback=config.fallback,
                probe=lambda device: _probabilities(model, example, device, config.precision),
                run=lambda device: _classify(files, model, config, session, device),
                warn=screen.warn,
            )
        _write(session, files, classified)
        for file, error in classified.errors.items():
            screen.warn(f"{printable(str(file))}: {error}")
        if not classified.predictions:
            raise DataError("there is no file that could be read as a photograph")
        predictions = {
            str(file): [{"label": label, "probability": value} for label, value in labels]
            for file, labels in classified.predictions.items()
        }
        return Results(
            metrics={"images": len(classified.predictions), "unreadable": len(classified.errors)},
            accelerator=report,
            origin=Origin(origin),
            reference=config.reference.model_dump() if config.published else {},
            more={
                "model": config.model.name,
                "parameters": parameters,
                "predictions": predictions,
                "errors": {str(file): error for file, error in classified.errors.items()},
            },
            shown=[_table(classified.predictions, config)],
            exit_code=1 if classified.errors else 0,
        )

    def network(self, run: StoredRun, config: Config) -> "nn.Module":
        """The pretrained network; its weights are read from where the run found them."""
        from dlrun.models import pretrained

        pretrained.check(config.model)
        return pretrained.load(config.model).network

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
        title = f"{config.model.name}: {counted(len(predictions), 'photograph')}"
        if len(predictions) > len(sheet):
            title += f" (the first {len(sheet)})"
        return {SHEET: contact_sheet(sheet, predictions, title=title)}


def _load(config: Config, session: Session) -> "Pretrained":
    from dlrun.data.weights import obtain_weights
    from dlrun.models import pretrained

    if url := pretrained.url(config.model):
        instead = (
            f"`--set model.name={pretrained.BUNDLED}` runs the network that the extra `offline` "
            "carries, without a download"
        )
        obtain_weights(url, pretrained.cache(), session.screen, instead)
    return pretrained.load(config.model)


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

    from dlrun.data import photographs
    from dlrun.models.pretrained import squashed

    to_input = squashed(model.transform) if config.transform.squash else model.transform
    side = model.transform.resize_size[0]
    stream = photographs.batches(
        files,
        to_input,
        size=config.batch_size,
        thumbnails=SHEET_LIMIT,
        smallest=OVERSAMPLING * side if config.transform.scaled_decoding else None,
    )
    out = Classified()
    with session.screen.progress("classifying", len(files), "photographs") as bar:
        for batch in stream:
            out.errors |= {one.file: one.error for one in batch if one.error is not None}
            readable = [one for one in batch if one.error is None]
            if readable:
                inputs = torch.stack([one.pixels for one in readable])
                probabilities = _probabilities(model, inputs, device, config.precision)
                best = probabilities.topk(min(config.top, len(model.labels)))
                for one, values, places in zip(
                    readable, best.values.tolist(), best.indices.tolist(), strict=True
                ):
                    labels = [model.labels[place] for place in places]
                    out.predictions[one.file] = list(zip(labels, values, strict=True))
                    if one.thumbnail is not None:
                        out.thumbnails.append(one.thumbnail)
            bar.to(len(out.predictions) + len(out.errors))
    return out


def _write(session: Session, files: Sequence[Path], classified: Classified) -> None:
    """predictions.csv, and what the figure shows."""
    import numpy as np

    rows: list[list[Any]] = []
    for file in files:
        if file in classified.errors:
            rows.append([str(file), "", "", "", classified.errors[file]])
        labels = classified.predictions.get(file, [])
        for rank, (label, probability) in enumerate(labels, start=1):
            rows.append([str(file), rank, label, probability, ""])
    columns = ["image", "rank", "label", "probability", "error"]
    session.folder.write_csv("predictions.csv", columns, rows)
    stream = io.BytesIO()
    jpegs = [np.frombuffer(jpeg, dtype=np.uint8) for jpeg in classified.thumbnails]
    np.savez(stream, *jpegs)
    session.keep(THUMBNAILS, stream.getvalue())


def _table(predictions: dict[Path, Labelled], config: Config) -> Table:
    """The labels of each photograph, the book's beside them where it has that photograph."""
    table = Table(box=None, pad_edge=False)
    for column in ("photograph", "label", "probability"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    names = Counter(file.name for file in predictions)
    show_book = any(file.name in config.published for file in predictions)
    if show_book:
        table.add_column("book")
    for file, labels in predictions.items():
        published = list(config.published.get(file.name, {}).items())
        shown = file.name if names[file.name] == 1 else str(file)
        for place, (label, probability) in enumerate(labels):
            row: list[Text | str] = [
                Text(printable(shown) if place == 0 else ""),
                Text(printable(label)),
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


experiment = ClassifyImages()
