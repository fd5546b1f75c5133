"""Compute RMSprop updates in one pass over each parameter; torch's optimizer needs five.

With the gradient g, the mean square v and torch's default alpha = 0.99, eps = 1e-8:

    v = alpha v + (1 - alpha) g g
    w = w - lr g / (sqrt(v) + eps)
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from dlrun.kernels import llvm_loops
from dlrun.kernels.llvm_loops import Builder, LlvmArray, Value, count_constant, write_loop

LANES = 16  # so many floats has the widest register


def can_use_one_pass_rmsprop(parameter: object) -> bool:
    """Decide whether OnePassRMSprop can update a parameter: float32, contiguous, on the CPU."""
    return (
        isinstance(parameter, Tensor)
        and parameter.device.type == "cpu"
        and parameter.dtype == torch.float32
        and parameter.is_contiguous()
    )


class OnePassRMSprop(torch.optim.RMSprop):
    """Updates parameters as torch's RMSprop does, up to rounding, in one pass over their values.

    Parameters must be float32, on the CPU and contiguous, without weight decay. With a momentum,
    which a scheduler may set, the update is torch's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters with their gradients; return the loss of `closure`, if given."""
        if any(group["momentum"] for group in self.param_groups):
            loss: float | None = super().step(closure)
            return loss
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
                numbers = group["lr"], alpha, 1 - alpha, group["eps"]
                _compile_update()(*addresses, parameter.numel(), *numbers)
        return loss


@cache
def _compile_update() -> Callable[..., None]:
    """Compile RMSprop's update: addresses of w, g, v, their size, lr, alpha, 1 - alpha, eps."""

    def write(builder: Builder, *arguments: Value) -> None:
        count = arguments[3]
        vectors = builder.udiv(count, count_constant(LANES))
        _write_update(builder, LANES, count_constant(0), vectors, *arguments)
        done = builder.mul(vectors, count_constant(LANES))
        _write_update(builder, 1, done, count, *arguments)

    return llvm_loops.compile_llvm_function(
        [*[llvm_loops.FLOATS] * 3, llvm_loops.COUNT, *[llvm_loops.FLOAT] * 4], write
    )


def _write_update(
    builder: Builder, lanes: int, start: Value, stop: Value, *arguments: Value
) -> None:
    """Write the LLVM code that updates the vectors `start` to `stop` of so many lanes."""
    w, g, v = (LlvmArray(builder, address, lanes) for address in arguments[:3])
    lr, alpha, rest, eps = (
        llvm_loops.broadcast(builder, number, lanes) for number in arguments[4:]
    )

    def update(i: Value) -> None:
        gradient = g[i]
        new = builder.fmul(builder.fmul(rest, gradient), gradient)
        mean = builder.fadd(builder.fmul(v[i], alpha), new)
        divisor = builder.fadd(llvm_loops.call_intrinsic(builder, "sqrt", mean), eps)
        v[i] = mean
        w[i] = builder.fsub(w[i], builder.fdiv(builder.fmul(lr, gradient), divisor))

    write_loop(builder, start, stop, update)
