"""Put files of a run into the HTML report as links that a browser saves, without a network."""

import base64
import gzip
from collections.abc import Mapping
from typing import NamedTuple

# Characters of links on a page of n runs, which may have 20 and should stay below 1 MB: each run
# gets what the rest of the page, of PAGE_OF_RUN characters a run, leaves of PAGE.
PAGE, PAGE_OF_RUN, MOST_OF_RUN = 950_000, 43_000, 300_000
TRIED = 15  # times the room, up to which a file is tried: no table of a run shrinks more
KINDS = {".yaml": "application/yaml", ".csv": "text/csv"}


class Download(NamedTuple):
    """Holds a file that a page holds: its name, its size in bytes, and a data URI."""

    name: str
    size: int
    uri: str


def room_for_downloads(runs: int) -> int:
    """Return how many characters of links each run on a page of so many runs may have."""
    return max(0, min(MOST_OF_RUN, PAGE // runs - PAGE_OF_RUN))


def fit_downloads(
    contents: Mapping[str, bytes], room: int
) -> tuple[list[Download], dict[str, int]]:
    """Return files as links of at most `room` characters, and the sizes of those that do not fit.

    The smallest come first. A file is packed by gzip if it would take more than its share.
    """
    hopeful = {name: one for name, one in contents.items() if len(one) < TRIED * room}
    left_out = {name: len(one) for name, one in contents.items() if name not in hopeful}
    downloads = []
    by_size = sorted(hopeful.items(), key=lambda item: len(item[1]))
    for place, (name, content) in enumerate(by_size):
        share = room // (len(by_size) - place)
        kind = KINDS[name[name.rindex(".") :]]
        link = _link(name, f"{kind};charset=utf-8", content)
        if len(link.uri) > share:
            packed = gzip.compress(content, mtime=0)  # the same bytes each time
            link = _link(f"{name}.gz", "application/gzip", packed)
        if len(link.uri) > share:
            left_out[name] = len(content)
            continue
        downloads.append(link)
        room -= len(link.uri)
    return downloads, left_out


def _link(name: str, kind: str, content: bytes) -> Download:
    return Download(name, len(content), f"data:{kind};base64,{base64.b64encode(content).decode()}")
