"""Whether two runs came out the same: their tables, results and weights, bit for bit."""

import csv
import io
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import DataError, first_line
from dlrun.run_folder.csv_columns import SECONDS
from dlrun.run_folder.folder import METRICS
from dlrun.run_folder.record import RESULTS
from dlrun.runs.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray


def first_difference(run: Run, again: Run) -> tuple[str | None, list[str]]:
    """The first difference of a run's repetition, in words, and the files that were compared.

    None where there is none: metrics.csv (times aside), the metrics of the result, weights or
    coefficients, and the tables that both wrote, such as predictions. Raises DataError where a
    file of either was damaged since.
    """
    kept = sorted(run.record.files | again.record.files)
    both = run.record.written.keys() & again.record.written.keys()
    tables = sorted(name for name in both if name.endswith(".csv") and name != METRICS)
    compared = [*([METRICS] if METRICS in both else []), RESULTS, *kept, *tables]
    for name in compared:
        found = _of_results(run, again) if name == RESULTS else _of_files(run, again, name)
        if found:
            return f"{name}: {found}", compared
    return None, compared


def _of_results(run: Run, again: Run) -> str | None:
    then, now = run.record.metrics, again.record.metrics
    for name in then | now:
        if then.get(name) != now.get(name):
            return _in_words(name, then.get(name), now.get(name))
    return None


def _of_files(run: Run, again: Run, name: str) -> str | None:
    for one, word in ((run, "then"), (again, "now")):
        if name not in one.record.files | one.record.written:
            return f"not written {word}"
    then, now = run.read(name), again.read(name)
    if then == now:
        return None
    if name.endswith(".csv"):
        tables = (_rows(then, run.folder / name), _rows(now, again.folder / name))
        return _of_tables(*tables)
    # Another torch or numpy may write the same numbers in other bytes.
    if name.endswith(".pt"):
        return _of_arrays(_tensors(then, run.folder / name), _tensors(now, again.folder / name))
    return _of_arrays(_arrays(then), _arrays(now)) if name.endswith(".npz") else "other contents"


def _rows(content: bytes, path: Path) -> list[list[str]]:
    """Return the rows of a CSV table, header first. Raises DataError if it is not one."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {first_line(error)}") from None
    if not rows or any(not row or len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{path}: not a CSV table: its rows differ in length, or it is empty")
    return rows


def _of_tables(one: list[list[str]], other: list[list[str]]) -> str | None:
    """The first cell that differs; a row is named by its first cell."""
    if one[:1] != other[:1]:
        return _in_words("columns", *(",".join(rows[0]) for rows in (one, other)))
    names = one[0]
    for before, after in zip_longest(one[1:], other[1:]):
        if before is None or after is None:
            return _in_words("rows", len(one) - 1, len(other) - 1)
        for name, was, is_now in zip(names, before, after, strict=True):
            if was != is_now and name != SECONDS:
                return _in_words(f"{names[0]} {before[0]}: {name}", was, is_now)
    return None


def _of_arrays(then: dict[str, "NDArray[Any]"], now: dict[str, "NDArray[Any]"]) -> str | None:
    """The first array that differs in a bit, and by how much."""
    import numpy as np

    for name in then | now:
        if name not in then or name not in now:
            return f"{name}: only {'then' if name in then else 'now'}"
        one, other = then[name], now[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return _in_words(name, f"{one.dtype}{one.shape}", f"{other.dtype}{other.shape}")
        if one.tobytes() != other.tobytes():
            unequal = one != other
            most = np.abs(one[unequal].astype(float) - other[unequal].astype(float))
            most = most.max(initial=0)
            count = f"{np.count_nonzero(unequal):,} of {one.size:,} numbers"
            return f"{name}: {count} differ, by at most {most:.3g}"
    return None


def _tensors(content: bytes, path: Path) -> dict[str, "NDArray[Any]"]:
    """A file of weights; half precision as single, which numpy has no bfloat16 for."""
    import torch  # slow, and only where the bytes differ

    from dlrun.networks import tensor_file

    found: dict[str, NDArray[Any]] = {}
    for name, tensor in tensor_file.parse_tensors(content, path).items():
        found[name] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _arrays(content: bytes) -> dict[str, "NDArray[Any]"]:
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return dict(stored)


def _in_words(what: str, then: Any, now: Any) -> str:
    return f"{what} {then} then, {now} now"
