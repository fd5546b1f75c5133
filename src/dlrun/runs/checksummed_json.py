"""Read and write JSON files that hold the number of their format and their own SHA-256."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dlrun.errors import DataError, OtherVersionError
from dlrun.system.files import MOST_TEXT, read_regular_file
from dlrun.system.json_text import to_json
from dlrun.system.text import cut

SHA256 = "sha256"  # the key of the digest of all other values

# Of the models of such files: they cannot be changed, and keep fields that they do not declare.
FILE_MODEL = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, defer_build=True)

M = TypeVar("M", bound=BaseModel)


def read_checksummed_json(kind: type[M], path: Path, most: int = MOST_TEXT) -> M:
    """Read a JSON file into a pydantic model, whose field `format` has the right number as default.

    Raises DataError if the file is missing or damaged, or has more than `most` bytes, and
    OtherVersionError if it has another format.
    """
    try:
        value = json.loads(read_regular_file(path, most))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: not a run's folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: not what a run writes")
    known, found = kind.model_fields["format"].default, value.get("format")
    if found != known:
        formats = f"in format {cut(repr(found), 20)} instead of {known}"
        raise OtherVersionError(
            f"{path}: written by another version of dlrun, {formats}", "use that version"
        )
    if value.pop(SHA256, None) != _digest_of(value):
        raise DataError(f"{path}: damaged, or edited: its SHA-256 does not match")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: not what a run writes: {key}: {problem['msg']}") from None


def has_checksum(path: Path) -> bool:
    """The answer is also true of another format, and of a file that was edited."""
    try:
        value = json.loads(read_regular_file(path, MOST_TEXT))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"format", SHA256} <= value.keys()


def to_checksummed_json(model: BaseModel) -> str:
    """The JSON text holds the SHA-256 of all its other values."""
    value = json.loads(to_json(model.model_dump()))
    return to_json(value | {SHA256: _digest_of(value)})


def _digest_of(value: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
