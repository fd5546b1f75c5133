"""The lab's pretrained CNN (ISLP 10.9.4), its steps for one photograph after another.

Runs in benchmarks/.venv-lab: lab_images.py PHOTOS WEIGHTS OUT
"""

import json
import sys
import time
from pathlib import Path

import torch
from torchinfo import summary
from torchvision.io import read_image
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.transforms import CenterCrop, Normalize, Resize


def main():
    photos, weights, out = map(Path, sys.argv[1:])
    resize = Resize((232, 232), antialias=True)
    crop = CenterCrop(224)
    normalize = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    model = resnet50(weights=None)
    model.load_state_dict(torch.load(weights))
    columns = ["input_size", "output_size", "num_params"]
    summary(model, input_size=(1, 3, 224, 224), col_names=columns, verbose=0)
    model.eval()
    labels = ResNet50_Weights.DEFAULT.meta["categories"]
    found = {}
    started = time.perf_counter()
    for file in sorted(photos.glob("*.jpg")):
        image = normalize(torch.div(crop(resize(read_image(str(file)))), 255))
        probabilities = model(torch.stack([image])).detach().softmax(-1)[0]
        best = probabilities.topk(3)
        names = [labels[index] for index in best.indices.tolist()]
        found[file.name] = dict(zip(names, best.values.tolist(), strict=True))
    seconds = time.perf_counter() - started
    result = {"seconds": seconds, "images": len(found)}
    (out / "lab.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
