"""Keep a secret key of the user, by which dlrun knows the runs that this user started."""

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from typer import get_app_dir

KEY = "key"  # the file's name in the user's configuration folder
KEY_BYTES = 32


def sign(text: str) -> str | None:
    """Return the HMAC-SHA256 of a text with the user's key; None without a folder for the key."""
    key = _user_key()
    return None if key is None else hmac.digest(key, text.encode(), "sha256").hex()


def is_signature(signature: object, text: str) -> bool:
    """Return whether `sign` has returned this signature of a text, for this user."""
    expected = sign(text)
    return expected is not None and hmac.compare_digest(expected, str(signature))


def _user_key() -> bytes | None:
    """Return the user's key, which the first call makes; None if it cannot be read or written."""
    path = Path(get_app_dir("dlrun")) / KEY
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as stream:  # noqa: PTH123 (a new file, only for its owner)
                stream.write(secrets.token_bytes(KEY_BYTES))
        if len(key := path.read_bytes()) == KEY_BYTES:
            return key
    return None
