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

OURS = ("params", "lr", "optimizer", "last_epoch", "verbose")  # arguments that are set here
TRIED = 1000  # steps of a schedule, at most, before the run begins
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
        """Return whether the rates depend on the number of epochs, so that no run is extended."""
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

    key: str | None  # None if the values do not fit together
    message: str = ""
    kind: Literal["value_error", "missing", "extra_forbidden"] = "value_error"  # pydantic's type
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


@cache
def check_optimizer_name(name: str) -> None:
    """Raise ArgumentError if torch has no such optimizer, or if it cannot train every network."""
    classes = optimizer_classes()
    if name not in classes:
        hint = did_you_mean(name.lower(), classes) or f"; it has {', '.join(sorted(classes))}"
        raise ArgumentError("name", f"torch.optim has no {name!r}{hint}")
    try:
        _new_optimizer(name, {}).step()
    except Exception as error:  # a class may raise anything
        reason = f"{name} cannot train these networks: {first_line(error)}"
        raise ArgumentError("name", reason) from None


def check_optimizer_arguments(name: str, lr: float, further: Mapping[str, Any]) -> None:
    """Raise ArgumentError if an optimizer lacks one of the further arguments, or refuses them."""
    found = optimizer_classes()[name]
    _check_argument_names(found, further)
    try:
        made = _new_optimizer(name, {"lr": lr, **given_arguments(further)})
        for _ in range(2):  # a momentum is first multiplied in the second
            made.step()
    except Exception as error:
        raise _refused(found, further, error) from None


def check_scheduler(
    name: str, further: Mapping[str, Any], optimizer: str, arguments: Mapping[str, Any], epochs: int
) -> None:
    """Raise ArgumentError if a scheduler lacks an argument, or cannot change an optimizer's rate.

    optimizer, arguments: the optimizer's name, with its arguments. epochs: those of the schedule.
    """
    described, found = SCHEDULERS[name], _scheduler_class(name)
    ours = {*OURS, *described.arguments}
    _check_argument_names(found, further, ours)
    parameters = inspect.signature(found).parameters.values()
    required = [one.name for one in parameters if one.default is one.empty]
    if missing := [key for key in required if key not in ours | given_arguments(further).keys()]:
        key, said = missing[0], "this key must be given"
        raise ArgumentError(key, said, "value_error" if key in further else "missing")
    trained = _new_optimizer(optimizer, arguments)
    scheduler = make_scheduler(name, further, trained, epochs=epochs, updates=TRIED)
    group, steps = trained.param_groups[0], TRIED if described.by_update else epochs
    losses = (0.0,) if described.torch_class == "ReduceLROnPlateau" else ()
    for step in range(min(steps, TRIED - 1)):
        if not 0 <= (rate := float(group["lr"])) <= LARGEST_RATE:
            raise ArgumentError(None, f"these values lead to a learning rate of {rate:.3g}")
        try:
            if step == 0:  # without an update torch warns that the scheduler is too early
                trained.step()
            scheduler.step(*losses)
        except Exception as error:
            raise _refused(found, further, error) from None


def make_scheduler(
    name: str, further: Mapping[str, Any], optimizer: "Optimizer", *, epochs: int, updates: int
) -> "LRScheduler":
    """Return the scheduler that changes an optimizer's learning rate in so many epochs or updates.

    It cycles a momentum only if the optimizer has one: torch would set it for RMSprop and SGD
    without momentum too. Raises ArgumentError if torch refuses the values.
    """
    described, groups = SCHEDULERS[name], optimizer.param_groups
    values: dict[object, object] = {"epochs": epochs, "updates": updates}
    values["rates"] = [group["lr"] for group in groups]
    ours: dict[str, Any] = {
        key: values.get(one, one) for key, one in described.arguments.items() if one is not None
    }
    found = _scheduler_class(name)
    if "cycle_momentum" in inspect.signature(found).parameters:
        ours["cycle_momentum"] = "betas" in groups[0] or bool(groups[0].get("momentum"))
    try:
        return found(optimizer, **(ours | given_arguments(further)))
    except Exception as error:
        raise _refused(found, further, error) from None


def _scheduler_class(name: str) -> "type[LRScheduler]":
    from torch.optim import lr_scheduler

    found: type[LRScheduler] = getattr(lr_scheduler, SCHEDULERS[name].torch_class)
    return found


def given_arguments(further: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not None; torch has defaults for the others."""
    return {key: value for key, value in further.items() if value is not None}


def _check_argument_names(
    found: type, further: Mapping[str, Any], ours: Collection[str] = OURS
) -> None:
    """Raise ArgumentError if a class has no such argument, or if the argument is set here.

    A switch must be true or false, too: torch takes the text `flase` for true. A number must be no
    text: torch would raise Python's TypeError.
    """
    parameters = inspect.signature(found).parameters
    known = [name for name in parameters if name not in ours]
    for key, value in further.items():
        if key not in known:
            raise ArgumentError(key, kind="extra_forbidden", known=known)
        annotation = str(parameters[key].annotation)
        if "bool" in annotation and not isinstance(value, bool | None):
            raise ArgumentError(key, f"expected true or false, got {value!r}")
        if isinstance(value, str) and re.search(r"\b(float|int)\b", annotation):
            expected = "a list of numbers" if annotation.startswith("tuple") else "a number"
            raise ArgumentError(key, f"expected {expected}, got {value!r}")


def _new_optimizer(name: str, arguments: Mapping[str, Any]) -> "Optimizer":
    """Return an optimizer of one number that has a gradient; some values are refused by step()."""
    from torch import nn, zeros

    parameter = nn.Parameter(zeros(1))
    parameter.grad = zeros(1)
    make: Any = optimizer_classes()[name]
    made: Optimizer = make([parameter], **arguments)
    return made


def _refused(found: type, further: Mapping[str, Any], error: Exception) -> ArgumentError:
    """Return the error for what a class raised: of the key in its message, or of the only one."""
    reason = first_line(error)
    named = (key for key in further if key in reason.lower())
    key = next(named, next(iter(further)) if len(further) == 1 else None)
    return ArgumentError(key, f"torch's {found.__name__}: {reason}")
