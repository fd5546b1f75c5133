"""Define the lab's recurrent network on sequences of trading days (ISLP 10.9.6)."""

from torch import Tensor, nn


class RecurrentNetwork(nn.Module):
    """Applies a recurrent layer to a sequence, and a linear layer to its last output.

    inputs: values of a step. hidden: units of the recurrent layer. dropout: the share of the last
    output's units that is dropped in training.
    """

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return a value (batch,) for each of the sequences (batch, steps, inputs)."""
        outputs, _ = self.rnn(sequences)
        values: Tensor = self.dense(self.dropout(outputs[:, -1])).flatten()
        return values
