"""Photographs classified by ResNet-50, which was trained on ImageNet (ISLP, lab 10.9.4).

Shows the three most probable of 1,000 labels. The notebook: flamingo .61, Lhasa .26, kite .45.
`dlrun classify-images` is the same network, and takes whole folders at once.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50

TOP = 3  # top
WEIGHTS = ResNet50_Weights.DEFAULT
SIDE = 232  # pixels; as in the lab, a photograph becomes a square first (transform.squash)


@torch.no_grad()
def classify(network, path):
    """Return the most probable labels of a photograph, and their probabilities."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = WEIGHTS.transforms()(image)  # cropped, scaled to [0, 1], standardised: (3, 224, 224)
    network.eval()
    probabilities = network(pixels[None])[0].softmax(0)  # of ImageNet's 1,000 classes
    best = probabilities.topk(TOP)
    labels = [WEIGHTS.meta["categories"][index] for index in best.indices]
    return list(zip(labels, best.values.tolist(), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of photographs")
    options = parser.parse_args()

    network = resnet50(weights=WEIGHTS)  # downloaded at the first use
    for path in sorted(options.folder.iterdir()):
        print(path.name)
        for label, probability in classify(network, path):
            print(f"  {label} {probability:.4f}")


if __name__ == "__main__":
    main()
