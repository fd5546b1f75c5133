"""Make torch's optimizers and learning-rate schedulers, and check their arguments in a config.

A class's own signature says which arguments it has, and the class which values it refuses. torch is
imported when a function is called, because most configs give no such argument.
"""

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from dlrun.errors import did_you_mean, first_line

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Kind = Literal["value_error", "missing", "extra_forbidden"]  # pydantic's types of an error
OURS = ("params", "lr", "optimizer", "last_epoch", "verbose")  # arguments that are set here
UPDATES = 1000  # those of a schedule that is made only to check its arguments
LARGEST_RATE = 1e30  # a learning rate has to fit in the float32 of the weights


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
    message: str = ""
    kind: Kind = "value_error"
    known: Collection[str] = ()  # the class's arguments, if the key is unknown


@cache
def optimizer_classes() -> "dict[str, type[Optimizer]]":
    """Return torch's optimizers by their names in lower case."""
    from torch import optim

    return {
        name.lower(): found
        for name, found in vars(optim).items()
        if inspect.isclass(found)
        and issubclass(found, optim.Optimizer)
        and found is not optim.Optimizer
    }


def check_optimizer_name(name: str) -> None:
    """Raise ArgumentError if torch has no such optimizer; `name` is in lower case."""
    classes = optimizer_classes()
    if name not in classes:
        hint = did_you_mean(name, classes) or f"; it has {', '.join(sorted(classes))}"
        raise ArgumentError("name", f"torch.optim has no {name!r}{hint}")


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
    losses = (0.0,) if scheduler_class.__name__ == "ReduceLROnPlateau" else ()
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

    scheduler_class: type[LRScheduler] = getattr(lr_scheduler, SCHEDULERS[name].torch_class)
    return scheduler_class


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
            raise ArgumentError(key, kind="extra_forbidden", known=known)
        annotation = str(parameters[key].annotation)
        if isinstance(value, str) and not re.search(r"\bstr\b|Literal", annotation):
            raise ArgumentError(key, f"expected true, false or numbers, got {value!r}")
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and further.get(key) is None:
            kind: Kind = "value_error" if key in further else "missing"
            raise ArgumentError(key, "this key must be given", kind)


def _optimizer_of_one_number(name: str, arguments: Mapping[str, Any]) -> "Optimizer":
    """Return an optimizer of one number that has a gradient; some values are refused by step()."""
    from torch import nn, zeros

    parameter = nn.Parameter(zeros(1))
    parameter.grad = zeros(1)
    optimizer_class: Any = optimizer_classes()[name]
    optimizer: Optimizer = optimizer_class([parameter], **arguments)
    return optimizer


def _refused(torch_class: type, further: Mapping[str, Any], error: Exception) -> ArgumentError:
    """Return the error for what a class raised: of the key in its message, or of the only one."""
    reason = first_line(error)
    named = (key for key in further if key in reason.lower())
    key = next(named, next(iter(further)) if len(further) == 1 else "name")
    return ArgumentError(key, f"torch's {torch_class.__name__}: {reason}")
