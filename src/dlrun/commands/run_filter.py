"""Which runs are meant by conditions, and in which order: `--where optimizer.lr>0.001`."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.config.yaml_loader import flatten, read_override
from dlrun.errors import ConfigError, did_you_mean
from dlrun.runs.run_info import STATES, RunInfo

_CONDITION = re.compile(r"\s*([\w.-]+?)\s*(!=|<=|>=|==|=|<|>)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Keyed:
    """A run's values by their keys: those of a list, its config, its record, `metrics.NAME`."""

    def __init__(self, seen: RunInfo) -> None:
        self.seen = seen
        self.about = seen.about()
        record = seen.run.record.model_dump() if seen.run else {}
        self.values = flatten(record) | seen.config | self.about

    def get(self, key: str) -> Any:
        """The value of a key; None where the run has none."""
        return self.values.get(key)


@dataclass(frozen=True)
class Condition:
    """`key`, how it compares, with which value; a run that lacks the key does not meet it.

    text: all of that, as it was given.
    """

    text: str
    key: str
    how: str
    value: Any

    def met_by(self, run: Keyed) -> bool:
        """Whether a run is meant; values that do not compare are different."""
        if self.key not in run.values:
            return False
        try:
            return self._holds(run.get(self.key))
        except TypeError:
            return self.how == "!="

    def check(self, runs: Sequence[Keyed]) -> None:
        """Raises ConfigError where it is of another kind than all the runs' values."""
        values = [value for run in runs if (value := run.get(self.key)) is not None]
        if values and not any(self._fits(value) for value in values):
            raise ConfigError(
                f"--where {self.text!r}: {self.key} is {values[0]!r} in a run, "
                f"which cannot be compared with {self.value!r}",
                "compare numbers with numbers, without a unit; texts with texts; lists with lists, "
                "as in 'model.hidden=[16, 16]'",
            )

    def _fits(self, value: Any) -> bool:
        try:
            self._holds(value)
        except TypeError:
            return False
        return True

    def _holds(self, value: Any) -> bool:
        """Compare a run's value. Raises TypeError if the two are of kinds that do not compare."""
        value = list(value) if isinstance(value, tuple) else value
        if None not in (value, self.value) and _kind(value) != _kind(self.value):
            raise TypeError
        return bool(_COMPARE[self.how](value, self.value))


def _kind(value: Any) -> type:
    """Return bool or list, neither of which compares with anything else; else object."""
    return type(value) if isinstance(value, bool | list) else object


def condition(text: str) -> Condition:
    """What `KEY>VALUE` means. Raises ConfigError."""
    parts = _CONDITION.fullmatch(text)
    if not parts or not parts[3].strip():
        raise ConfigError(
            f"--where {text!r}: expected a key, one of = != < <= > >=, a value",
            "as in --where 'optimizer.lr>0.001', in quotes for the shell",
        )
    key, how, value = parts[1], parts[2], parts[3].strip()
    try:
        return Condition(text, key, how, read_override(f"value={value}").values["value"])
    except ConfigError:
        return Condition(text, key, how, value)  # no YAML: a text


def check_states(states: Iterable[str]) -> None:
    """Raises ConfigError where one of them is none."""
    for state in states:
        if state not in STATES:
            raise ConfigError(
                f"--status {state!r}: no such state{did_you_mean(state, STATES)}",
                f"choose of {', '.join(STATES)}",
            )


def check_keys(wanted: Iterable[str], runs: Sequence[Keyed]) -> None:
    """Raises ConfigError where no run has a key, which is then probably mistyped."""
    known = {key for run in runs for key in run.values}
    for key in wanted:
        if known and key not in known:
            close = [one for one in sorted(known) if one.endswith(f".{key}")]
            meant = f"; did you mean {close[0]!r}?" if close else did_you_mean(key, known)
            raise ConfigError(
                f"no run has a key {key!r}{meant}",
                "keys are those of `dlrun runs list --json`, of the configs and of results.json",
            )


def in_order(runs: Sequence[Keyed], key: str) -> list[Keyed]:
    """By the values of a key, the largest first, texts from A to Z; `-KEY` the other way round.

    Runs that lack it come last; those of one value stay in their order.
    """
    other_way = key.startswith("-")
    key = key.removeprefix("-")
    having = [run for run in runs if run.get(key) is not None]
    numbers = [run for run in having if isinstance(run.get(key), int | float)]
    texts = [run for run in having if run not in numbers]
    numbers.sort(key=lambda run: run.get(key), reverse=not other_way)
    texts.sort(key=lambda run: str(run.get(key)), reverse=other_way)
    return [*numbers, *texts, *(run for run in runs if run.get(key) is None)]
