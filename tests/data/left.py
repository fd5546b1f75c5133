"""What a folder holds."""

from pathlib import Path


def without_locks(folder: Path) -> list[Path]:
    """The folder's entries, sorted, but for locks' files, which stay (dlrun.system.files)."""
    locks = set(folder.glob(".*.lock"))
    assert all(lock.stat().st_size == 0 for lock in locks)
    return sorted(set(folder.iterdir()) - locks)
