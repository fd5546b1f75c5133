"""Compare a device's loss and gradients of a batch with the CPU's: a fault may raise no error.

What is compared: the loss of one batch, and the gradient g of each parameter. The CPU computes in
float32, or in float64 if the run does.

The bound: |g - g_cpu| may be at most 4 sqrt(epsilon) |g_cpu| + epsilon |G|.
- epsilon is the distance from 1 to the next number that the device can represent (EPSILONS).
- G is the gradient of all parameters together. Its term allows for sums that cancel out.
- A message divides both sides by |g_cpu| + sqrt(epsilon) / 4 |G|. So it shows a relative error, and
  its bound 4 sqrt(epsilon).

Why sqrt(epsilon):
- Rounding changes a sum of n terms by about sqrt(n) epsilon. That is less than sqrt(epsilon) up to
  1 / epsilon terms: 8 million in float32, in which sums of 16-bit numbers are computed too.
- Rounding also moves a fraction epsilon of all units over the kink of a ReLU or of a maximum. That
  changes a gradient by about the square root of the fraction.

Why several draws of the weights: in a small layer one unit is a larger fraction. So a device is
faulty only if it disagrees for every draw, or if a number is not finite.

Why the bound can grow: a deep network has more kinks. So the bound is at least 4 times the error
that the CPU itself makes if its weights are rounded and other random numbers are drawn. A bound of
1 or more says nothing.
"""

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
from dlrun.system.accelerator import DeviceComparison
from dlrun.training.lightning_network import LightningNetwork

Measurements = dict[str, Tensor]  # the loss and the gradients, by the names that a message shows
MeasureBatch = Callable[[str, "GradientProbe"], Measurements]  # it measures on the named device
# By the number format that a device computes with: the distance from 1 to the next larger number.
EPSILONS = {"64": 2**-52, "32": 2**-23, "tf32": 2**-10, "16": 2**-10, "bf16": 2**-7}
BOUND_FACTOR = 4.0  # the 4 in the bound
DRAWS = 5  # at most so many initial weights are drawn
# Of a loss in 16 bits: without a scale its small gradients become 0.
SCALES = (2.0**15, 2.0**10, 2.0**5, 1.0)


class StopAfterFirstGradients(Exception):  # noqa: N818 (no error)
    """Ends a fit when the gradients of its first batch are known."""


@dataclass(eq=False)
class GradientProbe(pl.Callback):
    """Measures the gradients of the first batch of a fit, without dropout, and ends the fit."""

    draw: int  # which draw of the initial weights it measures, from 0
    # The relative change of the weights. If not 0, other random numbers are drawn.
    rounding: float = 0
    measured: Measurements = field(default_factory=dict)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Switch dropout off, seed the random generators, and round the weights if asked."""
        for layer in pl_module.modules():
            if isinstance(layer, _DropoutNd):
                layer.p = 0.0
            elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
                layer.dropout = 0.0
        # With rounding an odd seed: random numbers that no draw has without rounding.
        pl.seed_everything(2 * self.draw + bool(self.rounding), verbose=False)
        with torch.no_grad():
            for weight in pl_module.parameters() if self.rounding else ():
                if weight.is_floating_point():
                    weight.mul_(1 + self.rounding * torch.randn_like(weight))

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Measure the gradients, and end the fit before the weights are updated."""
        module = pl_module.network if isinstance(pl_module, LightningNetwork) else pl_module
        weights = {
            name: weight for name, weight in module.named_parameters() if weight.requires_grad
        }
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        trainer_scale = scaler.get_scale() if scaler else 1.0
        # Smaller scales are tried until nothing overflows.
        for trial_scale in SCALES if trainer.precision.startswith("16") else (1.0,):
            self.measured = _measure_at_scale(loss, weights, trainer_scale, trial_scale)
            if all(bool(value.isfinite().all()) for value in self.measured.values()):
                break
        raise StopAfterFirstGradients


def _measure_at_scale(
    loss: Tensor, weights: dict[str, nn.Parameter], trainer_scale: float, trial_scale: float
) -> Measurements:
    """Measure a loss and its gradients in float64, at a scale that is then divided out.

    trainer_scale: the scale that the trainer has put into the loss.
    """
    loss_gradient = torch.full_like(loss, trial_scale / trainer_scale)
    gradients = torch.autograd.grad(
        loss, [*weights.values()], loss_gradient, retain_graph=True, materialize_grads=True
    )
    return {"loss": loss.detach().cpu().double() / trainer_scale} | {
        f"gradient of {name}": gradient.cpu().to_dense().double() / trial_scale
        for name, gradient in zip(weights, gradients, strict=True)
    }


def compare_with_cpu(
    device: str, precision: Precision, fit_batch: Callable[[str, Precision, GradientProbe], object]
) -> DeviceComparison:
    """Measure how far the loss and the gradients of a batch on a device are from the CPU's.

    fit_batch: fits one batch on a device, in a precision, with a probe.
    """
    uses_tf32 = device == "cuda"
    with contextlib.suppress(RuntimeError):  # if it was set in torch's newer way: TF32 is assumed
        uses_tf32 &= torch.backends.cudnn.allow_tf32  # the default of convolutions
    number_format = "tf32" if uses_tf32 and precision == "32-true" else precision

    def measure(used_device: str, probe: GradientProbe) -> Measurements:
        cpu_precision: Precision = "64-true" if precision == "64-true" else "32-true"
        fit_batch(used_device, cpu_precision if used_device == "cpu" else precision, probe)
        return probe.measured

    try:
        for draw in range(DRAWS):
            comparison = _compare_draw(draw, device, number_format, measure)
            if comparison.agrees or comparison.error is None:  # None: not finite, and final
                break
    except Exception as raised:  # the user's code can raise anything
        return DeviceComparison(number_format, not_compared=first_line(raised))
    return comparison


def _compare_draw(
    draw: int, device: str, number_format: str, measure: MeasureBatch
) -> DeviceComparison:
    """Measure how far a device is from the CPU for one draw of the initial weights.

    Raises ValueError if the CPU's own numbers are not finite, or change with random numbers.
    """
    epsilon = EPSILONS[number_format.split("-", maxsplit=1)[0]]
    cpu_measurements = measure("cpu", GradientProbe(draw))
    error, name = _largest_error(measure(device, GradientProbe(draw)), cpu_measurements, epsilon)
    bound = BOUND_FACTOR * math.sqrt(epsilon)
    if error > bound:
        rounded = measure("cpu", GradientProbe(draw, rounding=epsilon))
        bound = max(bound, BOUND_FACTOR * _largest_error(rounded, cpu_measurements, epsilon)[0])
    cpu_is_finite = bound < math.inf
    device_is_finite = error < math.inf
    if not cpu_is_finite or (device_is_finite and bound >= 1):
        raise ValueError("on the CPU too, it is random, not finite or changed by rounding")
    return DeviceComparison(number_format, bound, error if device_is_finite else None, name)


def _largest_error(
    measured: Measurements, cpu_measurements: Measurements, epsilon: float
) -> tuple[float, str]:
    """Find the largest relative error of a loss or gradient, infinite for NaN, and its name."""
    norms = {name: float(value.norm()) for name, value in cpu_measurements.items()}
    norm_of_all = math.hypot(*(norm for name, norm in norms.items() if name != "loss"))
    errors = []
    for name, cpu_value in cpu_measurements.items():
        # |G| is for the loss too: weights that change by epsilon can change it by epsilon |G|.
        denominator = norms[name] + math.sqrt(epsilon) / BOUND_FACTOR * norm_of_all
        error = float((measured[name] - cpu_value).norm()) / max(denominator, 1e-300)
        errors.append((error if error < math.inf else math.inf, name))  # NaN becomes infinity
    return max(errors)
