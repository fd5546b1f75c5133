"""Make the optimizer that a config names."""

from collections.abc import Iterable
from typing import Any, assert_never

import torch
from torch import nn

from dlrun.config.network_sections import OptimizerConfig
from dlrun.kernels.rmsprop import OnePassRMSprop, can_use_one_pass_rmsprop


def make_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """Make the optimizer that a config names, for parameters or for groups of parameters.

    The optimizer is torch's; for a plain RMSprop it is dlrun's, which is faster.
    """
    trained = [*parameters]
    match config.name:
        case "rmsprop":
            is_plain = not (config.momentum or config.weight_decay)
            if is_plain and all(map(can_use_one_pass_rmsprop, trained)):
                return OnePassRMSprop(trained, **config.arguments)
            return torch.optim.RMSprop(trained, **config.arguments)
        case "adam":
            return torch.optim.Adam(trained, **config.arguments)
        case "adamw":
            return torch.optim.AdamW(trained, **config.arguments)
        case "sgd":
            return torch.optim.SGD(trained, **config.arguments)
    assert_never(config.name)
