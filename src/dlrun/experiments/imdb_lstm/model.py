"""Define the lab's LSTM network (ISLP 10.9.6): embedding, LSTM, linear layer on its last state."""

from torch import Tensor, nn

from dlrun.kernels.lstm import LSTMLastState, lstm_states


class LSTMClassifier(nn.Module):
    """Classifies a review from its word ids, padded in front with 0; two classes have one logit.

    words: how many different word ids exist. embedding, hidden: sizes of an embedding vector and
    of the state.
    threads: see `LSTMLastState`.
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        hidden: int,
        classes: int = 2,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1 if classes == 2 else classes)
        self.last_state = LSTMLastState(threads)
        self._binary = classes == 2

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of reviews, (batch,), or (batch, classes) for more than two classes."""
        logits: Tensor = self.output(self.last_state(self.lstm, self.embedding, ids))
        return logits.flatten() if self._binary else logits

    def after_each(self, ids: Tensor) -> Tensor:
        """Return the logits (time, ...) after each word id of one review (time,)."""
        logits: Tensor = self.output(lstm_states(self.lstm, self.embedding, ids))
        return logits.squeeze(-1)
