"""The lab's recurrent network for sentiment (ISLP 10.9.6)."""

from torch import Tensor, nn


class LSTMClassifier(nn.Module):
    """Embedding, one LSTM layer, and a linear layer on the last output."""

    def __init__(self, words: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Word ids (batch, time), padded in front -> logits (batch,)."""
        outputs, _ = self.lstm(self.embedding(sequences))
        logits: Tensor = self.output(outputs[:, -1])
        return logits.squeeze(-1)
