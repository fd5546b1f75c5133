"""Describe in words the data of a run, and what computed the run."""

from dlrun.runs.record import RunRecord
from dlrun.system.text import pluralize


def describe_data(record: RunRecord) -> str:
    """The words end with the fold, or with a seed that divided the rows besides the run's own."""
    words = [record.data]
    split = record.split
    if split is not None and split.seed != record.seed:
        words.append(f"split by seed {split.seed}")
    if split is not None and split.fold is not None:
        words.append(f"fold {split.fold} of {split.folds}")
    return ", ".join(words)


def describe_device(record: RunRecord) -> str:
    """The words are such as `on cpu, 1 thread`; they are empty if the device is unknown."""
    if record.accelerator is None:
        return ""
    return f"on {record.accelerator.used}, {pluralize(record.threads or 1, 'thread')}"
