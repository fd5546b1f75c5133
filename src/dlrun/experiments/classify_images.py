"""Photographs classified by a pretrained ImageNet network (ISLP, lab 10.9.4)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from rich.table import Table
from rich.text import Text

from dlrun.config import LocalPath, PositiveInt, Section
from dlrun.errors import DataError
from dlrun.experiments.sections import Experiment
from dlrun.screen import printable
from dlrun.session import Results, Session

if TYPE_CHECKING:
    from PIL import Image

    from dlrun.experiments.pretrained import Transform

THUMBNAIL = 360  # pixels of a side, in the contact sheet
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


class Reference(Section):
    """Published probabilities for each photograph, and where they stand."""

    source: str
    book: dict[str, dict[str, float]]
    notebook: dict[str, dict[str, float]]


class Config(Experiment):
    """configs/classify-images.yaml."""

    batch_size: PositiveInt
    images: list[LocalPath]
    top: Annotated[int, Field(ge=1, le=100)]
    model: Model
    transform: TransformConfig
    reference: Reference


def run(config: Config, session: Session) -> Results:
    """Classify the photographs; one that cannot be read becomes a row with its error."""
    import torch  # noqa: PLC0415 (slow imports come once a run begins)

    from dlrun import plots  # noqa: PLC0415
    from dlrun.accelerator import run_on  # noqa: PLC0415
    from dlrun.data import images  # noqa: PLC0415
    from dlrun.experiments import pretrained  # noqa: PLC0415
    from dlrun.training.fit import write_summary  # noqa: PLC0415

    files = images.find(config.images) if config.images else images.shipped()
    if not config.images:
        session.screen.note("no image given: classifying two photographs that scikit-learn ships")
    with session.phase("model"):
        model = pretrained.load(config.model, session.screen)
        transform = model.transform
        to_input = pretrained.squashed(transform) if config.transform.squash else transform
        crop = transform.crop_size[0]
        example = torch.zeros(1, 3, crop, crop)
        parameters = write_summary(model.network, example, session)

    def forward(batch: torch.Tensor, device: str) -> torch.Tensor:
        with torch.inference_mode():
            return model.network(batch.to(device)).float().softmax(-1).cpu()

    def probe(device: str) -> None:
        model.network.to(device)
        forward(example, device)

    def classify(device: str) -> tuple[dict[Path, Labelled], dict[Path, str], list[Any]]:
        model.network.to(device)
        predictions: dict[Path, Labelled] = {}
        errors: dict[Path, str] = {}
        sheet: list[Any] = []
        with session.screen.progress("classifying", len(files), "photographs") as bar:
            for batch in _batches(files, config.batch_size, to_input):
                readable = [item for item in batch if not isinstance(item[1], str)]
                if readable:
                    inputs = torch.stack([item[1][0] for item in readable])
                    best = forward(inputs, device).topk(min(config.top, len(model.labels)))
                    for (file, (_, thumbnail)), values, places in zip(
                        readable, best.values.tolist(), best.indices.tolist(), strict=True
                    ):
                        names = [model.labels[place] for place in places]
                        predictions[file] = list(zip(names, values, strict=True))
                        if len(sheet) < SHEET_LIMIT:
                            sheet.append((str(file), thumbnail))
                errors.update({file: item for file, item in batch if isinstance(item, str)})
                bar.to(len(predictions) + len(errors))
        return predictions, errors, sheet

    with session.phase("classify"):
        (predictions, errors, sheet), report = run_on(
            config.accelerator,
            fallback=config.fallback,
            probe=probe,
            run=classify,
            warn=session.screen.warn,
        )
    _write_predictions(session, files, predictions, errors)
    for file, error in errors.items():
        session.screen.warn(f"{printable(str(file))}: {error}")
    if not predictions:
        raise DataError(f"none of the {len(files)} files could be read as a photograph")
    session.screen.show(_table(predictions, config))
    title = f"{config.model.name}: {len(predictions)} photographs"
    if len(predictions) > len(sheet):
        title += f" (the first {len(sheet)})"
    with session.phase("figures"), session.folder.replacing("contact_sheet.png") as path:
        labelled = {str(file): labels for file, labels in predictions.items()}
        plots.contact_sheet(sheet, labelled, path, title=title)
    return Results(
        metrics={"images": len(predictions), "unreadable": len(errors)},
        reference=config.reference.model_dump() if config.model.name == "resnet50" else {},
        accelerator=report,
        data=f"{len(files)} files" if config.images else "two photographs that scikit-learn ships",
        figures=["contact_sheet.png"],
        more={"model": config.model.name, "parameters": parameters},
        exit_code=1 if errors else 0,
    )


def _batches(files: Sequence[Path], size: int, to_input: "Transform") -> Iterator[list[Any]]:
    """Batches of (file, (input, thumbnail)), or (file, error) where it cannot be read."""
    for start in range(0, len(files), size):
        yield [_load(file, to_input) for file in files[start : start + size]]


def _load(file: Path, to_input: "Transform") -> tuple[Path, Any]:
    from dlrun.data import images  # noqa: PLC0415

    try:
        photograph = images.read(file)
    except images.UnreadableImage as error:
        return file, str(error)
    return file, (to_input(photograph), _thumbnail(photograph))


def _thumbnail(photograph: "Image.Image") -> Any:
    import numpy as np  # noqa: PLC0415

    photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # last use of it: may change in place
    return np.asarray(photograph)


def _write_predictions(
    session: Session,
    files: Sequence[Path],
    predictions: dict[Path, Labelled],
    errors: dict[Path, str],
) -> None:
    rows: list[list[Any]] = []
    for file in files:
        if file in errors:
            rows.append([str(file), "", "", "", errors[file]])
        for rank, (label, probability) in enumerate(predictions.get(file, []), start=1):
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
    show_book = any(file.name in book for file in predictions)
    if show_book:
        table.add_column("book")
    for file, labels in predictions.items():
        published = list(book.get(file.name, {}).items())
        for place, (label, probability) in enumerate(labels):
            row = [Text(printable(file.name) if place == 0 else ""), Text(label), f"{probability:.4f}"]
            if show_book:
                row.append(
                    f"{published[place][0]} {published[place][1]:.4f}" if place < len(published) else ""
                )
            table.add_row(*row)
    return table
