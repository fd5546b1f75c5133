"""List the runs of a sweep that the options --seeds, --grid, --space and --trials define."""

import contextlib
import itertools
import math
import random
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import Values, flatten_keys, format_setting, parse_set_override
from dlrun.errors import ConfigError, UsageError

SEED = "seed"
MAX_POINTS = 10_000  # points; more are a mistake
DIGITS = 4  # significant digits of a drawn number, after those that both ends share
LARGEST = 1e300  # end of a space; sums and differences of two stay finite
GRID_HINT = "as in optimizer.lr=0.001,0.002"
SPACE_HINT = "as in KEY=log:1e-4..1e-2, KEY=lin:0..1, KEY=int:1..9 or KEY=a|b|c"

# How points are taken from the spaces. Only those of tpe depend on results of earlier ones.
Sampler = Literal["random", "grid", "tpe"]
Settings = Values  # dotted keys of the config with their values
_RANGE = re.compile(r"(log|lin|int):(.+)\.\.(.+)")
# Functions in a setting by which Hydra and Guild name several values, and the words to write here.
FUNCTIONS = {
    r"([\w.]+)=loguniform[([](.+)[,:](.+)[)\]]": ("--trials", "20", "--space", r"\1=log:\2..\3"),
    r"([\w.]+)=(?:uniform|interval)[([](.+)[,:](.+)[)\]]": (
        *("--trials", "20", "--space", r"\1=lin:\2..\3"),
    ),
    r"([\w.]+)=choice[([](.+)[)\]]": (r"\1=\2",),
    r"([\w.]+)=(?:range|glob)[([].*[)\]]": (r"\1=A,B",),
}
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class Space(BaseModel, frozen=True):
    """Holds one search space: its config key, and the two ends of a range or the choices."""

    key: str
    kind: Literal["log", "lin", "int", "choice"]
    values: Annotated[list[Any], Field(min_length=1)]

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"{self.key}={'|'.join(map(format_setting, self.values))}"
        return f"{self.key}={self.kind}:{self.values[0]}..{self.values[1]}"

    def quantile(self, share: float) -> object:
        """Return the quantile of the space for a probability from 0 to below 1."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        low, high = self.values
        if self.kind == "int":
            return min(int(low + math.floor(share * (high - low + 1))), high)
        if self.kind == "log":
            return self.rounded(low ** (1 - share) * high**share)
        return self.rounded(low * (1 - share) + high * share)

    def rounded(self, value: float) -> float:
        """Return a number within a range of real numbers with few digits."""
        low, high = self.values
        narrow = max(abs(low), abs(high)) / (high - low)
        digits = DIGITS + int(math.log10(max(1, narrow)))
        return float(min(max(float(f"{value:.{digits}g}"), low), high))

    @property
    def grid(self) -> Sequence[object]:
        """Return all values of the space. Raises ConfigError if there are too many to list."""
        if self.kind == "choice":
            return self.values
        if self.kind != "int" or self.values[1] - self.values[0] >= MAX_POINTS:
            raise ConfigError(
                f"--sampler grid: --space {self}: more values than a grid can have",
                f"list some of them, as in {self.key}=A|B|C",
            )
        return range(self.values[0], self.values[1] + 1)


@dataclass(frozen=True)
class SearchSpace:
    """Holds the options that define a search space: seeds, folds, grid, spaces, and how many draws.

    sampler: how points are taken from the spaces; None: by chance. trials: how many; None: all.
    """

    seeds: str | None = None
    grid: Sequence[str] = ()
    spaces: Sequence[str] = ()
    trials: int | None = None
    space_seed: int | None = None
    sampler: Sampler | None = None
    folds: int | None = None

    def points(self, config_seed: int) -> list[Settings]:
        """Return the settings of each run: all combinations of grid values, draws and seeds.

        Seeds vary fastest, then folds, so that a config's runs finish together. With the sampler
        tpe, whose points depend on results, the settings are those of `settings_at_ends`, to be
        checked. Raises ConfigError for an invalid text.
        """
        spaces = self.parse_spaces()
        axes = [_parse_values("--grid", text, text.partition("=")[2]) for text in self.grid]
        if (repeats := self.repeats) != [{}]:
            axes.append(repeats)
        _check_count(math.prod(map(len, axes)) * (self.trials or 1))
        if self.sampler == "tpe":
            axes = [axis[:1] for axis in axes]
        if drawn := self._draw(spaces, self.draws_seed(config_seed)):
            axes.append(drawn)
        elif self.space_seed is not None:
            raise ConfigError("--space-seed: nothing is drawn", "it is for --space and --trials")
        if not axes:
            hint = "--seeds 5, --folds 5, --grid KEY=A,B, --trials N --space KEY=..."
            raise ConfigError("nothing varies", hint)
        keys = [space.key for space in spaces]
        keys += [key for axis in axes if axis is not drawn for key in axis[0]]
        for key in keys:
            if sum(f"{other}.".startswith(f"{key}.") for other in keys) > 1:
                raise ConfigError(f"{key}: varied twice", "give it once, with all its values")
        _check_count(math.prod(map(len, axes)))
        axes.sort(key=lambda axis: axis is repeats)
        return [
            {key: value for part in parts for key, value in part.items()}
            for parts in itertools.product(*axes)
        ]

    @property
    def repeats(self) -> list[Settings]:
        """Return the fold and seed of each run of a config; one empty mapping without any."""
        folds = [{FOLD: fold} for fold in range(1, (self.folds or 0) + 1)] or [{}]
        seeds: list[Settings] = [{}]
        if self.seeds is not None:
            seeds = [{SEED: seed} for seed in parse_seeds(self.seeds)]
        return [fold | seed for fold in folds for seed in seeds]

    def parse_spaces(self) -> list[Space]:
        """Return the search spaces. Raises ConfigError if they and other options do not fit."""
        spaces = [_parse_space(text) for text in self.spaces]
        example = "as in --trials 20 --space optimizer.lr=log:1e-4..1e-2"
        if spaces and self.trials is None and self.sampler != "grid":
            raise ConfigError("--space belongs with --trials (or --sampler grid)", example)
        if not spaces and (self.trials is not None or self.sampler is not None):
            options = {"--trials": self.trials, "--sampler": self.sampler}
            given = " and ".join(name for name, value in options.items() if value is not None)
            hint = f"{example}; KEY=A,B and --grid run every value"
            raise ConfigError(f"{given} without --space: nothing to take points from", hint)
        if self.sampler == "tpe" and self.grid:
            raise ConfigError("--grid: not with --sampler tpe", "write --space KEY=A|B")
        return spaces

    def draws_seed(self, config_seed: int) -> int:
        """Return the seed of the draws, which is by default the config's."""
        return config_seed if self.space_seed is None else self.space_seed

    def _draw(self, spaces: Sequence[Space], seed: int) -> list[Settings]:
        """Return the settings that the sampler takes from the spaces.

        A random draw depends only on the seed, its key and its number: more draws, or another
        space, change no other.
        """
        if not spaces:
            return []
        if self.sampler == "tpe":
            return settings_at_ends(spaces)
        if self.sampler == "grid":
            count = math.prod(len(space.grid) for space in spaces)
            _check_count(count)
            places: Sequence[int] = range(count)
            if self.trials is not None:
                places = random.Random(seed).sample(places, min(self.trials, count))
            keys = [space.key for space in spaces]
            values = [*itertools.product(*(space.grid for space in spaces))]
            return [dict(zip(keys, values[place], strict=True)) for place in sorted(places)]
        sources = [random.Random(f"{seed} {space.key}") for space in spaces]
        return [
            {
                space.key: space.quantile(source.random())
                for space, source in zip(spaces, sources, strict=True)
            }
            for _ in range(self.trials or 0)
        ]


def _check_count(count: int) -> None:
    """Raise ConfigError if there are too many points."""
    if count > MAX_POINTS:
        problem = f"{count:,} points: more than {MAX_POINTS:,}"
        raise ConfigError(problem, "fewer values, trials or seeds")


def settings_at_ends(spaces: Sequence[Space]) -> list[Settings]:
    """Return settings for each end of each range and for each choice, the others at their first."""
    first = {space.key: space.values[0] for space in spaces}
    return [first | {space.key: value} for space in spaces for value in space.values]


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
        if _without_function(word) != [word]:
            problem = f"{word}: a value cannot be a function here"
            raise UsageError(problem, sweep_command(experiment, words))


def sweep_command(experiment: str, words: Sequence[str]) -> str:
    """Return the command of a sweep with these words, in which functions are spelled as here."""
    spelled = itertools.chain.from_iterable(map(_without_function, words))
    return shlex.join(["dlrun", "sweep", experiment, *spelled])


def _without_function(word: str) -> list[str]:
    """Return words that do what a function of Hydra or Guild does; others are returned as given."""
    for pattern, meant in FUNCTIONS.items():
        if match := re.fullmatch(pattern, word):
            return [match.expand(text).replace(" ", "") for text in meant]
    return [word]


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as `0-4` or `0,3,7`; `5` means 0 to 4. Raises ConfigError if invalid."""
    if text.strip() == "0":
        raise ConfigError("--seeds 0: no seeds", "--seeds 5: 0 to 4; --seeds 0,: only 0")
    seeds: list[int] = []
    is_number = text.strip().isdecimal() and len(text) <= 10
    ranges = f"0-{int(text) - 1}" if is_number else text.rstrip(",")
    for part in ranges.split(","):
        match = _SEEDS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        hint = "as in 5 (seeds 0 to 4), 0-4, or 0,3,7"
        if last - first >= MAX_POINTS:
            raise ConfigError(f"--seeds {text}: more than {MAX_POINTS:,} seeds", hint)
        if last < first:
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


def _expected_ends(kind: str, values: Sequence[Any]) -> str:
    """Return which two ends a range must have, or an empty text if it has such."""
    types = (int,) if kind == "int" else (int, float)
    valid = len(values) == 2 and all(type(one) in types and abs(one) <= LARGEST for one in values)
    if valid and values[0] < values[1] and (kind != "log" or values[0] > 0):
        return ""
    wanted = {"int": "two whole numbers", "log": "two numbers above 0", "lin": "two numbers"}
    return f"expected {wanted[kind]}, the smaller first"


def _parse_space(text: str) -> Space:
    """Parse a search space, such as `optimizer.lr=log:1e-4..1e-2` or `batch_size=50|100`."""
    spec = text.partition("=")[2].strip()
    match = _RANGE.fullmatch(spec)
    if match is None and "|" not in spec:
        raise ConfigError(f"--space {text}: not a space", SPACE_HINT)
    listed = f"{match[2]},{match[3]}" if match else spec.replace("|", ",")
    settings = _parse_values("--space", text, listed)
    (key,), values = settings[0], [value for one in settings for value in one.values()]
    if match is None:
        return Space(key=key, kind="choice", values=values)
    if expected := _expected_ends(match[1], values):
        raise ConfigError(f"--space {text}: {expected}", SPACE_HINT)
    if match[1] == "int":
        return Space(key=key, kind="int", values=values)
    return Space(key=key, kind="log" if match[1] == "log" else "lin", values=[*map(float, values)])
