"""From what is asked for to a valid plan: nothing begins before every point has been checked."""

from collections.abc import Sequence
from typing import Any

from dlrun.config.error_messages import FaultsError
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.yaml_loader import KeyPath, Layer, flatten, merge_layers, read_override
from dlrun.errors import ConfigError, DlrunError
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import check, read_config_layers, validate_config
from dlrun.sweeps.plan import nested
from dlrun.sweeps.search import SearchSpace, Settings, points
from dlrun.system.console import pluralize

FAULTS_SHOWN = 20
POINTS_SHOWN = 5


def plan_points(
    experiment: str, asked: SearchSpace, options: RunSettings, *, here: bool = True
) -> tuple[list[ExperimentConfig], list[Settings]]:
    """The points' valid configs and what of each is its own.

    `here`: it is this machine's devices that they will run on.

    Raises ConfigError: what varies is not said rightly, or every fault of every point.
    """
    base = read_config_layers(experiment, options)
    seed = flatten(base.values).get("seed")
    found = points(asked, seed if isinstance(seed, int) else 0)
    _check_once(found[0], options)
    return _checked(experiment, base, found, options, here=here), found


def distinct(
    configs: Sequence[ExperimentConfig], settings: Sequence[Settings]
) -> tuple[list[ExperimentConfig], list[Settings]]:
    """Return the points without those whose whole config, seed included, an earlier one has."""
    found: dict[str, tuple[ExperimentConfig, Settings]] = {}
    for config, own in zip(configs, settings, strict=True):
        found.setdefault(config.model_dump_json(), (config, own))
    return [config for config, _ in found.values()], [own for _, own in found.values()]


def _check_once(settings: Settings, options: RunSettings) -> None:
    """Raises ConfigError where a key has a value of its own and varies too."""
    for text in options.overrides:
        given = flatten(read_override(text).values)
        for key in settings:
            if key in given or any(one.startswith(f"{key}.") for one in given):
                raise ConfigError(f"--set {text}: {key} varies in this sweep", "leave one out")


def _checked(
    experiment: str, base: Layer, found: Sequence[Settings], options: RunSettings, *, here: bool
) -> list[ExperimentConfig]:
    """Every point's config. Raises ConfigError with all faults, each once with its points."""
    configs: list[ExperimentConfig] = []
    faults: dict[str, list[int]] = {}
    hint = ""
    seen: dict[str, DlrunError | None] = {}
    for number, settings in enumerate(found, start=1):
        try:
            config = validate_config(experiment, merge_layers([base, _layer(settings)]))
            _check_one(experiment, config, options, seen, here=here)
            configs.append(config)
        except DlrunError as error:
            hint = hint or error.hint
            for fault in error.faults if isinstance(error, FaultsError) else [error.message]:
                faults.setdefault(fault, []).append(number)
    if faults:
        raise _all_of(faults, len(found), hint)
    return configs


def _check_one(
    experiment: str,
    config: ExperimentConfig,
    options: RunSettings,
    seen: dict[str, DlrunError | None],
    *,
    here: bool,
) -> None:
    """What a run checks before it has a folder; of configs that differ by the seed once."""
    key = config.model_copy(update={"seed": 0}).model_dump_json()
    if key not in seen:
        seen[key] = None
        try:
            if isinstance(config, NetworkConfig) and config.world != 1:
                raise ConfigError(
                    f"trainer.devices: {config.trainer.devices} on "
                    f"{pluralize(config.trainer.num_nodes, 'node')}: a point is one process",
                    "--set trainer.devices=1; many processes of one run are `dlrun EXPERIMENT`'s",
                )
            check(experiment, config, options, here=here)
        except DlrunError as error:
            seen[key] = error
    if (known := seen[key]) is not None:
        raise known


def _all_of(faults: dict[str, list[int]], total: int, hint: str) -> ConfigError:
    def told(fault: str, numbers: list[int]) -> str:
        if len(numbers) == total:
            return fault
        shown = ", ".join(map(str, numbers[:POINTS_SHOWN]))
        more = ", ..." if len(numbers) > POINTS_SHOWN else ""
        which = f"point{'s' if len(numbers) > 1 else ''} {shown}{more}"
        return f"{fault} ({which} of {total})"

    lines = [told(fault, numbers) for fault, numbers in faults.items()]
    if len(lines) == 1:
        return ConfigError(lines[0], hint)
    left = len(lines) - FAULTS_SHOWN
    rest = [f"and {left} more"] if left > 0 else []
    listed = "\n".join(f"  {line}" for line in [*lines[:FAULTS_SHOWN], *rest])
    return ConfigError(f"{len(lines)} faults in the sweep:\n{listed}", hint)


def _layer(settings: Settings) -> Layer:
    """The settings as a layer; a fault in one names it."""
    origins: dict[KeyPath, str] = {}
    for key, value in settings.items():
        path: tuple[Any, ...] = tuple(key.split("."))
        origins |= {path[:end]: f"{key}={value}" for end in range(1, len(path) + 1)}
    return Layer(nested(settings), origins)
