"""`dlrun data`: download, verify and show the data sets that the experiments need."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import run_context
from dlrun.data.cache import SUMS, find_damaged_files
from dlrun.data.download import Dataset
from dlrun.data.user_data import hash_path
from dlrun.errors import ConfigError, DataError, DlrunError, did_you_mean
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config
from dlrun.system.console import Screen


def fetch_dataset(
    dataset: str, overrides: Sequence[str] = (), data_dir: Path | None = None
) -> None:
    """Download the missing files of a data set, and prepare its arrays."""
    screen, folder = Screen(), run_context.resolve_data_dir(data_dir)
    found, config = _find(dataset, overrides, screen)
    screen.show(Text(f"ready: {_load(found, config, folder, screen)}"))
    archive = getattr(config.data, "archive", None)
    if config.source != "sample" and archive is not None:
        screen.note(f"the experiments need `--set data.archive={archive}` too")


def verify_dataset(
    dataset: str, overrides: Sequence[str] = (), data_dir: Path | None = None
) -> int:
    """Check the files of a data set by their published checksums, and its prepared arrays.

    Returns the exit code: 1 if a file is not the published one, or is damaged. Raises DataError if
    the contents are not what the experiments need.
    """
    screen, folder = Screen(), run_context.resolve_data_dir(data_dir)
    found, config = _find(dataset, overrides, screen)
    others, damaged = [], False
    for published, path in found.files(config.data, folder):
        if not path.exists():
            raise DataError(f"{path}: not there", f"`dlrun data fetch {found.name}` downloads it")
        if path.is_file():
            computed = hash_path(path, published.algorithm)
            is_same = computed == published.digest
            verdict = "the published one" if is_same else f"NOT the published {published.digest}"
            screen.show(Text(f"{path}: {published.algorithm} {computed} is {verdict}"))
            others += [] if is_same else [path.name]
    for cache in sorted(sums.parent for sums in (folder / found.name).glob(f"*/{SUMS}")):
        if problem := find_damaged_files(cache):
            damaged = True
            screen.fail(f"{cache}: damaged: {problem}", "it is made again when it is needed")
        else:
            screen.show(Text(f"{cache}: whole"))
    screen.show(Text(f"contents are complete: {_load(found, config, folder, screen)}"))
    if others:
        screen.fail(
            f"{', '.join(others)}: not the published data",
            "the experiments run on them, but the book's numbers cannot be compared",
        )
    return 1 if others or damaged else 0


def show_dataset(
    dataset: str,
    *,
    part: str,
    first: int,
    count: int,
    overrides: Sequence[str] = (),
    data_dir: Path | None = None,
) -> None:
    """Print some examples of a data set. Raises ConfigError if it has no texts."""
    screen = Screen()
    found, config = _find(dataset, overrides, screen)
    if found.show is None:
        raise ConfigError(f"{found.name} has nothing to show as text")
    folder = run_context.resolve_data_dir(data_dir)
    data = found.load(config.data, folder, config.split_seed, screen)
    found.show(data, screen, part, first, count)


def _load(found: Dataset, config: Any, folder: Path, screen: Screen) -> str:
    """Load all data, downloading what is missing, and return a description."""
    data = found.load(config.data, folder, config.split_seed, screen)
    counts = f"{len(data.train.labels):,} training and {len(data.test.labels):,} test rows"
    return f"{counts}, {data.origin}"


def _find(name: str, overrides: Sequence[str], screen: Screen) -> tuple[Dataset, Any]:
    """Return the data set of a name or an experiment, and the config that names its source."""
    datasets: dict[str, tuple[Dataset, str]] = {}
    for experiment in registry.experiment_names():
        try:
            dataset = registry.experiment_dataset(experiment)
        except DlrunError as error:
            screen.warn(error.message)
            continue
        if dataset is not None:
            for key in (dataset.name, experiment):
                datasets.setdefault(key, (dataset, experiment))
    if name not in datasets:
        names = dict.fromkeys(dataset.name for dataset, _ in datasets.values())
        hint = did_you_mean(name, datasets)
        raise ConfigError(f"no data {name!r}{hint}", f"choose {', '.join(names)}")
    dataset, experiment = datasets[name]
    return dataset, load_experiment_config(experiment, RunSettings(overrides=overrides))
