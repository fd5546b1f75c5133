"""The section `data` of a shipped config, and what a folder holds."""

from pathlib import Path
from typing import Any

from dlrun.experiments import registry


def shipped_data(experiment: str, **changes: object) -> Any:
    """The section `data` of an experiment's shipped config, with changes."""
    schema = registry.find_experiment(experiment).config.model_fields["data"].annotation
    values = registry.shipped_config(experiment).layer.values["data"]
    return schema.model_validate(values | changes)  # type: ignore[union-attr]


def without_locks(folder: Path) -> list[Path]:
    """The folder's entries, sorted, but for locks' files, which stay (dlrun.system.files)."""
    locks = set(folder.glob(".*.lock"))
    assert all(lock.stat().st_size == 0 for lock in locks)
    return sorted(set(folder.iterdir()) - locks)
