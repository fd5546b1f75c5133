"""Compute RMSprop in one pass over each parameter, where torch's own makes five.

With the gradient g, the mean square v and torch's default alpha = 0.99, eps = 1e-8:

    v = alpha v + (1 - alpha) g g
    w = w - lr g / (sqrt(v) + eps)
"""

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, nn

from dlrun.kernels import llvm
from dlrun.kernels.llvm import Builder, LlvmArray, Value

LANES = 16  # floats in the widest register


def rmsprop(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.RMSprop:
    """Return an RMSprop optimizer: the one-pass one if it can update all parameters, or torch's."""
    given = list(parameters)
    return (OnePassRMSprop if all(map(_is_plain, given)) else torch.optim.RMSprop)(given, lr=lr)


def _is_plain(parameter: Tensor) -> bool:
    return (
        parameter.device.type == "cpu"
        and parameter.dtype == torch.float32
        and parameter.is_contiguous()
    )


class OnePassRMSprop(torch.optim.RMSprop):
    """Computes the steps of torch's RMSprop in one pass, equal up to rounding.

    It takes float32 parameters in C order on the CPU, and of torch's options the learning rate.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one optimizer step; return what `closure`, which computes the gradients, returns."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            alpha = group["alpha"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["square_avg"] = torch.zeros_like(parameter)
                state["step"] += 1
                arrays = parameter, parameter.grad.contiguous(), state["square_avg"]
                addresses = (array.data_ptr() for array in arrays)
                _update()(
                    *addresses, parameter.numel(), group["lr"], alpha, 1 - alpha, group["eps"]
                )
        return loss


@cache
def _update() -> Callable[..., None]:
    """Compile the step of w, g, v, their size, lr, alpha, 1 - alpha and eps."""
    return llvm.compile_function([*[llvm.FLOATS] * 3, llvm.COUNT, *[llvm.FLOAT] * 4], _write_update)


def _write_update(builder: Builder, *arguments: Value) -> None:
    addresses, count, numbers = arguments[:3], arguments[3], arguments[4:]
    vectors = builder.udiv(count, llvm.count_constant(LANES))
    rest = builder.mul(vectors, llvm.count_constant(LANES))
    for width, start, stop in ((LANES, llvm.count_constant(0), vectors), (1, rest, count)):
        _write_loop(builder, width, start, stop, addresses, numbers)


def _write_loop(
    builder: Builder, width: int, start: Value, stop: Value, addresses: Value, numbers: Value
) -> None:
    w, g, v = (LlvmArray(builder, address, width) for address in addresses)
    lr, alpha, rest, eps = (llvm.broadcast(builder, number, width) for number in numbers)

    def update(i: Value) -> None:
        gradient = g[i]
        new = builder.fmul(builder.fmul(rest, gradient), gradient)
        mean = builder.fadd(builder.fmul(v[i], alpha), new)
        divisor = builder.fadd(llvm.call_intrinsic(builder, "sqrt", mean), eps)
        v[i] = mean
        w[i] = builder.fsub(w[i], builder.fdiv(builder.fmul(lr, gradient), divisor))

    llvm.write_loop(builder, start, stop, update)
