"""List the runs of a sweep that the options --seeds, --grid, --random and --space define."""

import contextlib
import itertools
import math
import random
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dlrun.config.yaml_loader import flatten_keys, parse_set_override
from dlrun.errors import ConfigError, UsageError

SEED = "seed"
MAX_POINTS = 10_000  # points; more are a mistake
DIGITS = 4  # significant digits of a drawn number, after those that both ends share
LARGEST = 1e300  # end of a space; sums and differences of two stay finite
GRID_HINT = "as in optimizer.lr=0.001,0.002"
SPACE_HINT = "as in KEY=log:1e-4..1e-2, KEY=lin:0..1, KEY=int:1..9 or KEY=a|b|c"

Settings = dict[str, Any]  # dotted keys of the config with their values
_RANGE = re.compile(r"(log|lin|int):(.+)\.\.(.+)")
# Functions in a setting by which other programs name several values: range(1,4), loguniform[1:2].
_FUNCTION = re.compile(
    r"([\w.]+)=(choice|range|glob|interval|uniform|loguniform)([(\[])(.*)[)\]]", re.DOTALL
)
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
_INTEGER = re.compile(r"-?\d{1,10}")


@dataclass(frozen=True)
class SearchSpace:
    """Holds the options that define a search space: seeds, grid, spaces, and how many draws."""

    seeds: str | None = None
    grid: Sequence[str] = ()
    spaces: Sequence[str] = ()
    draws: int | None = None
    space_seed: int | None = None

    def points(self, config_seed: int) -> list[Settings]:
        """Return the settings of each run: all combinations of grid values, random draws and seeds.

        Seeds vary fastest, so that a config's runs finish together. Raises ConfigError for an
        invalid text.
        """
        axes = [_parse_values("--grid", text, text.partition("=")[2]) for text in self.grid]
        if self.seeds is not None:
            axes.append([{SEED: seed} for seed in parse_seeds(self.seeds)])
        total = math.prod(map(len, axes)) * (self.draws or 1)
        if total > MAX_POINTS:
            raise ConfigError(
                f"{total:,} points: more than {MAX_POINTS:,}", "fewer values, draws or seeds"
            )
        seed = config_seed if self.space_seed is None else self.space_seed
        if drawn := _draw(self.spaces, self.draws, seed):
            axes.append(drawn)
        elif self.space_seed is not None:
            raise ConfigError("--space-seed: nothing is drawn", "it is for --random and --space")
        if not axes:
            hint = "--seeds 5, --grid KEY=A,B, --random N --space KEY=..."
            raise ConfigError("nothing varies", hint)
        keys = [key for axis in axes for key in axis[0]]
        for key in keys:
            if sum(f"{other}.".startswith(f"{key}.") for other in keys) > 1:
                raise ConfigError(f"{key}: varied twice", "give it once, with all its values")
        axes.sort(key=lambda axis: SEED in axis[0])
        return [
            {key: value for part in parts for key, value in part.items()}
            for parts in itertools.product(*axes)
        ]


def divide_settings(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide settings KEY=VALUE into those with one value, and those with several: KEY=A,B.

    A text that is not valid counts as one value, so that the error is that of `--set`.
    """
    single: list[str] = []
    several: list[str] = []
    for text in texts:
        values: list[Settings] = []
        with contextlib.suppress(ConfigError):
            values = _parse_values("", text, text.partition("=")[2])
        (several if len(values) > 1 else single).append(text)
    return single, several


def refuse_functions(experiment: str, words: Sequence[str]) -> None:
    """Raise UsageError if a setting has a function of Hydra or Guild, such as `range(1,4)`."""
    for word in words:
        if _FUNCTION.fullmatch(word):
            problem = f"{word}: a value cannot be a function here"
            raise UsageError(problem, sweep_command(experiment, words))


def sweep_command(experiment: str, words: Sequence[str]) -> str:
    """Return the command of a sweep with these words, in which functions are spelled as here."""
    spelled = (one for word in words for one in _without_function(word))
    return shlex.join(["dlrun", "sweep", experiment, *spelled])


def _without_function(word: str) -> list[str]:
    """Return words that do what a function of Hydra or Guild does; others are returned as given."""
    match = _FUNCTION.fullmatch(word)
    if match is None:
        return [word]
    key, function, bracket, inside = match.groups()
    numbers = [one.strip() for one in re.split("[,:]", inside)]
    if "uniform" in function or function == "interval":
        kind = "log" if function == "loguniform" else "lin"
        return ["--random", "20", "--space", f"{key}={kind}:{'..'.join(numbers[:2])}"]
    if function == "choice":
        return [f"{key}={inside}"]
    if function == "range" and len(numbers) <= 3 and all(map(_INTEGER.fullmatch, numbers)):
        ends = [int(one) for one in numbers]
        if bracket == "[":  # of Guild, with the last number
            ends[1:2] = [one + 1 for one in ends[1:2]]
        if 0 not in ends[2:] and 1 < len(values := range(*ends)) <= MAX_POINTS:
            return [f"{key}={','.join(map(str, values))}"]
    return [f"{key}=A,B"]


def parse_seeds(text: str) -> Sequence[int]:
    """Parse seeds such as `0-4` or `0,3,7`; `5` means 0 to 4. Raises ConfigError if invalid."""
    if text.strip() == "0":
        raise ConfigError("--seeds 0: no seeds", "--seeds 5: 0 to 4; --seeds 0,: only 0")
    seeds: list[int] = []
    is_number = text.strip().isdecimal() and len(text) < 6
    ranges = f"0-{int(text) - 1}" if is_number else text.rstrip(",")
    for part in ranges.split(","):
        match = _SEEDS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last - first >= MAX_POINTS:
            hint = "as in 5 (seeds 0 to 4), 0-4, or 0,3,7"
            raise ConfigError(f"--seeds {text}: {part!r} is not a seed", hint)
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: a seed is given twice", "give each once")
    return seeds


def format_seeds(seeds: Sequence[int]) -> str:
    """Return distinct seeds as text that `--seeds` accepts, such as `0-4` or `0,3,7`."""
    first, last = min(seeds), max(seeds)
    if last - first == len(seeds) - 1 > 0:
        return f"{first}-{last}"
    return ",".join(map(str, sorted(seeds))) + ("," if len(seeds) == 1 else "")


def _parse_values(option: str, text: str, values: str) -> list[Settings]:
    """Parse the values of KEY=VALUES as YAML: `A,B`, or two lists `[16],[32]`."""
    key, equals, _ = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text}: expected KEY=VALUES", GRID_HINT)
    try:
        ((key, found),) = flatten_keys(parse_set_override(f"{key}=[{values}]").values).items()
    except ConfigError as error:
        raise ConfigError(f"{option} {text}: {error.message.rpartition(': ')[2]}") from None
    if not found:
        raise ConfigError(f"{option} {text}: no value", GRID_HINT)
    if option == "--grid" and any(value in found[:place] for place, value in enumerate(found)):
        raise ConfigError(f"{option} {text}: a value is given twice", "--seeds repeats runs")
    return [{key: value} for value in found]


def _draw(spaces: Sequence[str], draws: int | None, seed: int) -> list[Settings]:
    """Draw random settings from the search spaces.

    A draw depends only on the seed, its key and its number: more draws, or another space, change no
    other.
    """
    if (draws is None) != (not spaces):
        raise ConfigError(
            "--random and --space belong together",
            "as in --random 20 --space optimizer.lr=log:1e-4..1e-2",
        )
    drawn: list[Settings] = [{} for _ in range(draws or 0)]
    for text in spaces:
        key, quantile = _parse_space(text)
        if key in drawn[0]:
            raise ConfigError(f"{key}: varied twice", "give it once")
        random_ = random.Random(f"{seed} {key}")
        for settings in drawn:
            settings[key] = quantile(random_.random())
    return drawn


def _parse_space(text: str) -> tuple[str, Callable[[float], object]]:
    """Parse a search space: its key, and its quantiles by a probability from 0 to below 1."""
    spec = text.partition("=")[2].strip()
    match = _RANGE.fullmatch(spec)
    if match is None and "|" not in spec:
        raise ConfigError(f"--space {text}: not a space", SPACE_HINT)
    listed = f"{match[2]},{match[3]}" if match else spec.replace("|", ",")
    settings = _parse_values("--space", text, listed)
    (key,), values = settings[0], [value for one in settings for value in one.values()]
    if match is None:
        return key, lambda share: values[int(share * len(values))]
    types = (int,) if match[1] == "int" else (int, float)
    valid = len(values) == 2 and all(type(one) in types and abs(one) <= LARGEST for one in values)
    if not valid or not values[0] < values[1] or (match[1] == "log" and values[0] <= 0):
        wanted = {"int": "two whole numbers", "log": "two numbers above 0", "lin": "two numbers"}
        expected = f"expected {wanted[match[1]]}, the smaller first"
        raise ConfigError(f"--space {text}: {expected}", SPACE_HINT)
    return key, partial(_quantile, match[1], *values)


def _quantile(kind: str, low: float, high: float, share: float) -> float:
    """Return the quantile of a range of numbers (int, lin or log) for a probability."""
    if kind == "int":
        return min(int(low + math.floor(share * (high - low + 1))), high)
    value = low ** (1 - share) * high**share if kind == "log" else low * (1 - share) + high * share
    narrow = max(abs(low), abs(high)) / (high - low)
    digits = DIGITS + int(math.log10(max(1, narrow)))
    return float(min(max(float(f"{value:.{digits}g}"), low), high))
