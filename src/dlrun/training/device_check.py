"""Compare a batch's loss and gradients with the CPU's, because a faulty device raises no error."""

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
from dlrun.training.lightning_module import LightningNetwork

Measurements = dict[str, Tensor]  # the loss and the gradients, by the names that a message shows
Measure = Callable[[str, "GradientProbe"], Measurements]  # fits on a device
EPSILONS = {"64": 2**-52, "32": 2**-23, "tf32": 2**-10, "16": 2**-10, "bf16": 2**-7}
# When a device agrees with the CPU:
# - The loss and the gradient g of each parameter are compared, for one batch. The CPU computes in
#   float32, or in float64 if the run does (64-true).
# - A gradient may differ in length and direction by 4 sqrt(epsilon) |g_cpu| + epsilon |G|. epsilon
#   is that of the device's numbers. G is the gradient of all parameters: the term allows for the
#   rounding of a sum that cancels out. A message shows |g - g_cpu| and this limit divided by
#   |g_cpu| + sqrt(epsilon) / 4 |G|: the relative error, and its bound 4 sqrt(epsilon).
# - Why sqrt(epsilon): rounding changes a sum of n terms by about sqrt(n) epsilon: by less, up to
#   1 / epsilon terms (8 million in float32, in which 16 bits are summed too). Rounding also moves a
#   fraction epsilon of the units over the kink of a ReLU or a maximum, which changes a gradient by
#   about the square root of the fraction.
# - Why several draws of the weights: one unit of a small layer is a larger fraction. So a device
#   must disagree for every draw, unless a number is not finite.
# - Why the bound can grow: deep networks have more kinks. So it is at least 4 times the CPU's own
#   error after a rounding of its weights, with other random numbers. From 1 on, it says nothing.
BOUND_FACTOR = 4.0
DRAWS = 5
SCALES = (2.0**15, 2.0**10, 2.0**5, 1.0)  # of a loss in 16 bits, whose small gradients become 0


class StopAfterFirstGradients(Exception):  # noqa: N818 (no error)
    """Ends a fit when the gradients of its first batch are known."""


@dataclass(eq=False)
class GradientProbe(pl.Callback):
    """Measures the gradients of the first batch of a fit, without dropout, and ends the fit."""

    draw: int  # number of the draw of the initial weights
    rounding: float = 0  # relative change of the weights; with it, other random numbers are drawn
    measured: Measurements = field(default_factory=dict)
    # Of each layer with dropout: the layer, the name of its attribute, and the value.
    dropout_settings: list[tuple[nn.Module, str, float]] = field(default_factory=list)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Switch dropout off, seed, and round the weights if asked."""
        for layer in pl_module.modules():
            if isinstance(layer, _DropoutNd):
                self.dropout_settings.append((layer, "p", layer.p))
            elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
                self.dropout_settings.append((layer, "dropout", layer.dropout))
        for layer, attribute, _ in self.dropout_settings:
            setattr(layer, attribute, 0.0)
        # With rounding an odd seed: random numbers that no draw has without rounding.
        pl.seed_everything(2 * self.draw + bool(self.rounding), verbose=False)
        with torch.no_grad():
            for weight in pl_module.parameters() if self.rounding else ():
                if weight.is_floating_point():
                    weight.mul_(1 + self.rounding * torch.randn_like(weight))

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Measure, and raise StopAfterFirstGradients: the weights are not updated."""
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

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Switch dropout on again: another network may have the same layer."""
        for layer, attribute, original_value in self.dropout_settings:
            setattr(layer, attribute, original_value)


def _measure_at_scale(
    loss: Tensor, weights: dict[str, nn.Parameter], trainer_scale: float, trial_scale: float
) -> Measurements:
    """Return the loss and its gradients without the scales that are in them, as float64 numbers."""
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
    """Return how far the loss and the gradients of a batch on a device are from the CPU's.

    The comment above BOUND_FACTOR says when the device agrees.
    fit_batch: fits on a device, in a precision, with a probe.
    """
    uses_tf32 = device == "cuda"
    with contextlib.suppress(RuntimeError):  # the setting was made in torch's newer way
        uses_tf32 &= torch.backends.cudnn.allow_tf32  # the default of convolutions
    number_format = "tf32" if uses_tf32 and precision == "32-true" else precision

    def measure(where: str, probe: GradientProbe) -> Measurements:
        exact: Precision = "64-true" if precision == "64-true" else "32-true"
        fit_batch(where, exact if where == "cpu" else precision, probe)
        if not probe.measured:
            raise ValueError("its training_step has no backward by Lightning")
        return probe.measured

    try:
        for draw in range(DRAWS):
            comparison = _compare_draw(draw, device, number_format, measure)
            if comparison.agrees or comparison.error is None:
                break
    except Exception as raised:  # the user's code can raise anything
        return DeviceComparison(number_format, not_compared=first_line(raised))
    return comparison


def _compare_draw(draw: int, device: str, number_format: str, measure: Measure) -> DeviceComparison:
    """Return how far a device is from the CPU for one draw of the initial weights.

    Raises ValueError, for compare_with_cpu a `not_compared`, if the CPU's own gradients differ.
    """
    epsilon = EPSILONS[number_format.split("-", maxsplit=1)[0]]
    cpu_gradients = measure("cpu", GradientProbe(draw))
    error, name = largest_error(measure(device, GradientProbe(draw)), cpu_gradients, epsilon)
    bound = BOUND_FACTOR * math.sqrt(epsilon)
    if error > bound:
        rounded = measure("cpu", GradientProbe(draw, rounding=epsilon))
        bound = max(bound, BOUND_FACTOR * largest_error(rounded, cpu_gradients, epsilon)[0])
    # A bound of `inf`: the CPU's own numbers are not finite. An error of `inf` alone: the device's.
    if bound >= 1 and (error < math.inf or bound == math.inf):
        raise ValueError("on the CPU too, it is random, not finite or changed by rounding")
    return DeviceComparison(number_format, bound, error if error < math.inf else None, name)


def largest_error(
    measured: Measurements, cpu_gradients: Measurements, epsilon: float
) -> tuple[float, str]:
    """Return the largest relative error, infinite for NaN, and the name of its gradient or loss."""
    norms = {name: float(value.norm()) for name, value in cpu_gradients.items()}
    norm_of_all = math.hypot(*(norm for name, norm in norms.items() if name != "loss"))
    errors = []
    for name, cpu_value in cpu_gradients.items():
        denominator = norms[name] + math.sqrt(epsilon) / BOUND_FACTOR * norm_of_all
        error = float((measured[name] - cpu_value).norm()) / max(denominator, 1e-300)
        errors.append((error if error < math.inf else math.inf, name))  # no NaN
    return max(errors)
