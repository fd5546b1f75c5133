"""RMSprop in one pass over each parameter."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.kernels import llvm
from dlrun.kernels.llvm import COUNT, FLOAT, Builder, Value

LANES = 16  # floats in the widest register


def rmsprop(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.RMSprop:
    """RMSprop with torch's defaults: in one pass where all parameters allow that, else torch's."""
    found = list(parameters)
    return (OnePassRMSprop if all(map(_is_plain, found)) else torch.optim.RMSprop)(found, lr=lr)


def _is_plain(parameter: Tensor) -> bool:
    return (
        parameter.device.type == "cpu"
        and parameter.dtype == torch.float32
        and parameter.is_contiguous()
    )


class OnePassRMSprop(torch.optim.RMSprop):
    """The same function and the same state as torch's, up to rounding; torch makes five passes.

    For float32 parameters in C order on the CPU; of torch's options only the learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what `closure`, which computes the gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alpha = group["alpha"]
            constants = group["lr"], alpha, 1 - alpha, group["eps"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad.contiguous(), constants)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, constants: Sequence[float]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["square_avg"] = torch.zeros_like(parameter)
        state["step"] += 1
        arrays = parameter, gradient, state["square_avg"]
        addresses = [array.data_ptr() for array in arrays]
        _kernel()(*addresses, parameter.numel(), *constants)


@cache
def _kernel() -> Callable[..., None]:
    """Takes parameter, gradient, mean square, count; learning rate, alpha, 1 - alpha, epsilon."""
    arrays, constants = [llvm.pointer(FLOAT)] * 3, [FLOAT] * 4
    return llvm.function([*arrays, COUNT, *constants], _write)


def _write(builder: Builder, *arguments: Value) -> None:
    arrays, count, constants = arguments[:3], arguments[3], arguments[4:]
    whole = builder.and_(count, llvm.constant(-LANES))
    for lanes, start, stop in ((LANES, llvm.constant(0), whole), (1, whole, count)):
        _write_loop(builder, arrays, constants, (start, stop), lanes)


def _write_loop(
    builder: Builder,
    arrays: Sequence[Value],
    constants: Sequence[Value],
    bounds: tuple[Value, Value],
    lanes: int,
) -> None:
    kind = llvm.numbers(lanes)
    rate, alpha, rest, epsilon = (llvm.repeated(builder, value, lanes) for value in constants)

    def update(i: Value) -> Sequence[Value]:
        places = [llvm.at(builder, array, i, kind) for array in arrays]
        parameter, gradient, square = (builder.load(place, align=4) for place in places)
        new = builder.fmul(builder.fmul(rest, gradient), gradient)
        square = builder.fadd(builder.fmul(square, alpha), new)
        divisor = builder.fadd(llvm.square_root(builder, square, lanes), epsilon)
        change = builder.fdiv(builder.fmul(rate, gradient), divisor)
        builder.store(square, places[2], align=4)
        builder.store(builder.fsub(parameter, change), places[0], align=4)
        return []

    llvm.loop(builder, *bounds, update, step=lanes)
