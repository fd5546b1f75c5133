"""Find the tables of the authors' package `islp` by names such as `islp:Default`."""

from pathlib import Path

from dlrun.config.data_sections import ISLP, is_name_of_islp
from dlrun.data.download import paths_in_installed_packages
from dlrun.errors import ConfigError
from dlrun.system.spelling import sort_by_similarity


def path_of_table(path: Path) -> Path:
    """Return the path of a table; `islp:Default` stands for Default.csv of the installed package.

    The name of a table that the package lacks, or of a package that is not installed, stays.
    """
    if not is_name_of_islp(path):
        return path
    return _installed_tables().get(_name(path), path)


def find_table(path: Path, setting: str) -> Path:
    """Return what `path_of_table` does. Raises ConfigError for a name that stays.

    setting: what names the table, for errors.
    """
    file = path_of_table(path)
    if not is_name_of_islp(file):
        return file
    tables = _installed_tables()
    if not tables:
        problem = f"{setting}: {path}: the package islp is not installed"
        raise ConfigError(problem, "`pip install --no-deps islp` brings it")
    names = ", ".join(sort_by_similarity(_name(path), tables))
    raise ConfigError(f"{setting}: {path}: no such table in the package islp", f"it has {names}")


def _installed_tables() -> dict[str, Path]:
    """Find the package's CSV files by the names of its tables."""
    folders = paths_in_installed_packages("ISLP/data")
    return {file.stem: file for folder in folders for file in folder.glob("*.csv")}


def _name(path: Path) -> str:
    return str(path).removeprefix(ISLP)
