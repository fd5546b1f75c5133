"""List the runs of a sweep, which --seeds, --folds, --space, --trials and KEY=A,B define."""

import contextlib
import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import Values, flatten_keys, format_setting, parse_set_override
from dlrun.errors import ConfigError

SEED = "seed"
MAX_POINTS = 10_000  # points; more are a mistake
DIGITS = 4  # significant digits of a drawn number
SPACE_HINT = "as in KEY=log:1e-4..1e-2, KEY=lin:0..1, KEY=int:1..9 or KEY=a|b|c"

# How points are taken from the spaces. Those of tpe depend on results of earlier ones.
Sampler = Literal["random", "tpe"]
Settings = Values  # dotted keys of the config with their values
_RANGE = re.compile(r"(log|lin|int):(.+)\.\.(.+)")
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class Space(BaseModel, frozen=True):
    """Holds the search space of one config key: the two ends of a range, or the choices."""

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
        return float(min(max(float(f"{value:.{DIGITS}g}"), low), high))


@dataclass(frozen=True)
class SearchSpace:
    """Holds the options that define a search space: seeds, folds, lists of values, and spaces.

    grid: texts KEY=A,B. sampler: how `trials` points are taken from the spaces; None: by chance.
    """

    seeds: str | None = None
    grid: Sequence[str] = ()
    spaces: Sequence[str] = ()
    trials: int | None = None
    sampler: Sampler | None = None
    folds: int | None = None

    def points(self, seed: int) -> list[Settings]:
        """Return the settings of each run: all combinations of listed values, draws and seeds.

        `seed` is that of the draws. Seeds vary fastest, then folds, so that a config's runs finish
        together. With the sampler tpe, whose points depend on results, the settings are those of
        `settings_at_ends`, to be checked. Raises ConfigError for an invalid text.
        """
        spaces = self.parse_spaces()
        axes = [_parse_values(text) for text in self.grid]  # the values of each key
        repeats = self.repeats
        keys = [space.key for space in spaces]
        keys += [key for axis in [*axes, repeats] for key in axis[0]]
        if not keys:
            raise ConfigError("nothing varies", "--seeds 5, --folds 5, KEY=A,B, --space KEY=...")
        for key in keys:
            if sum(f"{other}.".startswith(f"{key}.") for other in keys) > 1:
                raise ConfigError(f"{key}: varied twice", "give it once, with all its values")
        count = math.prod(map(len, [*axes, repeats])) * (self.trials or 1)
        if count > MAX_POINTS:
            problem = f"{count:,} points: more than {MAX_POINTS:,}"
            raise ConfigError(problem, "fewer values, trials or seeds")
        if self.sampler == "tpe":
            drawn = settings_at_ends(spaces)
            repeats = repeats[:1]
        else:
            drawn = self._draw(spaces, seed)
        return [
            {key: value for values in combination for key, value in values.items()}
            for combination in itertools.product(*axes, drawn, repeats)
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
        if bool(spaces) != (self.trials is not None) or (self.sampler and not spaces):
            example = "as in --trials 20 --space optimizer.lr=log:1e-4..1e-2; KEY=A,B needs none"
            raise ConfigError("--space, --trials, --sampler: they belong together", example)
        if self.sampler == "tpe" and self.grid:
            raise ConfigError(f"{self.grid[0]}: not with --sampler tpe", "write --space KEY=A|B")
        return spaces

    def _draw(self, spaces: Sequence[Space], seed: int) -> list[Settings]:
        """Return random settings from the spaces; one empty mapping without trials.

        A draw depends only on the seed, its key and its number: more draws, or another space,
        change no other.
        """
        sources = [random.Random(f"{seed} {space.key}") for space in spaces]
        return [
            {
                space.key: space.quantile(source.random())
                for space, source in zip(spaces, sources, strict=True)
            }
            for _ in range(self.trials or 1)
        ]


def settings_at_ends(spaces: Sequence[Space]) -> list[Settings]:
    """Return settings that test each end of each search space, the other spaces at their first."""
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
            values = _parse_values(text)
        (several if len(values) > 1 else single).append(text)
    return single, several


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as `0-4` or `0,3,7`; `5` means 0 to 4. Raises ConfigError if invalid."""
    if text.strip() == "0":
        raise ConfigError("--seeds 0: no seeds", "--seeds 5: 0 to 4; --seeds 0,: only 0")
    seeds: list[int] = []
    is_number = text.strip().isdecimal() and len(text) <= 10
    ranges = f"0-{int(text) - 1}" if is_number else text.rstrip(",")
    hint = "as in 5 (seeds 0 to 4), 0-4, or 0,3,7"
    for word in ranges.split(","):
        match = _SEEDS.fullmatch(word.strip())
        seeds_of_word = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not seeds_of_word:
            raise ConfigError(f"--seeds {text}: {word!r} is not a seed", hint)
        if len(seeds) + len(seeds_of_word) > MAX_POINTS:
            raise ConfigError(f"--seeds {text}: more than {MAX_POINTS:,} seeds", hint)
        seeds += seeds_of_word
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: a seed is given twice", "give each once")
    return seeds


def format_seeds(seeds: Sequence[int]) -> str:
    """Return distinct seeds as text that `--seeds` accepts, such as `0-4` or `0,3,7`."""
    first, last = min(seeds), max(seeds)
    if last - first == len(seeds) - 1 > 0:
        return f"{first}-{last}"
    return ",".join(map(str, sorted(seeds))) + ("," if len(seeds) == 1 else "")


def _parse_values(text: str) -> list[Settings]:
    """Parse the values of KEY=VALUES as YAML: `A,B`, or two lists `[16],[32]`."""
    key, _, values = text.partition("=")
    ((key, parsed),) = flatten_keys(parse_set_override(f"{key}=[{values}]").values).items()
    return [{key: value} for value in parsed]


def _parse_space(text: str) -> Space:
    """Parse a search space, such as `optimizer.lr=log:1e-4..1e-2` or `batch_size=50|100`."""
    key, _, spec = text.partition("=")
    match = _RANGE.fullmatch(spec.strip())
    listed = f"{match[2]},{match[3]}" if match else spec.replace("|", ",")
    settings: list[Settings] = []
    if match or "|" in spec:
        with contextlib.suppress(ConfigError):
            settings = _parse_values(f"{key}={listed}")
    if not settings:
        raise ConfigError(f"--space {text}: not a space", SPACE_HINT)
    (key,) = settings[0]
    values = [setting[key] for setting in settings]
    if match is None:
        return Space(key=key, kind="choice", values=values)
    kind = match[1]
    types = (int,) if kind == "int" else (int, float)
    valid = len(values) == 2 and all(type(end) in types and math.isfinite(end) for end in values)
    if not valid or values[0] >= values[1] or (kind == "log" and values[0] <= 0):
        wanted = {"int": "two whole numbers", "log": "two numbers above 0", "lin": "two numbers"}
        problem = f"--space {text}: expected {wanted[kind]}, the smaller first"
        raise ConfigError(problem, SPACE_HINT)
    ends = values if kind == "int" else [*map(float, values)]
    return Space.model_validate({"key": key, "kind": kind, "values": ends})
