import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun.data.photographs import AHEAD, THUMBNAIL, Photograph, batches


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven photographs, each of its own shade, and one that is none."""
    found = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (2 * THUMBNAIL, THUMBNAIL), (number, 0, 0)).save(path)
        found.append(path)
    (tmp_path / "broken.png").write_bytes(b"no photograph")
    return [*found[:3], tmp_path / "broken.png", *found[3:]]


def shade(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def read(files: list[Path], size: int, thumbnails: int = 0) -> list[list[Photograph]]:
    return list(batches(files, shade, size=size, thumbnails=thumbnails, smallest=None))


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_in_order_and_in_batches(files: list[Path], size: int) -> None:
    found = read(files, size)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    photographs = [photograph for batch in found for photograph in batch]
    assert [photograph.file for photograph in photographs] == files
    assert [photograph.pixels for photograph in photographs] == [0, 1, 2, None, 3, 4, 5, 6]


def test_one_that_cannot_be_read_says_why_and_stops_nothing(files: list[Path]) -> None:
    broken = read(files, 8)[0][3]
    assert "not an image of a known kind" in str(broken.error)
    assert broken.pixels is broken.thumbnail is None


def test_the_first_ones_get_a_thumbnail(files: list[Path]) -> None:
    (found,) = read(files, 8, thumbnails=4)  # one of which cannot be read
    has_one = [photograph.thumbnail is not None for photograph in found]
    assert has_one == [True, True, True, False, True, False, False, False]
    assert found[0].thumbnail is not None
    with Image.open(io.BytesIO(found[0].thumbnail)) as image:
        assert (image.format, image.size) == ("JPEG", (THUMBNAIL, THUMBNAIL // 2))


def test_no_photographs_no_batches() -> None:
    assert read([], 3) == []


@pytest.mark.parametrize(("size", "ahead"), [(2, 4), (100, AHEAD)])
def test_it_reads_only_a_little_ahead(files: list[Path], size: int, ahead: int) -> None:
    begun = []

    def to_input(image: Image.Image) -> int:
        begun.append(shade(image))
        return 0

    stream = batches(files[:3] * 100, to_input, size=size, thumbnails=0, smallest=None)
    assert len(next(stream)) == size
    assert len(begun) <= size + ahead + 1
    stream.close()


def test_whatever_one_photograph_does_ends_no_batch(files: list[Path]) -> None:
    def to_input(image: Image.Image) -> int:
        if shade(image) == 2:
            raise OverflowError("too many columns")
        return shade(image)

    (found,) = batches(files, to_input, size=8, thumbnails=0, smallest=None)
    assert found[2].error == "cannot be made an input: too many columns"
    assert [one.pixels for one in found] == [0, 1, None, None, 3, 4, 5, 6]
