"""A device whose arithmetic is wrong below torch's dispatcher: the CPU, under another name.

`python -m tests.training.wrong_device KIND WORDS` is `dlrun WORDS` where it is the CUDA device.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution}
GRADIENTS = {aten.convolution_backward}
Change = Callable[[Any], Any]


class Arithmetic(TorchDispatchMode):
    """Changes the tensors that some operations return, and those that they get."""

    def __init__(self, operations: set[Any], change: Change, inputs: Change = lambda it: it):
        super().__init__()
        self.operations, self.change, self.inputs = operations, change, inputs

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket not in self.operations:
            return func(*args, **kwargs or {})
        found = func(*map(self.inputs, args), **kwargs or {})
        return tuple(map(self.change, found)) if isinstance(found, tuple) else self.change(found)


class AnotherOrder(TorchDispatchMode):
    """Right, but each sum begins at its other end, as on a device with other kernels."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind, more = func.overloadpacket, kwargs or {}
        if kind in {aten.mm, aten.bmm, aten.addmm, aten.baddbmm}:
            args = (*args[:-2], args[-2].flip(-1), args[-1].flip(-2))
        elif kind is aten.convolution and args[8] == 1:  # the input channels
            args = (args[0].flip(1), args[1].flip(1), *args[2:])
        elif kind is aten.convolution_backward:  # the rows
            args = (args[0].flip(0), args[1].flip(0), *args[2:])
            inputs, *others = func(*args, **more)
            return (inputs if inputs is None else inputs.flip(0), *others)
        elif kind is aten.sum and 0 in (*args[1:2], [0])[0]:
            args = (args[0].flip(0), *args[1:])
        return func(*args, **more)


def of_floats(change: Change) -> Change:
    """Leave the other arguments and results as they are."""
    return lambda it: change(it) if isinstance(it, Tensor) and it.is_floating_point() else it


def times(factor: float) -> Change:
    return of_floats(lambda it: it * factor)


rounded = of_floats(lambda it: it.bfloat16().float())
with_a_nan = of_floats(lambda it: it.index_fill(0, torch.tensor(len(it) - 1), torch.nan))
KINDS: dict[str, Callable[..., TorchDispatchMode]] = {
    "right": lambda: Arithmetic(set(), times(1)),
    "another order": AnotherOrder,
    "products": lambda factor=1.5: Arithmetic(PRODUCTS, times(factor)),
    "convolution gradients": lambda factor=1.5: Arithmetic(GRADIENTS, times(factor)),
    "reductions": lambda factor=1.5: Arithmetic({aten.sum, aten.mean}, times(factor)),
    "nan": lambda: Arithmetic(PRODUCTS, with_a_nan),
    "bfloat16": lambda: Arithmetic(PRODUCTS | GRADIENTS, rounded, rounded),
}


class Device(CPUAccelerator):
    """The CPU with other arithmetic while a Trainer uses it; casts: in mixed precision."""

    arithmetic: TorchDispatchMode
    casts: torch.dtype | None = None

    def setup_device(self, device: torch.device) -> None:
        self.stack = ExitStack()
        if self.casts is not None:
            self.stack.enter_context(torch.autocast("cpu", self.casts))
        self.stack.enter_context(self.arithmetic)

    def teardown(self) -> None:
        self.stack.close()


@contextmanager
def registered(name: str, arithmetic: TorchDispatchMode, precision: str = "") -> Iterator[None]:
    """Let Lightning have the device in the block; `precision` of the run, if it is mixed."""
    casts = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    AcceleratorRegistry.pop(name, None)
    kind = type("It", (Device,), {"arithmetic": arithmetic, "casts": casts})
    AcceleratorRegistry.register(name, kind)
    yield
    AcceleratorRegistry.pop(name)


def main(kind: str, *words: str) -> int:
    from dlrun.cli.main import run_command_line

    torch.version.cuda, torch.cuda.is_available = "12.8", lambda: True
    with registered("cuda", KINDS[kind]()):
        return run_command_line([*words])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
