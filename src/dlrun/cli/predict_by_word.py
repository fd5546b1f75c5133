"""Show what each word of a text does to its prediction: coloured words, a table, a figure."""

import itertools
from pathlib import Path

import numpy as np
from rich.style import Style
from rich.text import Text

from dlrun.cli.prediction_inputs import read_inputs
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.predictors import ByWord, Predictor, predict_by_word
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.files import write_file_atomically
from dlrun.system.json_text import to_json
from dlrun.system.text import LINE_WIDTH, pluralize

FIGURE = ".png"
TABLE = ".csv"
BARS = "▁▂▃▄▅▆▇█"
STRONGEST = 6  # so many words are named that speak for a class, and against it
FAINT = 0.15  # a word with a smaller share of the largest value has no colour
# From a weak to a strong word. Colour-blind people can tell blue from orange.
FOR = ("#deebf7", "#9ecae1", "#4292c6")
AGAINST = ("#fee6ce", "#fdae6b", "#f16913")


def check_out(out: Path) -> None:
    """Raise ConfigError if the name of the file does not say what to write."""
    if out.suffix.lower() not in (FIGURE, TABLE):
        problem = f"--out {out}: with --by-word it is a figure or a table"
        raise ConfigError(problem, f"a name that ends in {FIGURE} or {TABLE}")


def show_text_by_word(
    run: Run,
    predictor: Predictor,
    text_or_file: str,
    screen: Screen,
    *,
    out: Path | None,
    json: bool,
) -> None:
    """Predict a text word by word, and show it or write it to a file."""
    by_word = predict_by_word(predictor, _read_text(run, predictor, text_or_file))
    if out is not None:
        is_figure = out.suffix.lower() == FIGURE
        content = _draw(by_word, run) if is_figure else _to_table(by_word)
        write_file_atomically(out, content)
        screen.note(f"{'figure' if is_figure else 'table'} {out}")
    if json:
        screen.print_lines([to_json(_to_object(by_word), indent=None).rstrip()])
    elif out is not None:
        return
    elif screen.out.color_system is None or screen.out.no_color:
        screen.print_lines([*_to_lines(by_word), _head(by_word)])
    else:
        screen.show(_colour_words(by_word))
        for line in [*_explain(by_word), _head(by_word)]:
            screen.show(line)


def _read_text(run: Run, predictor: Predictor, text_or_file: str) -> str:
    if predictor.reads != "text":
        return text_or_file  # `predict_by_word` says what the run reads
    texts = list(itertools.islice(read_inputs([text_or_file], None, None, run, predictor), 2))
    if len(texts) > 1:
        raise ConfigError("--by-word: several lines", "one text, or a file of one text")
    (text,) = texts
    if text.error is not None:
        raise DlrunError(f"{text.name}: {text.error}")
    return str(text.value)


def _head(by_word: ByWord) -> str:
    """The line of the whole text is as that of `predict` without --by-word."""
    prediction = by_word.prediction
    head = f"{prediction.label}  {prediction.probability:.4f}"
    if prediction.unknown:
        head += f"  {prediction.unknown} of {pluralize(prediction.words or 0, 'word')} unknown"
    return head


def _format_value(by_word: ByWord, value: float) -> str:
    return f"{value:.4f}" if by_word.measure == "probability" else f"{value:+.4f}"


def _to_lines(by_word: ByWord) -> list[str]:
    return [
        f"{word.word}  {_format_value(by_word, word.value)}"
        + ("" if word.is_known else "  unknown")
        for word in by_word.words
    ]


def _to_object(by_word: ByWord) -> dict[str, object]:
    prediction = by_word.prediction
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": dict(prediction.labels),
        "words": prediction.words,
        "unknown": prediction.unknown,
        "measure": by_word.measure,
        "base": by_word.base,
        "by_word": [
            {"word": word.word, by_word.measure: word.value, "known": word.is_known}
            for word in by_word.words
        ],
    }


def _to_table(by_word: ByWord) -> bytes:
    rows = [(word.word, word.value, word.is_known) for word in by_word.words]
    return to_csv([("word", by_word.measure, "known"), *rows])


def _draw(by_word: ByWord, run: Run) -> bytes:
    from dlrun.plots import draw_bars_of_words, draw_line_of_words, figure_to_png  # slow

    words = [word.word for word in by_word.words]
    values = [word.value for word in by_word.words]
    draw = draw_line_of_words if by_word.measure == "probability" else draw_bars_of_words
    return figure_to_png(
        draw(words, values, by_word.label, title=f"{run.record.experiment}: {_head(by_word)}")
    )


def _colour_words(by_word: ByWord) -> Text:
    values = np.array([word.value for word in by_word.words])
    if by_word.measure == "probability":
        shares = 2 * values - 1
    else:
        shares = values / max(np.abs(values).max(), np.finfo(float).tiny)
    coloured = Text()
    for word, share in zip(by_word.words, shares.tolist(), strict=True):
        coloured.append(word.word, _style(share) if word.is_known else Style(dim=True))
        coloured.append(" ")
    return coloured


def _style(share: float) -> Style:
    """The style of a word by its share of the largest value, from -1 to 1."""
    if abs(share) < FAINT:
        return Style()
    colours = FOR if share > 0 else AGAINST
    return Style(
        color="black", bgcolor=colours[min(int(abs(share) * len(colours)), len(colours) - 1)]
    )


def _explain(by_word: ByWord) -> list[str]:
    """The lines below the coloured words say what the colours mean, and sum the values up."""
    label = by_word.label
    values = [word.value for word in by_word.words]
    if by_word.measure == "probability":
        curve = _sparkline(values)
        return [
            f"blue: the text up to the word is probably {label}; orange: not; dim: unknown",
            f"probability of {label} by word, from 0 to 1: {curve}",
        ]
    return [
        f"blue: the word speaks for {label}; orange: against; dim: unknown",
        *_name_strongest(by_word, "for", sign=1),
        *_name_strongest(by_word, "against", sign=-1),
        f"log odds of {label} without the words: {by_word.base:+.2f}",
    ]


def _name_strongest(by_word: ByWord, name: str, sign: int) -> list[str]:
    of_sign = [word for word in by_word.words if sign * word.value > 0]
    strongest = sorted(of_sign, key=lambda word: -abs(word.value))[:STRONGEST]
    named = ", ".join(f"{word.word} {word.value:+.2f}" for word in strongest)
    return [f"{name}: {named}"] if named else []


def _sparkline(probabilities: list[float]) -> str:
    """A bar for each probability; of many, evenly spaced ones to the last one."""
    places = np.linspace(0, len(probabilities) - 1, min(len(probabilities), LINE_WIDTH // 2))
    chosen = [probabilities[place] for place in places.round().astype(int)]
    return "".join(BARS[min(int(value * len(BARS)), len(BARS) - 1)] for value in chosen)
