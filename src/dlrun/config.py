"""YAML defaults + `--config` files + `--set` -> one frozen, valid config; all faults at once."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from dlrun.config_files import defaults_folder, experiment_names
from dlrun.errors import ConfigError
from dlrun.yaml_source import KeyPath, Layer, dump, merge, read_file, read_override


class Section(BaseModel):
    """A mapping in a config: no unknown keys, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path}") from None


# A path in a config: made absolute, so that a run's own config.yaml repeats it from any folder.
LocalPath = Annotated[Path, Strict(False), AfterValidator(_absolute)]
PositiveInt = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

S = TypeVar("S", bound=Section)


def read_layers(experiment: str, files: Sequence[Path], overrides: Sequence[str]) -> Layer:
    """Merge an experiment's defaults, config files and `--set` texts, in this order.

    Raises ConfigError with the faults of every source that cannot be read.
    """
    if experiment not in experiment_names():
        names = experiment_names()
        raise ConfigError(
            f"no experiment {experiment!r}{nearest(experiment, names)}",
            f"choose of {', '.join(names)}",
        )
    layers, faults = [], []
    sources: list[Path | str] = [defaults_folder() / f"{experiment}.yaml", *files, *overrides]
    for source in sources:
        try:
            layers.append(read_file(source) if isinstance(source, Path) else read_override(source))
        except ConfigError as error:
            faults.append(error.message)
    if faults:
        raise _faults_error(experiment, faults)
    return merge(layers)


def validate(schema: type[S], layer: Layer, experiment: str) -> S:
    """The validated config. Raises ConfigError that lists every fault with file, line and key."""
    try:
        return schema.model_validate(layer.values)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors(include_url=False):
            where = _where(fault, layer)
            problems = faults.setdefault(where, [])
            if (problem := _problem(fault, schema)) not in problems:
                problems.append(problem)
        lines = [f"{where}: {_join(problems)}" for where, problems in faults.items()]
        raise _faults_error(experiment, lines) from None


def to_yaml(config: Section) -> str:
    """The resolved config as YAML that `--config` reads back to the same config."""
    return dump(config.model_dump(mode="json"))


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of the names, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _faults_error(experiment: str, faults: list[str]) -> ConfigError:
    if len(faults) == 1:
        message = faults[0]
    else:
        message = f"{len(faults)} faults in the config:\n" + "\n".join(
            f"  {fault}" for fault in faults
        )
    return ConfigError(message, f"`dlrun config {experiment}` prints every key with its default")


def _where(fault: ErrorDetails, layer: Layer) -> str:
    path: KeyPath = ()
    for part in fault["loc"]:  # a union puts its members' names between the keys
        if (*path, part) in layer.origins:
            path = (*path, part)
    if fault["type"] == "missing":
        path = (*path, fault["loc"][-1])
    origin = next(
        (
            layer.origins[path[:end]]
            for end in range(len(path), 0, -1)
            if path[:end] in layer.origins
        ),
        "defaults",
    )
    return f"{origin}: {'.'.join(str(part) for part in path)}"


def _join(problems: list[str]) -> str:
    """One sentence from what each member of a union expected."""
    if len(problems) == 1:
        return problems[0]
    expected = [problem.removeprefix("expected ").partition(", got ")[0] for problem in problems]
    return f"expected {' or '.join(expected)}, got {problems[0].partition(', got ')[2]}"


def _problem(fault: ErrorDetails, schema: type[Section]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key{_right_key(fault['loc'], schema)}"
        case "missing":
            return "this key must be given"
        case "value_error":  # our own validators' words
            return fault["msg"].removeprefix("Value error, ")
        case "path_type":
            expected = "a path"
        case "model_type":
            expected = "'key: value' lines"
        case _:
            expected = fault["msg"].replace("Input should be ", "").replace("a valid ", "a ")
            expected = expected.replace("a integer", "a whole number").replace(
                "a boolean", "true or false"
            )
            expected = re.sub(r"^(greater|less)", r"a value \1", expected)
            expected = re.sub(r"^List should have", "a list with", expected)
            expected = expected.replace(" after validation", "")
    text = f"expected {expected}, got {_short(fault['input'])}"
    if fault["type"] == "literal_error":
        choices = expected.replace(" or ", ", ").split(", ")
        text += nearest(str(fault["input"]), [choice.strip("'") for choice in choices])
    return text


def _right_key(path: KeyPath, schema: type[Section]) -> str:
    """The nearest name among the key's siblings, else a key of that name in another section."""
    name = str(path[-1])
    keys = _keys(schema)
    parent = ".".join(str(part) for part in path[:-1])
    siblings = [key.rpartition(".")[2] for key in keys if key.rpartition(".")[0] == parent]
    elsewhere = [key for key in keys if name == key.rpartition(".")[2]]
    if found := nearest(name, siblings):
        return found
    if elsewhere:
        return f"; did you mean {elsewhere[0]!r}?"
    return f"; {parent or 'a config'} has {', '.join(siblings)}" if siblings else ""


def _keys(schema: type[Section], prefix: str = "") -> list[str]:
    """Every key of a schema, dotted."""
    keys = []
    for name, field in schema.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys += _keys(field.annotation, f"{prefix}{name}.")
    return keys


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
