"""Photographs in batches, each a step: attempts on devices."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from dlrun.data.images import (
    Photograph,
    pack_predictions,
    prediction_table_rows,
    unpack_predictions,
)
from dlrun.experiments.classify_images.inference import classify_photographs
from dlrun.networks.pretrained import PretrainedNetwork
from dlrun.runs.start import RunSettings, load_config
from tests.experiments.use import reader


class FailsOnce(torch.nn.Module):
    """Knows red from blue; its third batch fails, once, as a lost device does."""

    calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("CUDA error: the device was lost")
        return inputs.mean((2, 3))


def test_another_attempt_begins_with_the_first_photograph(tmp_path: Path) -> None:
    files = []
    for number in range(9):
        colour = (255, 0, 0) if number % 2 else (0, 0, 255)
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (40, 30), colour).save(files[-1])
    context = reader(tmp_path / "run")
    model = PretrainedNetwork(
        FailsOnce(),
        ImageClassification(crop_size=8, resize_size=8),
        ["red", "green", "blue"],
        "a network",
    )
    settings = ["batch_size=2", "top=1", "transform.scaled_decoding=false"]
    config: Any = load_config("classify-images", RunSettings(overrides=settings))

    def classify() -> list[Photograph]:
        return classify_photographs(config, context, files, model, "cpu", thumbnails=3)

    with pytest.raises(RuntimeError, match="lost"):
        classify()
    assert len(context.steps.rows) == 2
    assert (context.folder.path / "checkpoint").exists()
    found = classify()
    assert [one.file for one in found] == files
    assert [one.labels[0][0] for one in found] == ["blue", "red"] * 4 + ["blue"]
    assert [one.thumbnail is not None for one in found] == [True] * 3 + [False] * 6
    assert [row["images"] for row in context.steps.rows] == [2, 4, 6, 8, 9]
    with (context.folder.path / "predictions.csv").open(newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == [str(file) for file in files]


def test_a_batch_comes_back_to_the_bit() -> None:
    files = [Path("a.png"), Path("b\udcff.png")]
    batch = [
        Photograph(files[0], labels=[("x", 0.1 + 0.2), ("y", 1e-45)], thumbnail=b"\xff\xd8"),
        Photograph(files[1], error="damaged: \N{PILE OF POO} \udcff"),
    ]
    assert unpack_predictions(pack_predictions(batch), files) == batch
    assert len(prediction_table_rows(batch)) == 3
    with pytest.raises(ValueError, match="zip"):
        unpack_predictions(pack_predictions(batch), files[:1])
