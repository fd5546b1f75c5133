"""`dlrun data show`: show a text with its word ids, an image, or a row of a table."""

import io
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from dlrun.cli import options as opt
from dlrun.cli.named_data import Name, Words, obtain_named_data
from dlrun.data.datasets_and_sources import LoadedRows
from dlrun.errors import ConfigError
from dlrun.runs.output_paths import check_output_path
from dlrun.system.console import Screen
from dlrun.system.files import write_file_atomically


def show_row(
    name: Name,
    index: Annotated[int, opt.argument("The row, from 0, of the training part.", "INDEX")],
    words: Words = None,
    test: Annotated[bool, opt.flag("A row of the test part.", "--test")] = False,
    out: Annotated[Path | None, opt.option("Write an image to a file.", "F.png")] = None,
    force: opt.Replace = False,
    data_dir: opt.DataDir = None,
    overrides: opt.Overrides = None,
) -> int:
    """Show one row of a data set: a text with its word ids, an image, or the cells of a table.

    The training part has the rows that an experiment holds out for validation, too.

    Examples:
    dlrun data show imdb 0
    dlrun data show mnist 0 --test --out digit.png
    dlrun data show table-linear 0 cars.csv data.target=price
    """
    screen = Screen()
    if out is not None:
        check_output_path("--out", out, force=force)
        if out.suffix.lower() != ".png":
            raise ConfigError(
                f"--out {out}: an image is written as PNG", "a name that ends in .png"
            )
    dataset, context = obtain_named_data(name, words, overrides, data_dir, screen)
    data: LoadedRows = dataset.make(context)
    count = len(data.test if test else data.train)
    part = "test" if test else "training"
    if not 0 <= index < count:
        raise ConfigError(f"no row {index:,} of {count:,} {part} rows", f"0 to {count - 1:,}")
    row = data.show_row(index, is_test=test)
    if out is not None and row.pixels is None:
        raise ConfigError(f"--out {out}: {name} has no images", "leave it out")
    facts = [("row", f"{index:,} of {count:,} {part} rows, {data.origin.text}"), *row.facts]
    width = max(len(fact) for fact, _ in facts) + 2
    for fact, text in facts:
        screen.show(Text(f"{fact:<{width}}", style="bold") + Text(text))
    if row.pixels is None:
        return 0
    if out is not None:
        write_file_atomically(out, _to_png(row.pixels))
        screen.note(f"image {out}")
    elif screen.out.color_system is not None and not screen.out.no_color:
        screen.show(_draw_by_half_blocks(row.pixels))
    return 0


def _to_rows(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours of a pixel come last, (height, width, 3); grey pixels stay (height, width)."""
    return pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image  # slow

    stream = io.BytesIO()
    Image.fromarray(_to_rows(pixels)).save(stream, format="PNG")
    return stream.getvalue()


def _draw_by_half_blocks(pixels: NDArray[np.uint8]) -> Text:
    """A character shows two pixels, the upper one in its own colour and the lower one behind."""
    rows = _to_rows(pixels)
    if rows.ndim == 2:
        rows = np.repeat(rows[:, :, None], 3, axis=2)
    lines = []
    for upper, lower in zip(rows[::2].tolist(), rows[1::2].tolist(), strict=True):
        line = Text()
        for above, below in zip(upper, lower, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        lines.append(line)
    return Text("\n").join(lines)
