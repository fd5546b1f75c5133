"""What the cases need: the lab's arrays, photographs, weights, smaller archives.

measure.prepare runs each step in a process of its own. A step whose result is there does nothing.
"""

import argparse
import gzip
import io
import json
import random
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlrun.data.labelled_texts import Reviews
    from dlrun.data.splits import RowIndices
    from dlrun.experiments.experiment import C, Experiment


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its name at the end."""
    temporary = target.with_name(f".{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    temporary.rename(target)


def _config(experiment: "Experiment[C]", values: dict[str, Any]) -> "C":
    """The config of an experiment with other values of the benchmarks."""
    from dlrun.config.yaml_loader import config_layer_from_values
    from dlrun.experiments.checks import load_experiment_config
    from dlrun.runs.options import RunOptions

    layer = config_layer_from_values(values, "benchmarks/prepare.py")
    return load_experiment_config(experiment, RunOptions(values=[layer]))


def _reviews(
    args: argparse.Namespace,
) -> "tuple[Reviews, tuple[RowIndices, RowIndices], int]":
    """dlrun's prepared reviews, and the indices of the training and the validation reviews."""
    from dlrun.data import dataset_catalog
    from dlrun.data.splits import split_off_validation
    from dlrun.experiments.reviews import IMDB_LSTM
    from dlrun.system.console import Screen

    values = {"archive": args.archive and str(args.archive), "validation": args.validation}
    config = _config(IMDB_LSTM, {"data": values})
    reviews = dataset_catalog.IMDB.load(config.data, args.data, config.split_seed, Screen())
    labels = reviews.train.labels, reviews.test.labels
    return (
        reviews,
        split_off_validation(config.data.validation, *labels, config.split_seed, Screen()),
        config.data.max_length,
    )


def arrays(args: argparse.Namespace) -> None:
    """For the lab: dense float bags and int32 sequences as .npy, CSR for liblinear as .npz."""
    reviews, (fitted, held), length = _reviews(args)  # first: no timed run prepares dlrun's own
    if args.to.exists():
        return
    import numpy as np
    from scipy import sparse

    with _whole(args.to) as folder:
        for name, split in (("train", reviews.train), ("test", reviews.test)):
            dense = np.lib.format.open_memmap(
                folder / f"x_{name}.npy", "w+", np.float32, split.bags.shape
            )
            for start in range(0, len(dense), 1000):
                dense[start : start + 1000] = split.bags[start : start + 1000].toarray()
            dense.flush()
            np.save(folder / f"s_{name}.npy", split.ids.padded(length))
            np.save(folder / f"y_{name}.npy", split.labels.astype(np.float32))
            sparse.save_npz(folder / f"csr_{name}.npz", split.bags, compressed=False)
        np.save(folder / "fitted.npy", fitted)
        np.save(folder / "held.npy", held)


def images(args: argparse.Namespace) -> None:
    """`count` images for training as .npy, as many as dlrun generates, and its split of them."""
    if args.to.exists():
        return
    import numpy as np

    from dlrun.data.dataset_catalog import CIFAR100
    from dlrun.data.splits import split_off_validation
    from dlrun.experiments.cifar import CIFAR100_CNN
    from dlrun.system.console import Screen

    config = _config(CIFAR100_CNN, {"data": {"source": "sample", "sample_images": args.count}})
    found = CIFAR100.load(config.data, args.to, config.split_seed, Screen())
    fitted, held = split_off_validation(
        config.data.validation, found.train, found.test, config.split_seed, Screen()
    )
    with _whole(args.to) as folder:
        for name, part in (("train", found.train), ("test", found.test)):
            np.save(folder / f"x_{name}.npy", part.pixels)
            np.save(folder / f"y_{name}.npy", part.labels)
        np.save(folder / "fitted.npy", fitted)
        np.save(folder / "held.npy", held)


def _texts(archive: Path) -> dict[tuple[str, str], list[bytes]]:
    """The real reviews by part (train, test) and label (neg, pos), in random order."""
    texts: dict[tuple[str, str], list[bytes]] = {}
    with tarfile.open(archive) as source:
        for member in source:
            match = re.fullmatch(
                r"(?:\./)?aclImdb/(train|test)/(pos|neg)/\d+_\d+\.txt", member.name
            )
            file = source.extractfile(member) if match else None
            if match and file:
                texts.setdefault((match[1], match[2]), []).append(file.read())
    for _, group in sorted(texts.items()):
        random.Random(0).shuffle(group)
    return texts


def archive(args: argparse.Namespace) -> None:
    """An archive of a random part of the real reviews: `reviews` training reviews, half of them
    positive, and as many test reviews.
    """
    if args.to.exists():
        return
    texts = _texts(args.archive)
    args.to.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.to.with_name(f".{args.to.name}")
    with tarfile.open(temporary, "w:gz", compresslevel=1) as target:
        for (part, label), group in sorted(texts.items()):
            for index, text in enumerate(group[: args.reviews // 2]):
                member = tarfile.TarInfo(f"aclImdb/{part}/{label}/{index}_5.txt")
                member.size = len(text)
                target.addfile(member, io.BytesIO(text))
    temporary.rename(args.to)


def digits(args: argparse.Namespace) -> None:
    """MNIST's files, unpacked where torchvision looks for them."""
    if args.to.exists():
        return
    with _whole(args.to) as folder:
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file in args.archive.glob("*.gz"):
            (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))


def photos(args: argparse.Namespace) -> None:
    """`count` JPEG photographs, from 2 to 24 megapixels in even steps, in random order."""
    if args.to.exists():
        return
    from PIL import Image

    sources = sorted(args.images.glob("*.jpg"))
    steps = [2e6 + 22e6 * index / max(args.count - 1, 1) for index in range(args.count)]
    order = random.Random(0).sample(range(args.count), args.count)  # any first ones: a fair mix
    with _whole(args.to) as folder:
        for source in sources:
            with Image.open(source) as opened:
                image = opened.convert("RGB")
            for index in range(args.count):
                if sources[index % len(sources)] != source:
                    continue
                scale = (steps[index] / (image.width * image.height)) ** 0.5
                size = (round(image.width * scale), round(image.height * scale))
                resized = image.resize(size, Image.Resampling.BICUBIC)
                resized.save(folder / f"{order[index]:05d}.jpg", quality=90)


def weights(args: argparse.Namespace) -> None:
    """A state dict of resnet50 with random weights; the network's speed does not depend on them."""
    if args.to.exists():
        return
    import torch
    from torchvision.models import resnet50

    torch.manual_seed(0)
    args.to.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.to.with_name(f".{args.to.name}")
    torch.save(resnet50(weights=None).state_dict(), temporary)
    temporary.rename(args.to)


STEPS = (arrays, archive, digits, images, photos, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=[step.__name__ for step in STEPS])
    for folder in ("to", "archive", "data", "images"):
        parser.add_argument(f"--{folder}", type=Path)
    for number in ("validation", "reviews", "count"):
        parser.add_argument(f"--{number}", type=int)
    args = parser.parse_args()
    (step,) = (step for step in STEPS if step.__name__ == args.step)
    print(json.dumps(step(args)))


if __name__ == "__main__":
    main()
