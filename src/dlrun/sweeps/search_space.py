"""List the points of a sweep, one per planned run, from --seeds, --space, KEY=A,B and others."""

import contextlib
import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dlrun.config.data_sections import FOLD
from dlrun.config.sections import PositiveInt
from dlrun.config.yaml_loader import Values, flatten_keys, parse_set_override
from dlrun.errors import ConfigError

SEED = "seed"
MAX_POINTS = 10_000  # points; more are a mistake
DIGITS = 4  # significant digits of a drawn number
SPACE_HINT = "as in KEY=log:1e-4..1e-2, KEY=lin:0..1, KEY=int:1..9 or KEY=a|b|c"
SEEDS_HINT = "as in 5 (seeds 0 to 4), 0-4, or 0,3,7"
ENDS = {"int": "two whole numbers", "log": "two numbers above 0", "lin": "two numbers"}

# How points are taken from the spaces. Those of tpe depend on results of earlier ones.
Sampler = Literal["random", "tpe"]
Settings = Values  # dotted keys of the config with their values
_RANGE = re.compile(r"(log|lin|int):(.+)\.\.(.+)")
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class KeySearchSpace(BaseModel, frozen=True):
    """Holds the search space of one config key: the two ends of a range, or the choices."""

    key: str
    kind: Literal["log", "lin", "int", "choice"]
    values: Annotated[list[Any], Field(min_length=1)]

    def draw(self, source: random.Random) -> object:
        if self.kind == "choice":
            return source.choice(self.values)
        low, high = self.values
        if self.kind == "int":
            return source.randint(low, high)
        if self.kind == "log":
            return self.rounded(math.exp(source.uniform(math.log(low), math.log(high))))
        return self.rounded(source.uniform(low, high))

    def rounded(self, value: float) -> float:
        """A number of few digits that lies outside the range is moved to its end."""
        low, high = self.values
        return float(min(max(float(f"{value:.{DIGITS}g}"), low), high))


class AdaptiveSearch(BaseModel, frozen=True):
    """Says how Optuna chooses a sweep's configs one after another, by the results so far."""

    trials: PositiveInt  # how many configs it chooses
    spaces: list[KeySearchSpace]
    seed: int  # seed of the choices
    repeats: list[Settings]  # seed and fold of each config's runs


@dataclass(frozen=True)
class SearchSpace:
    """Holds what varies in a sweep: seeds, folds, lists of values, ranges, choices.

    grid: the values of each key, by dotted keys. sampler: how `trials` points are taken from the
    spaces; None: by chance. by: the validation metric that chooses the best config, and the points
    of the sampler tpe; None: the first that is no loss.
    """

    seeds: Sequence[int] | None = None
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    spaces: Sequence[KeySearchSpace] = ()
    trials: int | None = None
    sampler: Sampler | None = None
    folds: int | None = None
    by: str | None = None

    def points(self, seed: int) -> list[Settings]:
        """Each run has its settings: all combinations of listed values, draws and seeds.

        `seed` is that of the draws. Seeds vary fastest, then folds, so that a config's runs finish
        together. With the sampler tpe, whose points depend on results, the settings are those of
        `settings_to_check_ends`, to be checked. Raises ConfigError if options do not fit. If
        nothing varies, there is one point without settings.
        """
        self._check_options_fit()
        spaces = self.spaces
        axes = [[{key: value} for value in values] for key, values in self.grid.items()]
        repeats = self.repeats
        keys = [space.key for space in spaces]
        keys += [key for axis in [*axes, repeats] for key in axis[0]]
        _check_varied_keys(keys)
        count = math.prod(map(len, [*axes, repeats])) * (self.trials or 1)
        if count > MAX_POINTS:
            problem = f"{count:,} points: more than {MAX_POINTS:,}"
            raise ConfigError(problem, "fewer values, trials or seeds")
        if self.sampler == "tpe":
            drawn = settings_to_check_ends(spaces)
            repeats = repeats[:1]
        else:
            # A draw depends only on the seed, its key and its number: more draws, or another
            # space, change no other.
            sources = {space.key: random.Random(f"{seed} {space.key}") for space in spaces}
            drawn = [
                {space.key: space.draw(sources[space.key]) for space in spaces}
                for _ in range(self.trials or 1)
            ]
        return [
            {key: value for values in combination for key, value in values.items()}
            for combination in itertools.product(*axes, drawn, repeats)
        ]

    @property
    def repeats(self) -> list[Settings]:
        """Each run of a config has a fold and a seed; without any there is one empty mapping."""
        folds = [{FOLD: fold} for fold in range(1, (self.folds or 0) + 1)] or [{}]
        seeds: list[Settings] = [{}]
        if self.seeds is not None:
            seeds = [{SEED: seed} for seed in self.seeds]
        return [fold | seed for fold in folds for seed in seeds]

    def _check_options_fit(self) -> None:
        """Raise ConfigError if spaces and other options do not fit, or a key has no value."""
        if bool(self.spaces) != (self.trials is not None) or (self.sampler and not self.spaces):
            example = "as in --trials 20 --space optimizer.lr=log:1e-4..1e-2; KEY=A,B needs none"
            raise ConfigError("--space, --trials, --sampler: they belong together", example)
        for key, values in self.grid.items():
            if self.sampler == "tpe":
                raise ConfigError(f"{key}: not with --sampler tpe", "write --space KEY=A|B")
            if not values:
                raise ConfigError(f"{key}: no value", "as in KEY=A,B")

    def adaptive_search(self, seed: int) -> AdaptiveSearch | None:
        """`seed` is that of the choices; only the sampler tpe makes any."""
        if self.sampler != "tpe" or self.trials is None:
            return None
        spaces = list(self.spaces)
        return AdaptiveSearch(trials=self.trials, spaces=spaces, seed=seed, repeats=self.repeats)


def _check_varied_keys(keys: Sequence[str]) -> None:
    """Raise ConfigError if a key varies twice, perhaps within its section."""
    for key in keys:
        if sum(f"{other}.".startswith(f"{key}.") for other in keys) > 1:
            raise ConfigError(f"{key}: varied twice", "give it once, with all its values")


def settings_to_check_ends(spaces: Sequence[KeySearchSpace]) -> list[Settings]:
    """One searched key is at an end or a choice, all others are at their first."""
    first = {space.key: space.values[0] for space in spaces}
    return [first | {space.key: value} for space in spaces for value in space.values]


def separate_fixed_and_swept(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate settings that all runs of a sweep have, KEY=VALUE, from swept ones, KEY=A,B.

    A text that is not valid counts as fixed, so that the error is that of `--set`.
    """
    fixed: list[str] = []
    swept: list[str] = []
    for text in texts:
        values: list[Any] = []
        with contextlib.suppress(ConfigError):
            _, values = _parse_values(text)
        (swept if len(values) > 1 else fixed).append(text)
    return fixed, swept


def parse_search_space(
    seeds: str | None = None,
    grid: Sequence[str] = (),
    spaces: Sequence[str] = (),
    trials: int | None = None,
    sampler: Sampler | None = None,
    folds: int | None = None,
    by: str | None = None,
) -> SearchSpace:
    """The texts are those of a command's options. Raises ConfigError if one is invalid.

    seeds: such as `0-4`. grid: texts KEY=A,B. spaces: texts KEY=log:1e-4..1e-2 and others.
    """
    values_by_key: dict[str, list[Any]] = {}
    for key, values in map(_parse_values, grid):
        if key in values_by_key:
            raise ConfigError(f"{key}: varied twice", "give it once, with all its values")
        values_by_key[key] = values
    return SearchSpace(
        seeds=None if seeds is None else parse_seeds(seeds),
        grid=values_by_key,
        spaces=[parse_space(text) for text in spaces],
        trials=trials,
        sampler=sampler,
        folds=folds,
        by=by,
    )


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as `0-4`, `0,3,7` or `5` (0 to 4), or raise ConfigError if invalid."""
    if text.strip() == "0":
        raise ConfigError("--seeds 0: no seeds", "--seeds 5: 0 to 4; --seeds 0,: only 0")
    is_number = text.strip().isdecimal() and len(text) <= 10
    ranges = f"0-{int(text) - 1}" if is_number else text.rstrip(",")
    seeds: list[int] = []
    for word in ranges.split(","):
        match = _SEEDS.fullmatch(word.strip())
        seeds_of_word = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not seeds_of_word:
            raise ConfigError(f"--seeds {text}: {word!r} is not a seed", SEEDS_HINT)
        if len(seeds) + len(seeds_of_word) > MAX_POINTS:
            raise ConfigError(f"--seeds {text}: more than {MAX_POINTS:,} seeds", SEEDS_HINT)
        seeds += seeds_of_word
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: a seed is given twice", "give each once")
    return seeds


def _parse_values(text: str) -> tuple[str, list[Any]]:
    """Parse a key and its values KEY=VALUES as YAML: `A,B`, or two lists `[16],[32]`."""
    key, _, values = text.partition("=")
    ((key, parsed),) = flatten_keys(parse_set_override(f"{key}=[{values}]").values).items()
    if not parsed:
        raise ConfigError(f"{text}: no value", "as in KEY=A,B")
    return key, [*parsed]


def parse_space(text: str) -> KeySearchSpace:
    """Parse a search space, such as `optimizer.lr=log:1e-4..1e-2` or `batch_size=50|100`."""
    key, _, spec = text.partition("=")
    if match := _RANGE.fullmatch(spec.strip()):
        kind, *ends = match.groups()
        numbers = _parse_ends(text, kind, ends)
        return KeySearchSpace.model_validate({"key": key.strip(), "kind": kind, "values": numbers})
    choices: list[Any] = []
    if "|" in spec:
        with contextlib.suppress(ConfigError):
            key, choices = _parse_values(f"{key}={spec.replace('|', ',')}")
    if not choices:
        raise ConfigError(f"--space {text}: not a space", SPACE_HINT)
    return KeySearchSpace(key=key, kind="choice", values=choices)


def _parse_ends(text: str, kind: str, ends: Sequence[str]) -> list[float]:
    """Raise ConfigError if the two ends are not valid for the kind of the range."""
    with contextlib.suppress(ValueError):
        low, high = (int(end) if kind == "int" else float(end) for end in ends)
        if -math.inf < low < high < math.inf and (kind != "log" or low > 0):
            return [low, high]
    problem = f"--space {text}: expected {ENDS[kind]}, the smaller first"
    raise ConfigError(problem, SPACE_HINT)
