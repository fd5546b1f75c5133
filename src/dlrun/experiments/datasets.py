"""Fetch, verify and show the data sets, as the experiments' configs name them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import session
from dlrun.data import cifar100, imdb, imdb_sources
from dlrun.data.download import digest
from dlrun.data.published import Published
from dlrun.errors import ConfigError, DataError
from dlrun.experiments.runner import resolve
from dlrun.screen import Screen

EXPERIMENT = {"imdb": "imdb-dense", "cifar100": "cifar100"}  # whose config names the data


def fetch(dataset: str, overrides: Sequence[str], data_dir: Path | None) -> None:
    """Download what is missing and prepare it."""
    screen = Screen()
    config, folder = _config(dataset, overrides), session.data_dir(data_dir)
    loaded = _load(dataset, config, folder, screen)
    screen.show(Text(f"ready: {_counts(dataset, loaded)}"))
    if config.data.source != "sample" and config.data.archive is not None:
        screen.note(f"the experiments need `--set data.archive={config.data.archive}` too")


def verify(dataset: str, overrides: Sequence[str], data_dir: Path | None) -> None:
    """Compare the files with their published checksums and read them whole.

    Raises DataError where the contents are not what the experiments need.
    """
    screen = Screen()
    config, folder = _config(dataset, overrides), session.data_dir(data_dir)
    if config.data.source != "sample":
        for published, path in _files(dataset, config, folder):
            if not path.exists():
                raise DataError(f"{path}: not there", f"`dlrun data fetch {dataset}` downloads it")
            if path.is_file():
                found = digest(path, published.algorithm)
                same = found == published.digest
                verdict = "the published one" if same else f"NOT the published {published.digest}"
                screen.show(Text(f"{path}: {published.algorithm} {found} is {verdict}"))
    loaded = _load(dataset, config, folder, screen)
    screen.show(Text(f"contents are complete: {_counts(dataset, loaded)}"))


def show_reviews(
    part: str, first: int, count: int, overrides: Sequence[str], data_dir: Path | None
) -> None:
    """Print reviews as words, each with its label and length."""
    screen = Screen()
    config = _config("imdb", overrides)
    reviews = imdb.load(config.data, session.data_dir(data_dir), config.seed, screen)
    split = reviews.train if part == "train" else reviews.test
    if first >= len(split.labels):
        raise ConfigError(f"--first {first}: there are {len(split.labels):,} {part} reviews")
    screen.note(f"{reviews.origin}: {len(reviews.words):,} distinct words")
    for index in range(first, min(first + count, len(split.labels))):
        ids = split.ids.review(index)
        label = "positive" if split.labels[index] else "negative"
        screen.show(Text(f"{part} {index}, {label}, {len(ids)} ids", style="bold"))
        screen.show(Text(reviews.decode(ids) + "\n"))


def _config(dataset: str, overrides: Sequence[str]) -> Any:
    return resolve(EXPERIMENT[dataset], [], overrides)


def _load(dataset: str, config: Any, folder: Path, screen: Screen) -> Any:
    if dataset == "imdb":
        return imdb.load(config.data, folder, config.seed, screen)
    if config.data.source == "sample":
        return cifar100.generate(config.data.sample_images, config.seed)
    return cifar100.load(config.data.archive, folder, config.data.mirrors, screen)


def _files(dataset: str, config: Any, folder: Path) -> list[tuple[Published, Path]]:
    published: tuple[Published, ...] = (cifar100.ARCHIVE,)
    local: tuple[Path | None, ...] = (config.data.archive,)
    if dataset == "imdb":
        published = imdb_sources.FILES[config.data.source]
        local = (config.data.archive, config.data.word_index)
    return [
        (file, path or folder / dataset / file.name)
        for file, path in zip(published, local, strict=False)
    ]


def _counts(dataset: str, loaded: Any) -> str:
    noun = "reviews" if dataset == "imdb" else "images"
    counts = (len(loaded.train.labels), len(loaded.test.labels))
    return f"{counts[0]:,} training and {counts[1]:,} test {noun}, {loaded.origin}"
