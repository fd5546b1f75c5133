"""Compare a batch's loss and gradients on a device with the CPU's: wrong ones raise no error."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from dlrun.config.network_sections import Precision
from dlrun.errors import first_line
from dlrun.system.accelerator import Agreement
from dlrun.training.lightning_module import LightningNetwork

Values = dict[str, Tensor]  # the loss and the gradients, by the names that a message shows
EPSILONS = {"64": 2**-52, "32": 2**-23, "tf32": 2**-10, "16": 2**-10, "bf16": 2**-7}
FACTOR = 4.0  # of the bound: times sqrt(epsilon), or the CPU's own error
DRAWS = 5  # of the initial weights, for which a device must disagree
SCALES = (2.0**15, 2.0**10, 2.0**5, 1.0)  # of a loss in 16 bits, whose small gradients become 0


class Measured(Exception):  # noqa: N818 (no error)
    """Ends a fit when the gradients of its first batch are known."""


@dataclass(eq=False)
class GradientProbe(pl.Callback):
    """Measures the gradients of the first batch of a fit, without dropout, and ends the fit.

    rounding: by what share the weights are changed; other random numbers are drawn too.
    """

    seed: int
    rounding: float = 0
    values: Values = field(default_factory=dict)
    shares: list[tuple[nn.Module, str, float]] = field(default_factory=list)  # of dropout

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Make the step the same on every device."""
        for part in pl_module.modules():
            if isinstance(part, _DropoutNd):
                self.shares.append((part, "p", part.p))
            elif isinstance(part, nn.RNNBase | nn.MultiheadAttention):
                self.shares.append((part, "dropout", part.dropout))
        for part, name, _ in self.shares:
            setattr(part, name, 0.0)
        pl.seed_everything(2 * self.seed + bool(self.rounding), verbose=False)
        with torch.no_grad():
            for weight in pl_module.parameters() if self.rounding else ():
                if weight.is_floating_point():
                    weight.mul_(1 + self.rounding * torch.randn_like(weight))

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Measure, and raise Measured: the weights are not updated."""
        module = pl_module.network if isinstance(pl_module, LightningNetwork) else pl_module
        weights = {
            name: weight for name, weight in module.named_parameters() if weight.requires_grad
        }
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scaled = scaler.get_scale() if scaler else 1.0
        for scale in SCALES if trainer.precision.startswith("16") else (1.0,):
            start = torch.full_like(loss, scale / scaled)
            gradients = torch.autograd.grad(
                loss, [*weights.values()], start, retain_graph=True, materialize_grads=True
            )
            self.values = {"loss": loss.detach().cpu().double() / scaled} | {
                f"gradient of {name}": gradient.cpu().to_dense().double() / scale
                for name, gradient in zip(weights, gradients, strict=True)
            }
            if all(bool(value.isfinite().all()) for value in self.values.values()):
                break
        raise Measured

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Switch dropout on again: another network may have the same layer."""
        for part, name, share in self.shares:
            setattr(part, name, share)


def compare_with_cpu(
    device: str, precision: Precision, fit: Callable[[str, Precision, GradientProbe], object]
) -> Agreement:
    """Return how far the loss and the gradients of a batch on a device are from the CPU's.

    A gradient g may differ in length and direction: |g - g_cpu| <= 4 sqrt(epsilon) |g_cpu| +
    epsilon |G|; divided by |g_cpu| + sqrt(epsilon) / 4 |G|, this is the relative error and its
    bound. epsilon is that of the device's numbers; the CPU has float32 (64-true: float64). G is the
    gradient of all weights: beside it the rounding of a sum that cancels out is nothing.

    Rounding changes a sum of n terms by about sqrt(n) epsilon, less than sqrt(epsilon) up to
    1 / epsilon terms: 8 million in float32, in which 16 bits are summed too. It moves a share of
    about epsilon of the units over the kink of a ReLU or a maximum, which changes a gradient by the
    root of the share; as one of few units is more, a device must disagree for several draws of the
    weights, unless a number is not finite. Deep networks have more kinks: the bound is at least 4
    times the CPU's error after a rounding of its weights, with other random numbers; from 1 on
    nothing is compared. fit: fits with a probe.
    """
    rounds = device == "cuda"
    with contextlib.suppress(RuntimeError):  # the setting was made in torch's newer way
        rounds &= torch.backends.cudnn.allow_tf32  # the default of convolutions
    numbers = "tf32" if rounds and precision == "32-true" else precision
    epsilon = EPSILONS[numbers.split("-", maxsplit=1)[0]]
    rounding_bound = FACTOR * math.sqrt(epsilon)

    def measure(where: str, probe: GradientProbe) -> Values:
        exact: Precision = "64-true" if precision == "64-true" else "32-true"
        fit(where, exact if where == "cpu" else precision, probe)
        if not probe.values:
            raise ValueError("its training_step has no backward by Lightning")
        return probe.values

    try:
        for draw in range(DRAWS):
            cpu = measure("cpu", GradientProbe(draw))
            error, name = largest_error(measure(device, GradientProbe(draw)), cpu, epsilon)
            bound = rounding_bound
            if error > bound:
                rounded = measure("cpu", GradientProbe(draw, rounding=epsilon))
                bound = max(bound, FACTOR * largest_error(rounded, cpu, epsilon)[0])
            if bound >= 1 and (error < math.inf or bound == math.inf):
                raise ValueError("on the CPU too, it is random, not finite or changed by rounding")
            agreement = Agreement(numbers, bound, error if error < math.inf else None, name)
            if agreement.agrees or agreement.error is None:
                break
    except Exception as error:  # the user's code can raise anything
        return Agreement(numbers, not_compared=first_line(error))
    return agreement


def largest_error(values: Values, cpu: Values, epsilon: float) -> tuple[float, str]:
    """Return the largest error, see compare_with_cpu, and of which value it is."""
    norms = {name: float(value.norm()) for name, value in cpu.items()}
    norm_of_all = math.hypot(*(norm for name, norm in norms.items() if name != "loss"))
    errors = []
    for name, value in cpu.items():
        scale = norms[name] + math.sqrt(epsilon) / FACTOR * norm_of_all
        error = float((values[name] - value).norm()) / max(scale, 1e-300)
        errors.append((error if error < math.inf else math.inf, name))  # no NaN
    return max(errors)
