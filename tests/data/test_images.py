import io
import os
import struct
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.data import images
from dlrun.data.images import (
    AHEAD,
    MAX_FILE_BYTES,
    THUMBNAIL,
    UnreadableImageError,
    find_images,
    load_photograph_batches,
    read_photograph,
    sample_photographs,
)
from dlrun.errors import ConfigError, DataError
from dlrun.system.files import fingerprint_files

EXIF_ORIENTATION = 0x112
# How a camera's picture must be stored for each orientation to show it upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def noise(height: int = 24, width: int = 32) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
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


def png(bits: int, colour_type: int, pixel: bytes, width: int = 2, extra: bytes = b"") -> bytes:
    """A PNG of equal pixels, in depths that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, 2, bits, colour_type, 0, 0, 0)
    rows = zlib.compress((b"\0" + pixel * width) * 2)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.PNG", "a.webp"])
def test_lossless_pictures_come_out_as_they_are(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    image = read_photograph(saved(tmp_path, noise(), name, **options))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(noise()))


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("L", (3, 2), 90), {}, (90, 90, 90)),
        (Image.new("1", (3, 2), 1), {}, (255, 255, 255)),
        (Image.new("LA", (3, 2), (90, 255)), {}, (90, 90, 90)),
        (Image.new("LA", (3, 2), (90, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (10, 20, 30, 255)), {}, (10, 20, 30)),
        (Image.new("RGBA", (3, 2), (10, 20, 30, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (0, 0, 0, 51)), {}, (204, 204, 204)),
        (Image.new("RGB", (3, 2), (1, 2, 3)), {"transparency": (1, 2, 3)}, (255, 255, 255)),
        (Image.new("RGB", (3, 2), (1, 2, 3)), {"transparency": (9, 9, 9)}, (1, 2, 3)),
        (Image.new("L", (3, 2), 7), {"transparency": 7}, (255, 255, 255)),
        (Image.new("P", (3, 2), 0), {"transparency": 0}, (255, 255, 255)),
        (Image.fromarray(np.full((2, 3), 65535, np.uint16)), {}, (255, 255, 255)),
        (Image.fromarray(np.full((2, 3), 30_000, np.uint16)), {}, (117, 117, 117)),
        (Image.fromarray(np.full((2, 3), 128, np.uint16)), {}, (0, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_becomes_rgb_on_white(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert colour(saved(tmp_path, image, "a.png", **options)) == expected


@pytest.mark.parametrize(
    ("colour_type", "samples", "expected"),
    [
        (0, [30_000], (117, 117, 117)),
        (2, [65_535, 30_000, 0], (255, 117, 0)),
        (4, [30_000, 65_535], (117, 117, 117)),
        (6, [65_535, 30_000, 0, 65_535], (255, 117, 0)),
        (6, [65_535, 30_000, 0, 0], (255, 255, 255)),
    ],
)
def test_sixteen_bits_a_sample(
    tmp_path: Path, colour_type: int, samples: list[int], expected: tuple[int, ...]
) -> None:
    pixel = struct.pack(f">{len(samples)}H", *samples)
    (tmp_path / "a.png").write_bytes(png(16, colour_type, pixel))
    assert colour(tmp_path / "a.png") == expected


def test_cmyk(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    path = saved(tmp_path, cyan, "a.jpg", quality=100)
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    red, green, blue = colour(path)
    assert red < 8 and green > 247 and blue > 247


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_orientation(tmp_path: Path, orientation: int, mode: str) -> None:
    upright = noise(3, 5)
    if mode == "I;16":
        upright = Image.fromarray(np.asarray(upright.convert("L")).astype(np.uint16) * 257)
    step = STORED[orientation]
    stored = upright if step is None else upright.transpose(step)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    image = read_photograph(saved(tmp_path, stored, "a.png", exif=exif))
    grey = np.asarray(upright)
    expected = grey if mode == "RGB" else np.stack([grey // 257] * 3, axis=2)
    assert np.array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_impossible_orientation_changes_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert read_photograph(saved(tmp_path, noise(24, 32), "a.jpg", exif=exif)).size == (32, 24)
    exif[EXIF_ORIENTATION] = 6
    assert read_photograph(saved(tmp_path, noise(24, 32), "a.jpg", exif=exif)).size == (24, 32)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), one) for one in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as stored:
        assert getattr(stored, "n_frames", 1) == 3
    assert colour(path) == (200, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_truncated_picture_is_damaged(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, noise(64, 64), "a.txt", format=kind)  # contents count, not the name
    assert read_photograph(path).size == (64, 64)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnreadableImageError, match="^damaged: |^not an image of a known kind"):
        read_photograph(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for content in (b"", b"\xff\xd8\xff", b"not a picture", b"<svg></svg>", b"\0" * 5000):
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match="not an image of a known kind"):
            read_photograph(path)
    for kind in ("TIFF", "PPM", "ICO"):
        with pytest.raises(UnreadableImageError, match="not an image of a known kind"):
            read_photograph(saved(tmp_path, noise(), "a.png", format=kind))
    bomb = bytearray(png(8, 0, b"\0"))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    path.write_bytes(bomb)
    with pytest.raises(UnreadableImageError, match="3600000000 pixels"):
        read_photograph(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "a.jpg"
    os.mkfifo(pipe)
    assert find_images([pipe]) == find_images([tmp_path]) == [pipe]
    for path in (pipe, tmp_path):
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            read_photograph(path)
    with pytest.raises(UnreadableImageError, match="^No such file or directory$"):
        read_photograph(tmp_path / "none.jpg")


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    names = ["b.PNG", "a.jpg", "sub/deep/c.webp", "sub/a.jpeg", "z.gif", "y.bmp"]
    for name in [*names, "notes.txt", "sub/x.tiff", "x.jpg.txt", "jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert find_images([tmp_path]) == sorted(tmp_path / name for name in names)


def test_paths_keep_their_order_and_files_need_no_extension(tmp_path: Path) -> None:
    for name in ("z", "folder/b.jpg", "folder/a.jpg", "c.txt", "empty/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = [tmp_path / "z", tmp_path / "folder", tmp_path / "c.txt"]
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(paths)]
    assert found == ["z", "folder/a.jpg", "folder/b.jpg", "c.txt"]
    assert find_images([]) == []
    with pytest.raises(ConfigError, match="no images in this folder") as caught:
        find_images([tmp_path / "empty"])
    assert ".bmp, .gif, .jpeg, .jpg, .png, .webp" in caught.value.hint


@pytest.mark.parametrize("name", ["none.jpg", "none/", "x" * 300, "a\0b"])
def test_a_missing_path_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no such image or folder|File name too long"):
        find_images([tmp_path / name])
    assert [path.name for path in sample_photographs()] == ["china.jpg", "flower.jpg"]


def large(tmp_path: Path, name: str, width: int, height: int) -> Path:
    """A picture of so many pixels whose left half is red, and the right one blue."""
    image = Image.new("RGB", (width, height), (200, 0, 0))
    image.paste((0, 0, 200), (width // 2, 0, width, height))
    return saved(tmp_path, image, name)


@pytest.mark.parametrize(
    ("width", "smallest", "fraction"),
    [
        (990, None, 1),
        (1500, None, 2),
        (4500, None, 8),
        (990, 300, 2),
        (990, 100, 8),
        (4000, 2000, 4),
    ],
)
def test_a_large_jpeg_is_decoded_at_a_fraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, smallest: int | None, fraction: int
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1_000_000)
    image = read_photograph(large(tmp_path, "a.jpg", width, width), smallest)
    assert image.size == (-(-width // fraction),) * 2
    red, blue = image.getpixel((1, 1)), image.getpixel((image.width - 2, 1))
    assert np.abs(np.array([red, blue]) - [(200, 0, 0), (0, 0, 200)]).max() < 4


@pytest.mark.parametrize(("name", "width"), [("a.png", 1100), ("a.webp", 1100), ("a.jpg", 8100)])
def test_more_pixels_than_can_be_decoded_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1_000_000)
    path = large(tmp_path, name, width, width)
    with pytest.raises(UnreadableImageError, match=f"refused: {width:,} x {width:,} pixels"):
        read_photograph(path)


def test_sides_and_files_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8, 0, b"\0", width=65_536))
    with pytest.raises(UnreadableImageError, match="refused: 65,536 x 2 pixels"):
        read_photograph(tmp_path / "a.png")
    path = saved(tmp_path, noise(), "a.png")
    os.truncate(path, MAX_FILE_BYTES + 1)  # zeros after the picture, which take no disk space
    with pytest.raises(UnreadableImageError, match="refused: a file of more than 200 MB"):
        read_photograph(path)


def as_nobody(task: Callable[[], object]) -> None:
    """Do it in a process for which permissions count."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            task()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def open_to_all(folder: Path) -> None:
    """A test's own folder, and pytest's above it."""
    folder.chmod(0o777)
    for above in folder.parents:
        if "pytest-of-" in str(above):
            above.chmod(0o755)


def test_what_may_not_be_read_says_why(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    (tmp_path / "locked").mkdir()
    (tmp_path / "closed").mkdir()
    saved(tmp_path, noise(), "a.png")
    saved(tmp_path, noise(), "b.png").chmod(0)
    saved(tmp_path / "locked", noise(), "c.png")
    saved(tmp_path / "closed", noise(), "d.png")
    (tmp_path / "locked").chmod(0)  # cannot be listed
    (tmp_path / "closed").chmod(0o744)  # can be listed, not entered
    if os.getuid() != 0:
        pytest.skip("only root may change who it is")

    def look() -> None:
        for path in (tmp_path / "b.png", tmp_path / "closed" / "d.png"):
            with pytest.raises(UnreadableImageError, match="Permission denied"):
                read_photograph(path)
        for path in (tmp_path, tmp_path / "locked"):
            with pytest.raises(DataError, match="locked: Permission denied"):
                find_images([path])
        read_photograph(tmp_path / "a.png")
        fingerprint_files([tmp_path / "a.png", tmp_path / "closed" / "d.png"])

    as_nobody(look)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    saved(tmp_path, noise(), "a.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "again", target_is_directory=True)
    assert find_images([tmp_path]) == [tmp_path / "a.png"]
    with pytest.raises(ConfigError, match="no such image or folder"):
        find_images([tmp_path / "again"])


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


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_batches_are_in_order(files: list[Path], size: int) -> None:
    found = list(load_photograph_batches(files, shade, size=size))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    photographs = [photograph for batch in found for photograph in batch]
    assert [photograph.file for photograph in photographs] == files
    assert [photograph.pixels for photograph in photographs] == [0, 1, 2, None, 3, 4, 5, 6]
    assert "not an image of a known kind" in str(photographs[3].error)
    assert list(load_photograph_batches([], shade, size=size)) == []


def test_the_first_ones_get_a_thumbnail(files: list[Path]) -> None:
    (found,) = load_photograph_batches(
        files, shade, size=8, thumbnails=4
    )  # one of which cannot be read
    has_one = [photograph.thumbnail is not None for photograph in found]
    assert has_one == [True, True, True, False, True, False, False, False]
    assert found[0].thumbnail is not None
    with Image.open(io.BytesIO(found[0].thumbnail)) as image:
        assert (image.format, image.size) == ("JPEG", (THUMBNAIL, THUMBNAIL // 2))


@pytest.mark.parametrize(("size", "ahead"), [(2, 4), (100, AHEAD)])
def test_it_reads_only_a_little_ahead(files: list[Path], size: int, ahead: int) -> None:
    begun = []

    def to_input(image: Image.Image) -> int:
        begun.append(shade(image))
        return 0

    stream = load_photograph_batches(files[:3] * 100, to_input, size=size)
    assert len(next(stream)) == size
    assert len(begun) <= size + ahead + 1
    stream.close()


def test_whatever_one_photograph_does_ends_no_batch(files: list[Path]) -> None:
    def to_input(image: Image.Image) -> int:
        if shade(image) == 2:
            raise OverflowError("too many columns")
        return shade(image)

    (found,) = load_photograph_batches(files, to_input, size=8)
    assert found[2].error == "cannot be made an input: too many columns"
    assert [one.pixels for one in found] == [0, 1, None, None, 3, 4, 5, 6]
