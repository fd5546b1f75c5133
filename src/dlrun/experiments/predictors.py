"""Predict classes or values of new inputs with a finished run."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dlrun.data import photographs
from dlrun.data.array_cache import Array
from dlrun.data.photographs import Labelled, Photograph
from dlrun.data.text_files import read_text_file
from dlrun.errors import ConfigError, DataError
from dlrun.runs.predictions_csv import MOST_CLASSES, OF_CLASS
from dlrun.system.spelling import did_you_mean
from dlrun.system.text import shorten_list

if TYPE_CHECKING:
    import pandas as pd

KINDS_OF_INPUT = {"text": "texts", "image": "images", "row": "rows of a table"}  # by `reads`
MOST_LABELS = 5  # of an image, unless the run's config says how many
Input = str | Path | Mapping[str, object]  # what a user asks a prediction for


@dataclass(frozen=True)
class Prediction:
    """Holds the class or number predicted for one input, or why the input is unreadable.

    labels: classes with their probabilities, the most probable first; empty for a number.
    value: the predicted number, or None for a class.
    words, unknown: how many words a text has, and how many of them are not in the vocabulary.
    """

    labels: Labelled = field(default_factory=list)
    value: float | None = None
    words: int | None = None
    unknown: int | None = None
    error: str | None = None

    @property
    def predicted(self) -> str | float | None:
        """Return the most probable class, or the value; None of an input with an error."""
        return self.label if self.labels else self.value

    @property
    def label(self) -> str:
        """Return the most probable class."""
        return self.labels[0][0]

    @property
    def probability(self) -> float:
        """Return the probability of the most probable class."""
        return self.labels[0][1]


@dataclass(frozen=True)
class WordValue:
    """Holds a word of a text, its value, and whether it is in the vocabulary; see `ByWord`."""

    word: str
    value: float
    is_known: bool


@dataclass(frozen=True)
class ByWord:
    """Holds the prediction for a text, and a value of its most probable class for each word.

    A model that reads words in their order has the measure `probability`: that of the class if the
    text ended with the word. A model that reads which words there are has the measure `log_odds`:
    by how much the class's log odds would fall without the word. Then each different word stands
    once; unknown words, which are one to the model, stand together, joined by blanks.

    base: the class's probability, or log odds, if the text had no words.
    """

    prediction: Prediction
    measure: Literal["probability", "log_odds"]
    base: float
    words: list[WordValue]

    @property
    def label(self) -> str:
        """Return the class that the values are of: the most probable one."""
        return self.prediction.label

    @property
    def frame(self) -> "pd.DataFrame":
        """Return a DataFrame with a row for each word: `word`, the measure, and `known`."""
        import pandas as pd  # slow

        rows = [(word.word, word.value, word.is_known) for word in self.words]
        return pd.DataFrame(rows, columns=["word", self.measure, "known"])


def read_input(value: Input, reads: str, text_column: str) -> Input:
    """Check a user's input, and make of it what a predictor reads: a text, an image or a row.

    A text may also be in a file, or in the column `text_column` of a row. Raises DlrunError if the
    input is of another kind.
    """
    if reads == "text" and isinstance(value, Mapping):
        if text_column not in value:
            hint = did_you_mean(text_column, map(str, value))
            raise DataError(f"no column {text_column!r}{hint}")
        value = str(value[text_column])
    if not isinstance(value, Mapping if reads == "row" else (str, Path)):
        problem = "not a row" if reads == "row" else "neither a text nor the Path of a file"
        raise ConfigError(f"{value!r}: {problem}")
    if reads != "text" or not isinstance(value, Path):
        return value
    try:
        return read_text_file(value)
    except DataError as error:
        raise DataError(f"{value}: {error.message}") from None


class Predictor(ABC):
    """Predicts classes or values of new inputs with a run's model and preprocessing.

    reads: the kind of input: a text, an image file, or a row of a table (column -> text).
    columns: those that a row needs. labels: names of the classes; none for numbers.
    shown: how many labels a prediction lists; None: all.
    unknown_levels: by column, the categories of predicted rows that no training row has.
    """

    reads: ClassVar[Literal["text", "image", "row"]]
    columns: Sequence[str]
    labels: Sequence[str]
    shown: int | None = None
    unknown_levels: Mapping[str, set[str]] = MappingProxyType({})

    @abstractmethod
    def predict(self, inputs: Sequence[Any]) -> list[Prediction]:
        """Predict each input, in order."""

    def by_word(self, text: str) -> ByWord:
        """Say what each word of a text does; raise ConfigError if the model is none of texts."""
        problem = f"this run reads {KINDS_OF_INPUT[self.reads]}, not texts"
        if self.reads == "text":
            problem = "this run's experiment does not predict a text word by word"
        raise ConfigError(f"word by word: {problem}", "runs of imdb-* and text-* can do so")

    @property
    def class_columns(self) -> dict[str, str]:
        """Return by class the column of a table of predictions that has its probability.

        The names are those of predictions.csv. There are none of more than MOST_CLASSES classes, or
        if a prediction lists only some.
        """
        if self.shown is not None or len(self.labels) > MOST_CLASSES:
            return {}
        return {label: f"{OF_CLASS}{label}" for label in self.labels}

    def ranked(self, probabilities: NDArray[np.float64]) -> Labelled:
        """Name the classes with their probabilities (classes,), the most probable first."""
        order = (-probabilities).argsort(kind="stable")[: self.shown]
        return [(self.labels[index], float(probabilities[index])) for index in order]


def describe_unknown_levels(predictor: Predictor) -> list[str]:
    """Return a warning for each column with categories that no training row has."""
    warnings = []
    for name, levels in predictor.unknown_levels.items():
        shown = shorten_list([repr(level) for level in sorted(levels)])
        warnings.append(f"column {name!r}: no training row has {shown}: read as an average level")
    return warnings


def predict(
    predictor: Predictor, inputs: "Input | Iterable[Input]", text_column: str = "text"
) -> list[Prediction]:
    """Predict texts, files (a Path) of texts or images, or rows of a table.

    A row is a mapping from columns to values. The prediction of an image or a row may be an error.
    text_column: the column that has the text of a row. Raises DlrunError if the predictor does not
    read this kind of input.
    """
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):
        inputs = [inputs]
    read = [read_input(value, predictor.reads, text_column) for value in inputs]
    return predictor.predict(read) if read else []


def predict_by_word(predictor: Predictor, text: str | Path) -> ByWord:
    """Say what each word of a text does, or of the text in a file (a Path).

    Raises DlrunError if the predictor reads no texts, or the text cannot be read.
    """
    if predictor.reads == "text":
        text = cast("str", read_input(text, "text", ""))
    return predictor.by_word(cast("str", text))


def predict_frame(
    predictor: Predictor, frame: "pd.DataFrame", text_column: str = "text"
) -> "pd.DataFrame":
    """Predict the rows of a DataFrame; return a DataFrame with the same index.

    Its columns are `predicted`, of classes also `probability` and those of `class_columns`, and
    `error` if a row has one.
    """
    import pandas as pd  # slow

    # Integers with a gap are floats in a frame, and 3 would be 3.0.
    cells = frame.convert_dtypes(convert_string=False).astype(object).where(frame.notna(), "")
    cells.columns = cells.columns.map(str)  # a column may be named 2010
    rows = cells.to_dict("records")
    predictions = predict(predictor, cast("list[Input]", rows), text_column)
    columns: dict[str, list[object]] = {
        "predicted": [prediction.predicted for prediction in predictions]
    }
    if predictor.labels:
        columns["probability"] = [
            prediction.probability if prediction.labels else math.nan for prediction in predictions
        ]
    of_classes = [dict(prediction.labels) for prediction in predictions]
    for label, column in predictor.class_columns.items():
        columns[column] = [probabilities.get(label, math.nan) for probabilities in of_classes]
    if any(prediction.error for prediction in predictions):
        columns["error"] = [prediction.error for prediction in predictions]
    return pd.DataFrame(columns, index=frame.index)


@dataclass
class ImagePredictor(Predictor):
    """Predicts the classes of image files of any colour mode, size and orientation.

    to_input: converts a PIL image, upright and RGB, to the network's input.
    probabilities: inputs -> probabilities (n_inputs, classes).
    smallest: see `data.photographs.read_photograph`.
    """

    reads = "image"
    labels: Sequence[str]
    to_input: photographs.ToInput
    probabilities: Callable[[list[Any]], NDArray[np.float64]]
    shown: int | None = None
    smallest: int = photographs.LARGE

    def predict(self, inputs: Sequence[str | Path]) -> list[Prediction]:
        """Predict each image file. A file that cannot be read gets its error."""
        files = [Path(file) for file in inputs]
        batch = list(photographs.iterate_photographs(files, self.to_input, smallest=self.smallest))
        return [Prediction(photo.labels, error=photo.error) for photo in self.label(batch)]

    def label(self, batch: Sequence[Photograph]) -> list[Photograph]:
        """Put its labels into each photograph, in place of its pixels."""
        readable = [photo.pixels for photo in batch if photo.error is None]
        rows = iter(self.probabilities(readable) if readable else ())
        return [
            photo
            if photo.error is not None
            else replace(photo, pixels=None, labels=self.ranked(next(rows)))
            for photo in batch
        ]


@dataclass
class RowPredictor(Predictor):
    """Predicts the class or the value of table rows with a run's model.

    columns: see Predictor; a row's other columns are ignored.
    to_input: converts the texts of a row, by column, to the model's input (...), or raises
    ValueError or DataError with the reason why the row cannot be predicted.
    infer: inputs (rows, ...) -> class probabilities (rows, classes), or values (rows,).
    """

    reads = "row"
    columns: Sequence[str]
    to_input: Callable[[Mapping[str, str]], Array]
    infer: Callable[[Array], NDArray[np.float64]]
    labels: Sequence[str] = ()

    def predict(self, inputs: Sequence[Mapping[str, object]]) -> list[Prediction]:
        """Predict each row. A row that cannot be predicted gets its error."""
        read = [self._read(row) for row in inputs]
        arrays = [row for row in read if not isinstance(row, Prediction)]
        outputs = iter(self.infer(np.stack(arrays)) if arrays else ())
        return [
            row if isinstance(row, Prediction) else self._prediction(next(outputs)) for row in read
        ]

    def _read(self, row: Mapping[str, object]) -> Array | Prediction:
        """Make the model's input of a row, or a Prediction with the reason why the row has none."""
        if missing := [name for name in self.columns if name not in row]:
            return Prediction(error=f"no column {missing[0]!r}")
        texts = {name: "" if row[name] is None else str(row[name]) for name in self.columns}
        try:
            return self.to_input(texts)
        except (DataError, ValueError) as error:
            return Prediction(error=str(error))

    def _prediction(self, output: NDArray[np.float64]) -> Prediction:
        if not np.isfinite(output).all():
            return Prediction(error="no finite prediction: a value is too large, or is NaN")
        if self.labels:
            return Prediction(self.ranked(output))
        return Prediction(value=float(output))
