"""Compute layers faster on a CPU: parts of a batch in parallel threads, and a faster dropout.

Torch's own threads share each operation, and wait for each other after each; here once a pass. The
parts depend on the number of threads, and their gradients are summed in order: same bits each time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FEWEST = 16  # a part with fewer rows pays more for the overhead of each operation
RANDOM_PER_INTEGER = 4  # a random integer of 64 bits is four of 16 bits
STEPS = 2**16  # a random 16-bit integer has so many values
T = TypeVar("T")
Context: TypeAlias = Any  # torch's object that keeps for backward what forward knows


def compute_in_parts(layers: nn.Module, rows: Tensor) -> Tensor:
    """Apply layers to a batch; on a CPU, threads compute parts of the batch in parallel.

    The layers must compute each row by itself, and draw no random numbers. Where gradients of the
    rows are asked for, or a program looks at the layers (torchinfo, a tracer), the batch is whole.
    """
    count = min(torch.get_num_threads(), len(rows) // FEWEST)
    infers = torch.is_inference_mode_enabled()
    parameters = [weight for weight in layers.parameters() if weight.requires_grad]
    trains = layers.training and torch.is_grad_enabled() and parameters and not rows.requires_grad
    if count < 2 or rows.device.type != "cpu" or not (infers or trains):
        outputs: Tensor = layers(rows)
    elif infers:
        outputs = torch.cat(_map_with_one_thread_each(layers, rows.tensor_split(count)))
    else:
        outputs = apply_autograd_function(_ComputeInParts, layers, count, rows, *parameters)
    return outputs


def apply_autograd_function(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    """Call an autograd function with a typed result, since torch's `apply` has no types."""
    output: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return output


class _ComputeInParts(torch.autograd.Function):
    """Computes layers on each part of a batch, and sums the gradients of the parts."""

    @staticmethod
    def forward(
        ctx: Context, layers: nn.Module, count: int, rows: Tensor, *parameters: nn.Parameter
    ) -> Tensor:
        ctx.parameters = parameters
        ctx.outputs = _map_with_one_thread_each(layers, rows.tensor_split(count))
        return torch.cat([output.detach() for output in ctx.outputs])

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        parts = gradients[0].tensor_split(len(ctx.outputs))
        gradients_by_part = _map_with_one_thread_each(
            lambda pair: torch.autograd.grad(pair[0], ctx.parameters, pair[1]),
            list(zip(ctx.outputs, parts, strict=True)),
        )
        sums = (torch.stack(of_parts).sum(0) for of_parts in zip(*gradients_by_part, strict=True))
        return None, None, None, *sums


def _map_with_one_thread_each(work: Callable[[Any], T], items: Sequence[object]) -> list[T]:
    """Call work(item) for each item in as many threads, which each keep torch's modes."""
    threads = torch.get_num_threads()
    infers = torch.is_inference_mode_enabled()
    casts = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")
    results: dict[int, T] = {}

    def compute(index: int) -> None:
        torch.set_num_threads(1)  # this counts for the thread that calls it alone
        # Casts would be kept for all threads, and none is used again.
        with (
            torch.inference_mode(infers),
            torch.set_grad_enabled(not infers),
            torch.autocast("cpu", dtype, casts, cache_enabled=False),
        ):
            results[index] = work(items[index])

    try:
        call_in_threads(compute, len(items), threads)
    finally:
        torch.set_num_threads(threads)
    return [results[index] for index in range(len(items))]


def call_in_threads(work: Callable[[int], None], count: int, threads: int) -> None:
    """Call work(0) to work(count - 1) in several threads; a free thread takes the next call."""
    left = iter(range(count))
    helpers = min(threads, count) - 1

    def take() -> None:
        for index in left:
            work(index)

    with ThreadPoolExecutor(max(1, helpers)) as pool:
        others = [pool.submit(take) for _ in range(helpers)]
        take()
    for other in others:
        other.result()


class FastDropout(nn.Dropout):
    """Computes nn.Dropout on a CPU faster, with other random numbers of torch's generator.

    These numbers take a twelfth of the time. The share that is dropped is rounded to a multiple of
    1/65,536.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Set a share of the inputs to zero and scale the others up; keep all in evaluation."""
        if not self.training or self.p == 0 or inputs.device.type != "cpu":
            return super().forward(inputs)
        size = inputs.numel()
        integers = torch.empty(-(-size // RANDOM_PER_INTEGER), dtype=torch.int64)
        numbers = integers.random_(-(2**63), None).view(torch.int16)  # the smallest is -STEPS / 2
        dropped = min(round(self.p * STEPS), STEPS - 1)
        kept = numbers[:size].view(inputs.shape) >= dropped - STEPS // 2
        return inputs * kept.to(inputs.dtype).mul_(1 / (1 - self.p))
