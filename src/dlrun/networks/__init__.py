"""Load pretrained networks, export networks, and read and write weights files."""

import importlib.util
import re
from pathlib import Path

BUNDLED = "efficientnet-lite0"  # carried by the packages of the extra `offline`
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def classifier_names() -> list[str]:
    """Return the names of torchvision's image classifiers and of the bundled one, without torch."""
    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    names = {
        name
        for folder in folders or ()
        for file in Path(folder, "models").glob("*.py")
        for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))
    }
    return [*sorted(names), BUNDLED]
