"""Find the classes that a config names with their arguments, and check the arguments.

Lightning's callbacks and loggers have dotted names; torch's optimizers and schedulers are known.
torch is imported when a function is called, because most configs give no such argument.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError, did_you_mean, first_line

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

# Arguments of torch's classes that a config cannot give: set here, or with torch's default.
OURS = frozenset(
    "params lr optimizer last_epoch verbose mode T_max max_lr total_steps epochs "
    "steps_per_epoch".split()
)
UPDATES = 1000  # those of a schedule that is made only to check its arguments
LARGEST_RATE = 1e30  # a learning rate has to fit in the float32 of the weights
CLASS = "class"  # the key of the class's dotted name, beside those of its arguments
T = TypeVar("T")
# The dotted name of a class, alone or as the key `class` of a mapping with its arguments.
Item = str | dict[str, Any]
Arguments = Mapping[str, Any]  # of a class, by name


def error_of_key(message: str, *path: str) -> ValidationError:
    """Return pydantic's error about one key, for a validator that checks a whole section.

    path: the names from the validated section to the key.
    """
    return ValidationError.from_exception_data("config", [error_detail(message, *path)])


def error_detail(message: str, *path: str) -> InitErrorDetails:
    """Return one of the errors of which pydantic's error is made; `path` as of error_of_key."""
    error = PydanticCustomError("value_error", "{error}", {"error": message})
    return InitErrorDetails(type=error, loc=path, input=None)


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


def class_arguments(item: Item) -> Values:
    """Return the arguments that an item gives its class, by name."""
    return {} if isinstance(item, str) else {key: item[key] for key in item if key != CLASS}


def require_extra(what: str, extra: str, *packages: str) -> None:
    """Raise ConfigError if a package of an extra of dlrun, which `what` needs, is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            hint = f"`pip install 'dlrun[{extra}]'`, in a checkout `pip install -e '.[{extra}]'`"
            raise ConfigError(f"{what} needs the package {package}", hint)


def load_class(
    key: str, item: Item, kind: type[T], defaults: Mapping[str, object]
) -> Callable[[], T]:
    """Import the class that an item of a config names, and return a function that makes an object.

    defaults: arguments that are given too if the class has them. Raises ConfigError, which names
    the key, if the class cannot be imported, is no `kind` or does not have these arguments.
    """
    name = class_name(item)
    arguments = class_arguments(item)
    path, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(path)
    except (Exception, SystemExit) as error:  # code of other packages can raise anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        remedy = "install its package, or correct its name"
        hint = remedy if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(f"{key}: {path} cannot be imported: {reason}", hint) from error
    loaded = getattr(module, attribute, None)
    if loaded is None:
        similar = did_you_mean(attribute, vars(module))
        raise ConfigError(f"{key}: {path} has no class {attribute!r}{similar}")
    if not (isinstance(loaded, type) and issubclass(loaded, kind)):
        raise ConfigError(f"{key}: {name} is no {kind.__module__}.{kind.__name__}")
    signature = inspect.signature(loaded)
    arguments = {key: defaults[key] for key in signature.parameters if key in defaults} | arguments
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise ConfigError(f"{key}: {name}: {error}", f"its arguments: {known}") from None
    return partial(loaded, **arguments)


# torch's schedulers, by their names here. The rates of SPANNING ones depend on the number of
# epochs, so that no run can be longer; that of BY_UPDATE changes after each update, not epoch.
SCHEDULERS = {
    "cosine": "CosineAnnealingLR",
    "step": "StepLR",
    "exponential": "ExponentialLR",
    "one_cycle": "OneCycleLR",
    "plateau": "ReduceLROnPlateau",
}
SPANNING = ("cosine", "one_cycle")
BY_UPDATE = "one_cycle"


# Optimizers of our own for every network: `package.module:Class` by the name in a config.
OWN_OPTIMIZERS: dict[str, str] = {}


@cache
def optimizer_classes() -> "dict[str, type[Optimizer]]":
    """Return torch's optimizers by their names in lower case, and those of our own."""
    from torch import optim

    classes = {
        name.lower(): value
        for name, value in vars(optim).items()
        if inspect.isclass(value) and issubclass(value, optim.Optimizer)
        if value is not optim.Optimizer
    }
    return classes | {name: pkgutil.resolve_name(path) for name, path in OWN_OPTIMIZERS.items()}


def check_optimizer(name: str, lr: float, further: Arguments) -> None:
    """Raise ValidationError if an optimizer refuses arguments, or cannot train any network."""
    with _refusals_explained(optimizer_classes()[name], further):
        _optimizer_of_one_number(name, {"lr": lr, **further}).step()


def check_scheduler(
    name: str, further: Arguments, optimizer: str, arguments: Arguments, epochs: int
) -> None:
    """Raise ValidationError if torch's scheduler refuses arguments.

    optimizer, arguments: the optimizer's name, with its arguments. epochs: those of the schedule.
    """
    with _refusals_explained(scheduler_class(name), further, "scheduler"):
        changed = _optimizer_of_one_number(optimizer, arguments)
        scheduler = make_scheduler(name, further, changed, epochs=epochs, updates=UPDATES)
        changed.step()
        scheduler.step(*((0.0,) if name == "plateau" else ()))  # 0 epochs are refused only now


def make_scheduler(
    name: str, further: Arguments, optimizer: "Optimizer", *, epochs: int, updates: int
) -> "LRScheduler":
    """Return the scheduler that changes an optimizer's learning rate in so many epochs or updates.

    It cycles a momentum only if the optimizer has one: torch would set it for RMSprop and SGD
    without momentum too. Raises what torch raises if it refuses the values.
    """
    groups = optimizer.param_groups
    arguments: Values = {}
    if name == "cosine":
        arguments["T_max"] = epochs
    elif name == "one_cycle":
        arguments["max_lr"] = [group["lr"] for group in groups]
        arguments["total_steps"] = updates
        arguments["cycle_momentum"] = "betas" in groups[0] or bool(groups[0].get("momentum"))
    return scheduler_class(name)(optimizer, **(arguments | dict(further)))


def scheduler_class(name: str) -> "type[LRScheduler]":
    """Return torch's scheduler by its name here."""
    from torch.optim import lr_scheduler

    return cast("type[LRScheduler]", getattr(lr_scheduler, SCHEDULERS[name]))


def argument_errors(torch_class: type, further: Arguments) -> list[InitErrorDetails]:
    """Return what is wrong with arguments by a class's signature; torch takes `flase` for true."""
    parameters = inspect.signature(torch_class).parameters
    name = torch_class.__name__
    known = [key for key in parameters if key not in OURS]
    errors = []
    for key, value in further.items():
        if key not in known:
            names = [key for key in parameters if key in known or key == "lr"]
            hint = did_you_mean(key, names) or f"; {name} has {', '.join(names)}"
            errors.append(error_detail(f"unknown key{hint}", key))
        elif isinstance(value, str) and not re.search(
            r"\bstr\b|Literal", str(parameters[key].annotation)
        ):
            errors.append(error_detail(f"expected true, false or numbers, got {value!r}", key))
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and further.get(key) is None:
            errors.append(error_detail(f"{name} needs {key}", "name"))
    return errors


@contextmanager
def _refusals_explained(torch_class: type, further: Arguments, *section: str) -> Iterator[None]:
    """Raise ValidationError if a class refuses the values of arguments in the `with` block.

    It is about the key in the class's message, or about the only one.
    """
    try:
        yield
    except Exception as error:  # a class may raise anything
        reason = first_line(error)
        named = (key for key in further if key in reason.lower())
        key = next(named, next(iter(further)) if len(further) == 1 else "name")
        problem = f"{torch_class.__name__}: {reason}"
        raise error_of_key(problem, *section, key) from None


def _optimizer_of_one_number(name: str, arguments: Arguments) -> "Optimizer":
    from torch import nn, zeros

    parameter = nn.Parameter(zeros(1))
    parameter.grad = zeros(1)
    return cast("Callable[..., Optimizer]", optimizer_classes()[name])([parameter], **arguments)
