"""The base class of config sections, and the types that several of them share."""

import os
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict


class Section(BaseModel):
    """A mapping in a config: unknown keys and silent conversions are errors, and it is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def absolute(path: Path) -> Path:
    """Return the absolute path, with `~` expanded. Raises ValueError if there is no home folder."""
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path}") from None


# A path in a config: made absolute, so that a run's own config.yaml repeats it from any folder.
LocalPath = Annotated[Path, Strict(False), AfterValidator(absolute)]
PositiveInt = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

S = TypeVar("S", bound=Section)
