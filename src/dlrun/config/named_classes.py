"""Find the classes that a config names with their arguments, and check the arguments.

Lightning's callbacks and loggers have dotted names; torch's optimizers and schedulers are known. A
class's own signature says which arguments it has, and the class which values it refuses. torch is
imported when a function is called, because most configs give no such argument.
"""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator

from dlrun.errors import ConfigError, did_you_mean, first_line

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

OURS = ("params", "lr", "optimizer", "last_epoch", "verbose")  # arguments that are set here
UPDATES = 1000  # those of a schedule that is made only to check its arguments
LARGEST_RATE = 1e30  # a learning rate has to fit in the float32 of the weights
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


def _check_each_once(items: list[T]) -> list[T]:
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
    key: str, item: Item, kind: type[T], defaults: Mapping[str, object]
) -> Callable[[], T]:
    """Import the class that an item of a config names, and return a function that makes an object.

    defaults: arguments that are given too if the class has them and the item does not.
    Raises ConfigError, which names the key, if the class cannot be imported, is no subclass of
    `kind` or does not have these arguments.
    """
    name = class_name(item)
    arguments = {} if isinstance(item, str) else {key: item[key] for key in item if key != CLASS}
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
    arguments = {key: defaults[key] for key in signature.parameters if key in defaults} | arguments
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise ConfigError(f"{key}: {name}: {error}", f"its arguments: {known}") from None
    return partial(found, **arguments)


@dataclass(frozen=True)
class Scheduler:
    """Describes a learning-rate scheduler of torch, and how it is used here.

    torch_class: its name in torch.optim.lr_scheduler. arguments: those that a config cannot give,
    each with what it is: the number of epochs or updates, the optimizer's rates, a constant, or
    None for torch's default. by_update: whether the rate changes after each update, not each epoch.
    """

    torch_class: str
    arguments: Mapping[str, Literal["epochs", "updates", "rates"] | float | None] = field(
        default_factory=dict
    )
    by_update: bool = False

    @property
    def spans_all_epochs(self) -> bool:
        """Return whether the rates depend on the number of epochs, so that no run can be longer."""
        return not {"epochs", "updates"}.isdisjoint(self.arguments.values())


SCHEDULERS = {
    "cosine": Scheduler("CosineAnnealingLR", {"T_max": "epochs"}),
    "step": Scheduler("StepLR"),
    "exponential": Scheduler("ExponentialLR"),
    "one_cycle": Scheduler(
        "OneCycleLR",
        {"max_lr": "rates", "total_steps": "updates", "epochs": None, "steps_per_epoch": None},
        by_update=True,
    ),
    "plateau": Scheduler("ReduceLROnPlateau", {"mode": None}),
}


@dataclass
class ArgumentError(Exception):
    """Says what is wrong with one key of a config section whose keys are a class's arguments."""

    key: str
    message: str


@cache
def optimizer_classes() -> "dict[str, type[Optimizer]]":
    """Return torch's optimizers by their names in lower case."""
    from torch import optim

    classes = {name.lower(): found for name, found in vars(optim).items() if inspect.isclass(found)}
    del classes["optimizer"]  # the base class
    return {name: found for name, found in classes.items() if issubclass(found, optim.Optimizer)}


def check_optimizer_name(name: str) -> None:
    """Raise ValueError if torch has no such optimizer; `name` is in lower case."""
    classes = optimizer_classes()
    if name not in classes:
        hint = did_you_mean(name, classes) or f"; it has {', '.join(sorted(classes))}"
        raise ValueError(f"torch.optim has no {name!r}{hint}")


def check_optimizer(name: str, lr: float, further: Mapping[str, Any]) -> None:
    """Raise ArgumentError if torch's optimizer refuses arguments, or cannot train every network."""
    optimizer_class = optimizer_classes()[name]
    _check_arguments(optimizer_class, further, OURS)
    try:
        _optimizer_of_one_number(name, {"lr": lr, **given_arguments(further)}).step()
    except Exception as error:  # a class may raise anything
        raise _refused(optimizer_class, further, error) from None


def check_scheduler(
    name: str, further: Mapping[str, Any], optimizer: str, arguments: Mapping[str, Any], epochs: int
) -> None:
    """Raise ArgumentError if torch's scheduler refuses arguments.

    optimizer, arguments: the optimizer's name, with its arguments. epochs: those of the schedule.
    """
    scheduler_class = _scheduler_class(name)
    _check_arguments(scheduler_class, further, {*OURS, *SCHEDULERS[name].arguments})
    changed = _optimizer_of_one_number(optimizer, arguments)
    scheduler = make_scheduler(name, further, changed, epochs=epochs, updates=UPDATES)
    losses = (0.0,) if name == "plateau" else ()
    try:
        changed.step()
        scheduler.step(*losses)  # of 0 epochs torch only now makes an error
    except Exception as error:
        raise _refused(scheduler_class, further, error) from None


def make_scheduler(
    name: str, further: Mapping[str, Any], optimizer: "Optimizer", *, epochs: int, updates: int
) -> "LRScheduler":
    """Return the scheduler that changes an optimizer's learning rate in so many epochs or updates.

    It cycles a momentum only if the optimizer has one: torch would set it for RMSprop and SGD
    without momentum too. Raises ArgumentError if torch refuses the values.
    """
    groups = optimizer.param_groups
    known = {"epochs": epochs, "updates": updates, "rates": [group["lr"] for group in groups]}
    arguments: dict[str, Any] = {
        key: known.get(str(value), value)
        for key, value in SCHEDULERS[name].arguments.items()
        if value is not None
    }
    scheduler_class = _scheduler_class(name)
    if "cycle_momentum" in inspect.signature(scheduler_class).parameters:
        arguments["cycle_momentum"] = "betas" in groups[0] or bool(groups[0].get("momentum"))
    try:
        return scheduler_class(optimizer, **(arguments | given_arguments(further)))
    except Exception as error:
        raise _refused(scheduler_class, further, error) from None


def _scheduler_class(name: str) -> "type[LRScheduler]":
    from torch.optim import lr_scheduler

    return cast("type[LRScheduler]", getattr(lr_scheduler, SCHEDULERS[name].torch_class))


def given_arguments(further: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not None; torch has defaults for the others."""
    return {key: value for key, value in further.items() if value is not None}


def _check_arguments(torch_class: type, further: Mapping[str, Any], ours: Collection[str]) -> None:
    """Raise ArgumentError if a class has no such argument, needs another, or takes no text.

    torch would take the text `flase` for true. `ours`: arguments that a config cannot give.
    """
    parameters = inspect.signature(torch_class).parameters
    known = [key for key in parameters if key not in ours]
    for key, value in further.items():
        if key not in known:
            names = [name for name in parameters if name in known or name == "lr"]
            hint = did_you_mean(key, names) or f"; {torch_class.__name__} has {', '.join(names)}"
            raise ArgumentError(key, f"unknown key{hint}")
        annotation = str(parameters[key].annotation)
        if isinstance(value, str) and not re.search(r"\bstr\b|Literal", annotation):
            raise ArgumentError(key, f"expected true, false or numbers, got {value!r}")
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and further.get(key) is None:
            raise ArgumentError("name", f"torch's {torch_class.__name__} needs {key}")


def _optimizer_of_one_number(name: str, arguments: Mapping[str, Any]) -> "Optimizer":
    """Return an optimizer of one number that has a gradient; some values are refused by step()."""
    from torch import nn, zeros

    parameter = nn.Parameter(zeros(1))
    parameter.grad = zeros(1)
    return cast("Callable[..., Optimizer]", optimizer_classes()[name])([parameter], **arguments)


def _refused(torch_class: type, further: Mapping[str, Any], error: Exception) -> ArgumentError:
    """Return the error for what a class raised: of the key in its message, or of the only one."""
    reason = first_line(error)
    named = (key for key in further if key in reason.lower())
    key = next(named, next(iter(further)) if len(further) == 1 else "name")
    return ArgumentError(key, f"torch's {torch_class.__name__}: {reason}")
