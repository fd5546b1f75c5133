"""Write Python objects as JSON text that a terminal can show; NaN becomes null."""

import json
import re
import sys
from collections.abc import Mapping, Sequence


def json_default(value: object) -> object:
    """Convert numpy's arrays and numbers for JSON, and any other object to text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def to_json(value: Mapping[str, object] | Sequence[object], indent: int | None = 2) -> str:
    """Write printable JSON, with null for NaN and for numbers beyond floats."""
    text = json.dumps(
        _null_nans(value), indent=indent, ensure_ascii=False, allow_nan=False, default=json_default
    )
    # Any character but ASCII's printable ones; of these, JSON escapes what cannot be printed.
    escaped = re.sub(
        r"[^\n -~]", lambda m: m[0] if m[0].isprintable() else json.dumps(m[0])[1:-1], text
    )
    return f"{escaped}\n"


def _null_nans(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _null_nans(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_nans(item) for item in value]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return None
    return value
