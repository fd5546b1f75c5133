"""Read the YAML files that a package ships for an experiment, without importing the experiment.

The first comment of `configs/<name>.yaml` is the command's help; there may be overlays in
`configs/smoke/` and `configs/demo/`.
"""

import importlib.util
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dlrun.config.included_files import config_folders, read_config_file
from dlrun.config.yaml_loader import ConfigLayer, Values, flatten_keys, merge_config_layers
from dlrun.errors import DlrunError


@dataclass(frozen=True)
class ShippedConfig:
    """Represents the YAML files of an experiment in the folder `configs` of its package.

    package: the name of the top-level package that contains the experiment's code.
    """

    name: str
    package: str
    folder: Path

    @classmethod
    def find(cls, name: str, package: str) -> "ShippedConfig":
        """Find the YAML files of an experiment. Raises ImportError or FileNotFoundError."""
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ImportError(f"there is no package {package}")
        package_folder = Path(spec.origin).parent
        for folder in config_folders(package_folder):
            shipped = cls(name, package, folder)
            if shipped.yaml_file.is_file():
                return shipped
        raise FileNotFoundError(f"no {package_folder / 'configs' / f'{name}.yaml'}")

    @property
    def yaml_file(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    @cached_property
    def text(self) -> str:
        return self.yaml_file.read_text(encoding="utf-8")

    @cached_property
    def help(self) -> str:
        """Read the first comment of the YAML file: a description and examples."""
        match = re.match(r"(?:#.*\n)+", self.text)
        comment = re.sub(r"^# ?", "", match.group() if match else "", flags=re.MULTILINE)
        return comment.replace("Examples:\n", "\nExamples:\n")

    @property
    def has_published_numbers(self) -> bool:
        """Look for the section `reference`, which the YAML files of the book's experiments have."""
        # This is faster than parsing.
        return bool(re.search("^reference:", self.text, re.MULTILINE))

    @cached_property
    def layer(self) -> ConfigLayer:
        """Merge the YAML file with its defaults: a value for every key.

        Raises ConfigError as `read_config_file` does.
        """
        return merge_config_layers(read_config_file(self.yaml_file))

    @cached_property
    def values(self) -> Values:
        """Give the value of every key, by dotted keys."""
        return flatten_keys(self.layer.values)

    @property
    def place_in_book(self) -> list[float]:
        """Read the place in ISLP (`reference.place`). An experiment without a place is last."""
        try:
            numbers = self.values.get("reference.place")
        except DlrunError:  # everything that uses the experiment says that its YAML is invalid
            return [math.inf]
        is_valid = isinstance(numbers, list) and all(isinstance(number, int) for number in numbers)
        return numbers if is_valid and numbers else [math.inf]

    def overlays(self, *kinds: str) -> list[Path]:
        """Find the config overlay files of the given kinds (smoke, demo) that exist."""
        files = [self.folder / kind / f"{self.name}.yaml" for kind in kinds]
        return [file for file in files if file.is_file()]

    def changed_values(self, values: Values) -> Values:
        """Find the values of a config, by dotted keys, that differ from the shipped ones.

        A missing key has the shipped value. Published numbers (`reference`) are left out.
        """
        sections = self.layer.values
        differing = {  # most sections are equal, and are not flattened
            key: value
            for key, value in values.items()
            if key != "reference" and not (key in sections and value == sections[key])
        }
        new = flatten_keys(differing)
        shipped = self.values
        changed = [key for key in new if key not in shipped or new[key] != shipped[key]]
        return {key: new[key] for key in shipped | new if key in changed}  # in the shipped order
