"""Search spaces: which points `--seeds`, `--grid`, `--random` and `--space` mean."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from dlrun.config.yaml_loader import flatten, read_override
from dlrun.errors import ConfigError

SEED = "seed"
MAX_POINTS = 10_000  # points; more are a mistake
DIGITS = 4  # significant digits of a drawn number, after those that both ends share
LARGEST = 1e300  # end of a space; sums and differences of two stay finite

Settings = dict[str, Any]  # dotted keys of the config with their values
_RANGE = re.compile(r"(log|lin|int):(.+)\.\.(.+)")
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class Varied(TypedDict, total=False):
    """What varies in a sweep, as its options: --seeds, --grid, --space, --random, --space-seed."""

    seeds: str | None
    grid: Sequence[str]
    spaces: Sequence[str]
    draws: int | None
    space_seed: int | None


def points(config_seed: int, **varied: Unpack[Varied]) -> list[Settings]:
    """Return the settings of each point: the product of the grid, the draws and the seeds.

    A draw depends only on the space's seed (or the config's), its key and its number: more draws,
    or another space, change no other. Raises ConfigError for an invalid text.
    """
    seeds, draws = varied.get("seeds"), varied.get("draws")
    axes = [_axis(text) for text in varied.get("grid", ())]
    drawn = _drawn(varied.get("spaces", ()), draws, varied.get("space_seed"), config_seed)
    if seeds is not None:
        axes.append((SEED, list(parse_seeds(seeds))))
    keys = [key for key, _ in axes] + list(drawn)
    if not keys:
        raise ConfigError("nothing varies", "--seeds 5, --grid KEY=A,B, --random N --space KEY=...")
    for key in keys:
        if sum(f"{other}.".startswith(f"{key}.") for other in keys) > 1:
            raise ConfigError(f"{key}: varied twice", "give it once, with all its values")
    total = math.prod(len(values) for _, values in axes) * (draws or 1)
    if total > MAX_POINTS:
        raise ConfigError(
            f"{total:,} points: more than {MAX_POINTS:,}", "fewer values, draws or seeds"
        )
    return list(_product(axes, drawn, draws or 1))


def _product(
    axes: Sequence[tuple[str, list[Any]]], drawn: Mapping[str, list[Any]], draws: int
) -> Iterator[Settings]:
    """Return each combination; seeds vary fastest, so that a config's runs finish together."""
    seeded = [axis for axis in axes if axis[0] == SEED]
    others = [axis for axis in axes if axis[0] != SEED]
    for chosen in itertools.product(*(values for _, values in others)):
        for draw in range(draws):
            own = dict(zip((key for key, _ in others), chosen, strict=True))
            own |= {key: values[draw] for key, values in drawn.items()}
            for seed in seeded[0][1] if seeded else [None]:
                yield own if seed is None else own | {SEED: seed}


def parse_seeds(text: str) -> Sequence[int]:
    """Return the seeds of `5` or `0-4` (0 to 4), `0,3,7` or `0-4,9`. Raises ConfigError."""
    if text.strip().isdecimal() and len(text) < 6:
        if int(text) == 0:
            raise ConfigError("--seeds 0: no seeds", "--seeds 5: 0 to 4; --seeds 0,: only 0")
        return range(int(text))
    found: list[int] = []
    for part in text.rstrip(",").split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"--seeds {text}: {part!r} is not a seed", "as in 5, 0-4 or 0,3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MAX_POINTS:
            raise ConfigError(f"--seeds {text}: {part}: not a range of seeds", "as in 0-4")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise ConfigError(f"--seeds {text}: a seed is given twice", "give each once")
    return found


def _axis(text: str) -> tuple[str, list[Any]]:
    """Return a key and its values from `KEY=A,B`; `[16],[32]` are two lists."""
    key, values = _keyed("--grid", text, text.partition("=")[2])
    if not values:
        raise ConfigError(f"--grid {text}: no value", "as in --grid optimizer.lr=0.001,0.002")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ConfigError(
            f"--grid {text}: a value is given twice", "give each once: --seeds repeats"
        )
    return key, values


def _keyed(option: str, text: str, values: str) -> tuple[str, list[Any]]:
    """Return the key and the list of values. Raises ConfigError."""
    key, equals, _ = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text}: expected key.sub=values")
    try:
        (found,) = flatten(read_override(f"{key}=[{values}]").values).items()
    except ConfigError as error:
        what = error.message.rpartition(": ")[2]
        raise ConfigError(f"{option} {text}: {what}") from None
    return found


def _drawn(
    spaces: Sequence[str], draws: int | None, space_seed: int | None, seed: int
) -> dict[str, list[Any]]:
    """Return the values of each draw by key."""
    if (draws is None) != (not spaces):
        raise ConfigError(
            "--random and --space belong together",
            "as in --random 20 --space optimizer.lr=log:1e-4..1e-2",
        )
    if space_seed is not None and not spaces:
        raise ConfigError("--space-seed: nothing is drawn", "it belongs to --random and --space")
    seed = seed if space_seed is None else space_seed
    found: dict[str, list[Any]] = {}
    for text in spaces:
        key, sample = _space(text)
        if key in found:
            raise ConfigError(f"{key}: varied twice", "give it once")
        random_ = random.Random(f"{seed} {key}")
        found[key] = [sample.at(random_.random()) for _ in range(draws or 0)]
    return found


@dataclass(frozen=True)
class Space:
    """A distribution: `log`, `lin` or `int` between two ends, or `choice` of `values`."""

    kind: str
    low: float = 0
    high: float = 0
    values: Sequence[Any] = ()

    def at(self, share: float) -> Any:
        """Return the quantile of a probability from 0 to below 1."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        if self.kind == "int":
            return min(int(self.low + math.floor(share * (self.high - self.low + 1))), self.high)
        if self.kind == "log":
            value = self.low ** (1 - share) * self.high**share
        else:
            value = self.low * (1 - share) + self.high * share
        narrow = max(abs(self.low), abs(self.high)) / (self.high - self.low)
        digits = DIGITS + int(math.log10(max(1, narrow)))
        return float(min(max(float(f"{value:.{digits}g}"), self.low), self.high))


def _space(text: str) -> tuple[str, Space]:
    """Parse `KEY=log:1e-4..1e-2`, `lin:`, `int:1..9` or `KEY=a|b|c`. Raises ConfigError."""
    key, _, spec = text.partition("=")
    hint = "as in KEY=log:1e-4..1e-2, KEY=lin:0..1, KEY=int:1..9 or KEY=a|b|c"
    match = _RANGE.fullmatch(spec.strip())
    if match is None:
        if "|" not in spec:
            raise ConfigError(f"--space {text}: not a space", hint)
        key, values = _keyed("--space", text, spec.replace("|", ","))
        return key, Space("choice", values=values)
    key, (low, high) = _keyed("--space", text, f"{match[2]},{match[3]}")
    kind, whole = match[1], isinstance(low, int) and isinstance(high, int)
    numbers = all(type(end) in (int, float) and abs(end) <= LARGEST for end in (low, high))
    if not numbers or (kind == "int" and not whole) or not low < high:
        ends = "two whole numbers" if kind == "int" else "two numbers"
        raise ConfigError(f"--space {text}: expected {ends}, the smaller first", hint)
    if kind == "log" and low <= 0:
        raise ConfigError(f"--space {text}: a logarithm needs ends above 0", hint)
    return key, Space(kind, low, high)
