"""Where the shipped configs are; apart from config.py, for `--help` must not import pydantic."""

from pathlib import Path


def defaults_folder() -> Path:
    """The folder of the shipped configs: inside the wheel, or beside src/ in a checkout."""
    package = Path(__file__).parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parents[1] / "configs"


def experiment_names() -> list[str]:
    """Every experiment, sorted: each has a config of its name."""
    return sorted(path.stem for path in defaults_folder().glob("*.yaml"))
