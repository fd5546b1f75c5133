"""Photographs of any kind are read as upright RGB, or refused with the reason."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.data import photographs
from dlrun.data.photographs import THUMBNAIL, find_images, read_photograph
from dlrun.errors import ConfigError, DataError
from tests.conftest import Patch


def noise(height: int = 24, width: int = 32, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def colour(path: Path) -> tuple[int, ...]:
    """The only colour of a picture."""
    image = read_photograph(path)
    assert image.mode == "RGB"
    colours = image.getcolors()
    assert colours is not None and len(colours) == 1, colours
    return tuple(colours[0][1])


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("L", (3, 2), 90), {}, (90, 90, 90)),
        (Image.new("LA", (3, 2), (90, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (0, 0, 0, 51)), {}, (204, 204, 204)),
        (Image.new("RGB", (3, 2), (1, 2, 3)), {"transparency": (1, 2, 3)}, (255, 255, 255)),
        (Image.new("P", (3, 2), 0), {"transparency": 0}, (255, 255, 255)),
        (Image.fromarray(np.full((2, 3), 30_000, np.uint16)), {}, (117, 117, 117)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_becomes_rgb_on_white(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert colour(saved(tmp_path, image, "a.png", **options)) == expected


def test_a_picture_is_turned_upright_by_its_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 8  # a camera held upright
    stored = noise(3, 5).transpose(Image.Transpose.ROTATE_270)
    image = read_photograph(saved(tmp_path, stored, "a.png", exif=exif))
    assert np.array_equal(np.asarray(image), np.asarray(noise(3, 5)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_truncated_picture_is_damaged(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, noise(64, 64), "a.txt", format=kind)  # contents count, not the name
    assert read_photograph(path).size == (64, 64)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="^damaged: |^not an image of a known kind"):
        read_photograph(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, noise(), "tiff.png", format="TIFF")
    for name, content in {"a": b"", "b": b"\xff\xd8\xff", "c.jpg": b"<svg></svg>"}.items():
        (tmp_path / name).write_bytes(content)
    unknown = dict.fromkeys(["a", "b", "c.jpg", "tiff.png"], "not an image of a known kind")
    others = {".": "Is a directory", "none.jpg": "^No such file or directory$"}
    for name, reason in (unknown | others).items():
        with pytest.raises(DataError, match=reason):
            read_photograph(tmp_path / name)


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    names = ["b.PNG", "a.jpg", "sub/deep/c.webp", "sub/a.jpeg", "z.gif", "y.bmp"]
    for name in [*names, "notes.txt", "sub/x.tiff", "x.jpg.txt", "jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    inside = sorted(tmp_path / name for name in names)
    assert find_images([tmp_path]) == inside
    files = [tmp_path / "x.jpg.txt", tmp_path / "jpg"]  # a file needs no extension
    assert find_images([files[0], tmp_path, files[1]]) == [files[0], *inside, files[1]]
    with pytest.raises(ConfigError, match="no images in this folder"):
        find_images([tmp_path / "folder.jpg"])
    assert [path.name for path in photographs.sample_photographs()] == ["china.jpg", "flower.jpg"]


@pytest.mark.parametrize(
    ("width", "smallest", "fraction"),
    [(990, 4000, 1), (990, 500, 1), (990, 100, 8), (4000, 1000, 4)],
)
def test_a_large_jpeg_is_decoded_at_a_fraction(
    tmp_path: Path, width: int, smallest: int, fraction: int
) -> None:
    large = Image.new("RGB", (width, width), (200, 0, 0))
    large.paste((0, 0, 200), (width // 2, 0, width, width))  # its right half
    image = read_photograph(saved(tmp_path, large, "a.jpg"), smallest)
    assert image.size == (-(-width // fraction),) * 2
    red, blue = image.getpixel((1, 1)), image.getpixel((image.width - 2, 1))
    assert np.abs(np.array([red, blue]) - [(200, 0, 0), (0, 0, 200)]).max() < 4


def test_of_too_many_pixels_a_jpeg_is_decoded_at_a_fraction_others_are_refused(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(photographs, "MAX_PIXELS", 1_000_000)
    large = Image.new("L", (2000, 502))
    assert read_photograph(saved(tmp_path, large, "a.jpg")).size == (1000, 251)
    assert read_photograph(saved(tmp_path, Image.new("L", (16_000, 100)), "b.jpg")).size[0] == 8_000
    with pytest.raises(DataError, match="refused: 2,000 x 502 pixels"):
        read_photograph(saved(tmp_path, large, "a.png"))
    with pytest.raises(DataError, match="refused: "):
        read_photograph(saved(tmp_path, Image.new("L", (8_100, 8_100)), "c.jpg"))


def test_photographs_come_in_order_also_after_one_that_fails(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "01234567"]
    for shade, path in enumerate(files):
        Image.new("RGB", (2 * THUMBNAIL, THUMBNAIL), (shade, 0, 0)).save(path, "PNG")
    files[3].write_bytes(b"no photograph")

    def to_input(image: Image.Image) -> int:
        shade = int(np.asarray(image)[0, 0, 0])
        if shade == 2:
            raise OverflowError("too many columns")
        return shade

    found = list(photographs.iterate_photographs(files, to_input, thumbnails=True))
    assert found[0].thumbnail is not None and found[3].thumbnail is None
    with Image.open(io.BytesIO(found[0].thumbnail)) as image:
        assert (image.format, image.size) == ("JPEG", (THUMBNAIL, THUMBNAIL // 2))
    assert found[2].error == "cannot be made an input: too many columns"
    assert "not an image of a known kind" in str(found[3].error)
    assert [one.file for one in found] == files
    assert [one.pixels for one in found] == [0, 1, None, None, 4, 5, 6, 7]
