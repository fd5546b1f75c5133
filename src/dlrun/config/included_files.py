"""Read a config file with the files that its key `defaults` names, whose values it overrides.

An item is the name of a file in `configs/defaults/` or `configs/` of dlrun, such as `network`, or
the path of a file, from the folder of the file that names it, such as `ours.yaml`.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from dlrun.config.yaml_loader import ConfigLayer, read_yaml_file
from dlrun.errors import ConfigError
from dlrun.system.spelling import did_you_mean

DEFAULTS = "defaults"  # so are named the key, and the folder of dlrun's shared configs


def config_folders(package: Path) -> tuple[Path, Path]:
    """An installed package has its configs in the first folder, a checkout in the second."""
    return package / "configs", package.parent.parent / "configs"


@functools.cache
def _shipped_files() -> dict[str, Path]:
    """The files that experiments share come first."""
    folders = config_folders(Path(__file__).parents[1])
    shared = (file for folder in folders for file in sorted((folder / DEFAULTS).glob("*.yaml")))
    own = (file for folder in folders for file in sorted(folder.glob("*.yaml")))
    return {file.stem: file for file in (*shared, *own)}


# Merging layers copies their values, so nobody changes those of a file that is read once.
_read_shipped = functools.cache(lambda file: tuple(read_config_file(file)))


def read_config_file(path: Path, naming: tuple[Path, ...] = ()) -> list[ConfigLayer]:
    """Read a config file and the files that its key `defaults` names; later values win.

    naming: the files that led to this one. Raises ConfigError, which names the file and the line.
    """
    own = read_yaml_file(path)
    naming = (*naming, path.resolve())
    names = own.values.get(DEFAULTS, [])
    layers: list[ConfigLayer] = []
    if not isinstance(names, list):
        where = own.origins[DEFAULTS,]
        raise ConfigError(f"{where}: {DEFAULTS}: expected a list of names, got {names!r}")
    for place, name in enumerate(names):
        layers += _read_named(name, f"{own.origins[DEFAULTS, place]}: {DEFAULTS}", naming)
    values = {key: own.values[key] for key in own.values if key != DEFAULTS}
    return [*layers, ConfigLayer(values, own.origins)]


def _read_named(name: object, where: str, naming: tuple[Path, ...]) -> Sequence[ConfigLayer]:
    """Read an item of `defaults`; an error names the place `where` the item stands."""
    shipped = _shipped_files()
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        file = (naming[-1].parent / text).resolve()
        if file in naming:
            raise ConfigError(f"{where}: {text} leads back to itself")
        if not file.exists():
            raise ConfigError(f"{where}: no file {text} in {naming[-1].parent}")
        return read_config_file(file, naming)
    if text not in shipped:
        known = ", ".join(shipped)
        problem = f"{where}: no config {name!r}{did_you_mean(text, shipped)}"
        raise ConfigError(f"{problem}; expected the path of a YAML file, or one of {known}")
    return _read_shipped(shipped[text])
