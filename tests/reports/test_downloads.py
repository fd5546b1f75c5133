"""Files of a run on the page: as they are, packed, or left out, as far as there is room."""

import base64
import gzip
import html
import random
import re
from pathlib import Path

from dlrun.reports.downloads import fit_downloads, room_for_downloads
from tests.conftest import Dlrun
from tests.reports.example_runs import a_classification

SMALL, LARGE = b"a: 1\n", b"1,0.5\n" * 2000
NOISE = random.Random(0).randbytes(9000)


def saved(uri: str) -> bytes:
    """The bytes that a browser saves for a link."""
    kind, _, text = html.unescape(uri).partition(";base64,")
    content = base64.b64decode(text, validate=True)
    return gzip.decompress(content) if kind == "data:application/gzip" else content


def test_what_fits_is_as_it_is_and_the_rest_packed_or_left_out() -> None:
    contents = {"predictions.csv": NOISE, "metrics.csv": LARGE, "config.yaml": SMALL}
    for room, names, sizes in (
        (40_000, ["config.yaml", "predictions.csv", "metrics.csv"], {}),
        (26_000, ["config.yaml", "predictions.csv", "metrics.csv.gz"], {}),
        (5_000, ["config.yaml", "metrics.csv.gz"], {"predictions.csv": 9000}),
        (900, ["config.yaml", "metrics.csv.gz"], {"predictions.csv": 9000}),
        (0, [], {"config.yaml": 5, "predictions.csv": 9000, "metrics.csv": 12_000}),
    ):
        links, left_out = fit_downloads(contents, room)
        assert [one.name for one in links] == names and left_out == sizes
        assert sum(len(one.uri) for one in links) <= room
        for one in links:
            assert saved(one.uri) == contents[one.name.removesuffix(".gz")]


def test_the_more_runs_the_less_room() -> None:
    room = [room_for_downloads(n) for n in range(1, 100)]
    assert room == sorted(room, reverse=True) and room[19] > 4_000 and room[-1] == 0


def test_the_page_has_the_files_of_each_run(forked: Dlrun, tmp_path: Path) -> None:
    run = a_classification(tmp_path / "runs" / "imdb-dense" / "r").folder
    forked("report").is_told(0)
    page = (tmp_path / "report.html").read_text()
    found = dict(re.findall(r'<a download="imdb-dense-r-([\w.]*)" href="(data:[^"]*)"', page))
    for name in ("metrics.csv", "predictions.csv"):
        assert saved(found[name]) == (run / name).read_bytes()
    assert b"seed: 0\n" in saved(found["config.yaml"])
    assert b"lr: 0.001\n" in saved(found["config.yaml"])  # every value, those of defaults too
