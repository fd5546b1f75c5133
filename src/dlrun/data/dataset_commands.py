"""What `dlrun data` can do with a data set; an experiment declares which one it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlrun.data.published_file import Published
from dlrun.system.console import Screen


@dataclass(frozen=True)
class Dataset:
    """A data set.

    name: of it, and of its folder in the data folder.
    files: for a config the files that it needs, each with where it lies.
    load: reads all of it, downloading what is missing; returns what there is in words.
    show: prints some examples (part, first, count); None where there is nothing to show.
    """

    name: str
    files: Callable[[Any, Path], list[tuple[Published, Path]]]
    load: Callable[[Any, Path, Screen], str]
    show: Callable[[Any, Path, Screen, str, int, int], None] | None = None
