"""Fetch, verify and show the data sets that the experiments need, as their configs name them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import run_context
from dlrun.data.cache import cached_folders, find_damage
from dlrun.data.download import Dataset, digest
from dlrun.errors import ConfigError, DataError, DlrunError, did_you_mean
from dlrun.experiments import registry
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import load_config
from dlrun.system.console import Screen


def fetch(name: str, overrides: Sequence[str], data_dir: Path | None) -> None:
    """Download what is missing and prepare it."""
    screen, folder = Screen(), run_context.data_dir(data_dir)
    dataset, config = _find(name, overrides, screen)
    screen.show(Text(f"ready: {dataset.load(config, folder, screen)}"))
    archive = getattr(config.data, "archive", None)
    if config.source != "sample" and archive is not None:
        screen.note(f"the experiments need `--set data.archive={archive}` too")


def verify(name: str, overrides: Sequence[str], data_dir: Path | None) -> int:
    """Compare the files with their published checksums, what was made of them with its own.

    Returns the exit code: 1 where a file is not the published one, or was damaged. Raises DataError
    where the contents are not what the experiments need.
    """
    screen, folder = Screen(), run_context.data_dir(data_dir)
    dataset, config = _find(name, overrides, screen)
    others = []
    for published, path in dataset.files(config, folder):
        if not path.exists():
            raise DataError(f"{path}: not there", f"`dlrun data fetch {dataset.name}` downloads it")
        if path.is_file():
            found = digest(path, published.algorithm)
            same = found == published.digest
            verdict = "the published one" if same else f"NOT the published {published.digest}"
            screen.show(Text(f"{path}: {published.algorithm} {found} is {verdict}"))
            others += [] if same else [path.name]
    damaged = _check_made(folder / dataset.name, screen)
    screen.show(Text(f"contents are complete: {dataset.load(config, folder, screen)}"))
    if others:
        screen.fail(
            f"{', '.join(others)}: not the published data",
            "the experiments run on them, but the book's figures are of others",
        )
    return 1 if others or damaged else 0


def _check_made(folder: Path, screen: Screen) -> bool:
    """Read back what was prepared of the files; whether any of it is damaged."""
    problems = {made: find_damage(made) for made in cached_folders(folder)}
    for made, problem in problems.items():
        if problem is None:
            screen.show(Text(f"{made}: whole"))
        else:
            screen.fail(f"{made}: damaged: {problem}", "it is made again when it is needed")
    return any(problems.values())


def show(
    name: str, part: str, first: int, count: int, overrides: Sequence[str], data_dir: Path | None
) -> None:
    """Print some examples."""
    screen = Screen()
    dataset, config = _find(name, overrides, screen)
    if dataset.show is None:
        raise ConfigError(f"{dataset.name} has nothing to show as text")
    dataset.show(config, run_context.data_dir(data_dir), screen, part, first, count)


def _find(name: str, overrides: Sequence[str], screen: Screen) -> tuple[Dataset, Any]:
    """A data set by its name, or that of an experiment, and the config that names its source."""
    datasets: dict[str, tuple[Dataset, str]] = {}
    for experiment, found in registry.config_classes():
        if isinstance(found, DlrunError):
            screen.warn(found.message)
        elif (dataset := registry.dataset(experiment)) is not None:
            datasets.setdefault(dataset.name, (dataset, experiment))
            datasets.setdefault(experiment, (dataset, experiment))
    if name not in datasets:
        names = dict.fromkeys(dataset.name for dataset, _ in datasets.values())
        raise ConfigError(
            f"no data {name!r}{did_you_mean(name, datasets)}", f"there is {', '.join(names)}"
        )
    chosen, experiment = datasets[name]
    return chosen, load_config(experiment, RunSettings(overrides=overrides))
