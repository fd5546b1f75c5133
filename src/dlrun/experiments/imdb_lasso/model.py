"""The lasso's linear model as a network."""

import torch
from torch import Tensor, nn

from dlrun.kernels.bag_linear import BagLinear
from dlrun.kernels.bag_of_words import Bag, Bags
from dlrun.lasso.storage import ChosenModel


class LinearClassifier(nn.Module):
    """The linear model at one lambda: bags of words -> logits (batch,)."""

    def __init__(self, model: ChosenModel) -> None:
        super().__init__()
        self.linear = BagLinear(len(model.coef), 1)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(model.coef)[:, None])
            self.linear.bias.fill_(model.intercept)

    def forward(self, bags: Bags | Bag | Tensor) -> Tensor:
        """Return the logits (batch,)."""
        logits: Tensor = self.linear(bags)
        return logits.squeeze(-1)
