"""The keys of a config by name: which one was probably meant."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from dlrun.config.schema import Section
from dlrun.errors import LIKE

OTHER_NAMES = {"device": "accelerator"}  # what other programs call a key


def all_keys(schema: type[Section], prefix: str = "") -> Iterator[str]:
    """Every key of a schema, dotted: `optimizer`, `optimizer.lr`, ..."""
    for name, field in schema.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from all_keys(field.annotation, f"{prefix}{name}.")


def allowed_values(schema: type[Section], key: str) -> list[str]:
    """The values that a key's type lists, as YAML spells them; none where it lists none."""
    name, _, rest = key.partition(".")
    field = schema.model_fields.get(name)
    if field is None:
        return []
    kind = field.annotation
    if rest:
        return (
            allowed_values(kind, rest)
            if isinstance(kind, type) and issubclass(kind, Section)
            else []
        )
    return list(_listed(kind))


def _listed(kind: object) -> Iterator[str]:
    if kind is bool:
        yield from ("true", "false")
    elif kind is NoneType:
        yield "null"
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for part in get_args(kind) if get_origin(kind) in (Union, UnionType) else ():
            yield from _listed(part)


def meant(path: Sequence[str], schema: type[Section]) -> str | None:
    """The key that a wrong one probably stands for, dotted; None where none is near.

    A sibling of a similar name comes first (`optimiser` -> `optimizer`), then a key of that name in
    another section (`lr` -> `optimizer.lr`), then one that ends so (`epochs` ->
    `trainer.max_epochs`), then any of a similar name.
    """
    *parent, name = path
    name = OTHER_NAMES.get(name, name)
    keys = [key for key in all_keys(schema) if not key.startswith("reference.")]
    siblings = [key for key in keys if key.split(".")[:-1] == parent]
    by_leaf = {key.rpartition(".")[2]: key for key in reversed(keys)}
    for candidates in ({key.rpartition(".")[2]: key for key in siblings}, by_leaf):
        if name in candidates:
            return candidates[name]
        if candidates is not by_leaf and (close := _close(name, candidates)):
            return candidates[close]
    if endings := [key for key in keys if key.endswith(f"_{name}")]:
        return endings[0]
    close = _close(name, by_leaf)
    return by_leaf[close] if close else None


def _close(name: str, names: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=LIKE)
    return found[0] if found else None
