"""Define what a run keeps for its network besides the weights."""

from typing import Self

from pydantic import BaseModel

from dlrun.runs.run import Run


class NetworkAssets(BaseModel, frozen=True):
    """Holds what a network needs besides its weights, such as its labels; subclasses add fields.

    A run saves its assets as assets.json and reads this file again when its network is used.

    labels: the names of the classes; empty if the network does not classify.
    """

    labels: list[str] = []

    def values(self) -> dict[str, object]:
        """Return the fields of the assets that are not None, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return the assets of a run."""
        return cls.model_validate(run.assets)
