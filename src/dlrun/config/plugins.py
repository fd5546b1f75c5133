"""Load the classes that a config names with their arguments, such as Lightning's callbacks."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from dlrun.errors import ConfigError, did_you_mean, first_line

CLASS = "class"  # the key of the class's dotted name, beside those of its arguments
T = TypeVar("T")
# The dotted name of a class, alone or as the key `class` of a mapping with its arguments.
Item = str | dict[str, Any]


def is_dotted_name(name: object) -> bool:
    """Return whether a value is the dotted name of a class in a module."""
    return isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)+", name) is not None


def _check_class(item: Item) -> Item:
    if not is_dotted_name(class_name(item)):
        raise ValueError(f"expected package.module.Class or {{{CLASS}: ..., ...}}, got {item!r}")
    return item


ClassWithArguments = Annotated[Item, AfterValidator(_check_class)]


def _check_each_once(items: list[Item]) -> list[Item]:
    for place, item in enumerate(items):
        if item in items[:place]:
            raise ValueError(f"{item!r} is given twice; give it once")
    return items


EACH_ONCE = AfterValidator(_check_each_once)  # checks that a list has no item twice


def class_name(item: Item) -> str:
    """Return the name of the class of an item, which may have arguments."""
    return item if isinstance(item, str) else str(item.get(CLASS))


def require_extra(what: str, extra: str, *packages: str) -> None:
    """Raise ConfigError if a package of an extra of dlrun, which `what` needs, is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            hint = f"`pip install 'dlrun[{extra}]'` installs it"
            raise ConfigError(f"{what} needs the package {package}", hint)


def check_package_installed(key: str, item: Item) -> None:
    """Raise ConfigError if there is no package of a class; nothing is imported for this."""
    package = class_name(item).partition(".")[0]
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{key}: {class_name(item)}: no package {package} is installed",
            "install the class's package, or correct its name",
        )


def load_class(
    key: str, item: Item, kind: type[T], defaults: Mapping[str, object] | None = None
) -> Callable[[], T]:
    """Import the class that an item of a config names, and return a function that makes an object.

    defaults: arguments that are given too if the class has them and the item does not.
    Raises ConfigError, which names the key, if the class cannot be imported, is no subclass of
    `kind` or does not have these arguments.
    """
    name, arguments = class_name(item), {} if isinstance(item, str) else {**item}
    arguments.pop(CLASS, None)
    path, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(path)
    except (Exception, SystemExit) as error:  # code of other packages can raise anything
        raise ConfigError(
            f"{key}: {path} cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error
    found = getattr(module, attribute, None)
    if found is None:
        similar = did_you_mean(attribute, vars(module))
        raise ConfigError(f"{key}: {path} has no class {attribute!r}{similar}")
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ConfigError(f"{key}: {name} is no {kind.__module__}.{kind.__name__}")
    signature = inspect.signature(found)
    for argument in signature.parameters.keys() & (defaults or {}).keys():
        arguments.setdefault(argument, (defaults or {})[argument])
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise ConfigError(f"{key}: {name}: {error}", f"its arguments: {known}") from None
    return partial(found, **arguments)
