"""Draw the figures of runs by matplotlib: learning curves, predictions, paths, photographs."""

import contextlib
import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun import stats
from dlrun.metrics import PARTS
from dlrun.system.library_imports import outside_working_folder
from dlrun.system.text import cut

with outside_working_folder():
    import matplotlib
    import matplotlib.figure
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

ColumnsByName = Mapping[str, Sequence[float]]  # as a CSV file has them
FloatArray = NDArray[np.float64]
ConfigRow = tuple[str, Mapping[str, Sequence[float]]]
Labels = Sequence[tuple[str, float]]  # labels with their probabilities, the most probable first

COLOURS = {"train": "#1f77b4", "cv": "#2ca02c", "valid": "#ff7f0e", "test": "#2c2c2c"}
PANELS_PER_ROW = 3
MOST_COLUMNS = 20  # of a table, in one figure
LAST_DAYS = 60  # of a series, which can be told apart by the eye
DPI = 120
COMPRESSION = 2  # zlib's level: four times as fast as 6 for photographs, and 14 % larger
# Inches, of a title. Its letters have .076 on average, and wide ones need more.
LETTER_WIDTH = 0.085
LINE_HEIGHT = 0.18
EPOCH_SPLITS = ("train", "valid")  # they have a value for each epoch
PROBABILITY_BINS = 10
MOST_LABELLED = 8  # so many coefficients of a path are named
# Of a text's words: inches of each in a line, inches of the whole, characters, and bars.
WORD_WIDTH = 0.2
MOST_WIDTH = 16.0
LONGEST_WORD = 24
MOST_BARS = 40
# Sizes of a row of a config, and of all below the rows, in inches; of a split's lane in a row.
ROW_HEIGHT = 0.42
AXIS_HEIGHT = 0.5
LANE = 0.34
LONGEST_NAME = 36  # characters in a line
# Sizes of the photographs' cards in inches. All cards are drawn in one pair of axes, because a pair
# for each takes far longer.
CARDS_PER_ROW = 3
CARD_WIDTH = 4.0
PHOTOGRAPH_HEIGHT = 2.5
GAP = 0.08


class Figure(matplotlib.figure.Figure):
    """Represents a figure that a notebook shows exactly as it is saved, without using pyplot."""

    def _repr_png_(self) -> bytes:
        return figure_to_png(self)


@contextlib.contextmanager
def _matplotlib_defaults() -> Iterator[None]:
    """Use matplotlib's default settings in a `with` block or function; restore the user's after."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@_matplotlib_defaults()
def figure_to_png(figure: matplotlib.figure.Figure) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the glyph is drawn as a box
        figure.savefig(stream, dpi=DPI, format="png", pil_kwargs={"compress_level": COMPRESSION})
    return stream.getvalue()


def _create_panel_grid(
    count: int, width: float, height: float, *, title: str
) -> tuple[Figure, list[Axes]]:
    """Up to three panels of `width` x `height` inches stand in a row."""
    columns = min(PANELS_PER_ROW, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(6.5, width * columns), height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[:count]:
        axes.grid(alpha=0.3)
    for axes in panels[count:]:
        axes.axis("off")
    _add_figure_title(figure, title)
    return figure, panels[:count]


def _add_figure_title(figure: matplotlib.figure.Figure, title: str) -> None:
    """Add a title above a figure, wrapped to its width; the figure grows by the title's lines."""
    width = int(figure.get_figwidth() / LETTER_WIDTH)
    lines = [part for line in title.split("\n") for part in wrap_without_lone_words(line, width)]
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * len(lines))
    figure.suptitle("\n".join(escape_figure_text(line, width) for line in lines), fontsize=11)


def wrap_without_lone_words(text: str, width: int) -> list[str]:
    """Wrap a text into as few lines as possible, of which none has a single word if another can."""
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    longest_word = max(map(len, text.split()), default=width)
    for narrower in range(longest_word, width):
        narrower_lines = textwrap.wrap(text, narrower, break_on_hyphens=False)
        if len(narrower_lines) == len(lines):
            return narrower_lines
    return lines


def escape_figure_text(text: str, length: int) -> str:
    """Make a text safe for a figure: cut it, replace control characters, and escape `$`."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return cut(shown, length).replace("$", r"\$")


@_matplotlib_defaults()
def draw_learning_curves(
    table: ColumnsByName,
    test_metrics: Mapping[str, float | None],
    *,
    title: str,
    kept_epoch: int | None = None,
    valid_is_test: bool = False,
) -> Figure:
    """Draw the learning curves of a run as in the book ISLP, 10.9: one panel for each metric.

    table: metrics.csv, where a column without `train_` or `valid_` is a metric of its own.
    kept_epoch: the epoch whose weights were kept, if it is not the last.
    """
    metrics = dict.fromkeys(
        name.removeprefix("train_").removeprefix("valid_")
        for name in table
        if name not in ("epoch", "seconds") and (name != "lr" or len(set(table[name])) > 1)
    )
    figure, panels = _create_panel_grid(len(metrics), 5.5, 3.9, title=title)
    for axes, metric in zip(panels, metrics, strict=True):
        test_value = test_metrics.get(f"test_{metric}")
        _draw_metric(axes, table, metric, test_value, valid_is_test=valid_is_test)
        if kept_epoch is not None:
            label = f"kept (epoch {kept_epoch})"
            axes.axvline(kept_epoch, linestyle=":", color="grey", label=label)
        axes.legend()
    return figure


def _draw_metric(
    axes: Axes, table: ColumnsByName, metric: str, test_value: float | None, *, valid_is_test: bool
) -> None:
    """Draw a metric by epoch, with a horizontal line at its value on the test rows."""
    if metric in table:
        points = _known_points(table["epoch"], table[metric])
        axes.plot(*points, marker="o", markersize=3, label=metric)
    splits = {split: PARTS[split] for split in EPOCH_SPLITS if f"{split}_{metric}" in table}
    if valid_is_test and "valid" in splits:
        splits["valid"] = f"{PARTS['valid']} = test"
    _draw_metric_by_split(axes, table["epoch"], table, metric, splits)
    if test_value is not None:
        decimals = 3 if abs(test_value) < 1000 else 0
        label = f"test ({test_value:.{decimals}f})"
        axes.axhline(test_value, linestyle="--", color=COLOURS["test"], label=label)
    axes.set(xlabel="epoch", ylabel=escape_figure_text(metric, 40))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)


def _draw_metric_by_split(
    axes: Axes, x: Sequence[float], table: ColumnsByName, metric: str, splits: Mapping[str, str]
) -> None:
    """Draw one curve per split of the data (train, valid, ...) for a metric."""
    for split, label in splits.items():
        if f"{split}_{metric}" not in table:
            continue
        points = _known_points(x, table[f"{split}_{metric}"])
        axes.plot(*points, marker="o", markersize=3, color=COLOURS[split], label=label)


def _known_points(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Points whose y is NaN are left out, such as epochs without validation."""
    known = [place for place, value in enumerate(y) if not math.isnan(value)]
    return [x[place] for place in known], [y[place] for place in known]


@_matplotlib_defaults()
def draw_accuracy_along_lasso_path(
    table: ColumnsByName, training_rows: int, chosen_index: int, *, title: str
) -> Figure:
    """Draw the accuracy on each split of the data by lambda / n, for n training rows."""
    figure, (axes,) = _create_panel_grid(1, 5.5, 4.3, title=title)
    x = [-math.log(value / training_rows) for value in table["lambda"]]
    _draw_metric_by_split(axes, x, table, "accuracy", PARTS)
    axes.axvline(x[chosen_index], linestyle=":", color="grey", label="chosen by validation")
    axes.set(xlabel=r"$-\log(\lambda / n)$", ylabel="accuracy")
    axes.legend()
    return figure


@_matplotlib_defaults()
def draw_true_and_predicted(
    true: FloatArray, predicted: FloatArray, target_name: str, *, title: str
) -> Figure:
    """Draw the prediction of each test row against its true value, and the line of equality."""
    figure, (axes,) = _create_panel_grid(1, 5.5, 4.9, title=title)
    axes.plot(true, predicted, "o", markersize=3, color=COLOURS["train"])
    axes.axline((float(true.mean()), float(true.mean())), slope=1, color="grey", linewidth=1)
    name = escape_figure_text(target_name, 40)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    return figure


@_matplotlib_defaults()
def draw_probabilities(
    is_of_class: NDArray[np.bool_],
    probability: FloatArray,
    class_name: str,
    roc_rates: tuple[FloatArray, FloatArray],
    metrics: Mapping[str, float],
    *,
    title: str,
) -> Figure:
    """Draw how well the probabilities of a class (n_rows,) are calibrated and tell its rows.

    On the left, the share of the class among the rows of similar probability, with its interval,
    and below how many rows these are; on the right, the ROC curve.

    roc_rates: the false and the true positive rates. metrics: with `brier` and `roc_auc`.
    """
    figure = Figure(figsize=(11, 4.9), layout="constrained")
    panels = figure.subplot_mosaic("sr;nr", height_ratios=(5, 1))
    shares, counts, roc = (panels[name] for name in "snr")
    for axes in panels.values():
        axes.grid(alpha=0.3)
    _add_figure_title(figure, title)
    name = escape_figure_text(class_name, 40)
    _draw_reliability(shares, counts, is_of_class, probability, metrics["brier"])
    shares.set(ylabel=f"share of {name}")
    counts.set(xlabel=f"predicted probability of {name}", ylabel="rows")
    _draw_diagonal(roc, "by chance (area 0.5)")
    label = f"test rows (area {metrics['roc_auc']:.3f})"
    roc.plot(*roc_rates, color=COLOURS["train"], label=label)
    roc.set(xlabel="false positive rate", ylabel=f"true positive rate of {name}")
    roc.legend(loc="lower right")
    return figure


def _draw_reliability(
    shares: Axes,
    counts: Axes,
    is_of_class: NDArray[np.bool_],
    probability: FloatArray,
    brier: float,
) -> None:
    """Draw the share of the class in each bin of probabilities that has rows, and their count."""
    bins = np.minimum(probability * PROBABILITY_BINS, PROBABILITY_BINS - 1).astype(int)
    rows = np.bincount(bins, minlength=PROBABILITY_BINS)
    of_class = np.bincount(bins[is_of_class], minlength=PROBABILITY_BINS)
    (filled,) = rows.nonzero()
    share = of_class[filled] / rows[filled]
    mean = np.bincount(bins, probability)[filled] / rows[filled]
    pairs = zip(of_class[filled].tolist(), rows[filled].tolist(), strict=True)
    low, high = np.array([stats.wilson_interval(*pair) for pair in pairs]).T
    _draw_diagonal(shares, "calibrated")
    shares.errorbar(
        mean,
        share,
        (share - low, high - share),
        marker="o",
        markersize=4,
        capsize=2,
        color=COLOURS["train"],
        label=f"test rows (Brier score {brier:.3f})",
    )
    shares.legend()
    width = 1 / PROBABILITY_BINS
    counts.bar((np.arange(PROBABILITY_BINS) + 0.5) * width, rows, width, edgecolor="white")
    shares.sharex(counts)
    shares.tick_params(labelbottom=False)


def _draw_diagonal(axes: Axes, label: str) -> None:
    """Draw the diagonal of the unit square, of which a curve may follow the edges."""
    axes.plot((0, 1), (0, 1), linestyle="--", color="grey", linewidth=1, label=label)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


@_matplotlib_defaults()
def draw_predicted_series(
    true: FloatArray, predicted: FloatArray, target_name: str, note: str, *, title: str
) -> Figure:
    """Draw true and predicted values of test rows as time series, the last ones once more, larger.

    note: stands above the plots.
    """
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    whole, last = figure.subplots(2, 1)
    _add_figure_title(figure, title)
    first_of_last = max(0, len(true) - LAST_DAYS)
    for axes, begin, width in ((whole, 0, 0.6), (last, first_of_last, 1.4)):
        x = range(begin + 1, len(true) + 1)
        axes.grid(alpha=0.3)
        axes.plot(x, true[begin:], color=COLOURS["test"], linewidth=width, label="true")
        axes.plot(x, predicted[begin:], color=COLOURS["valid"], linewidth=width, label="predicted")
        axes.set(ylabel=escape_figure_text(target_name, 40))
        axes.margins(x=0.01)
    whole.axvspan(first_of_last + 1, len(true), color="grey", alpha=0.2, label="shown below")
    whole.set_title(note, fontsize=11)
    whole.legend(loc="upper left", ncols=3)
    last.set(xlabel="day of the test period")
    return figure


@_matplotlib_defaults()
def draw_column_importance(
    names: Sequence[str], increases: FloatArray, label: str, *, title: str
) -> Figure:
    """Draw by how much a loss rises if a column is shuffled, the most important column at the top.

    increases: the mean of each column and the ends of its interval (columns, 3). label: of the
    axis.
    """
    shown = min(len(names), MOST_COLUMNS)
    height = 0.3 * shown + 2 * AXIS_HEIGHT
    figure, (axes,) = _create_panel_grid(1, 8.5, height, title=title)
    mean, low, high = increases[:shown].T
    axes.axvline(0, color="grey", linewidth=1)
    axes.errorbar(
        mean,
        range(shown),
        xerr=(mean - low, high - mean),
        fmt="o",
        markersize=5,
        capsize=2,
        color=COLOURS["test"],
    )
    axes.set_yticks(range(shown), [escape_figure_text(name, 40) for name in names[:shown]])
    axes.set_ylim(shown - 0.5, -0.5)
    if shown < len(names):
        axes.set_title(f"the first {shown} of {len(names)} columns", fontsize=10)
    axes.set(xlabel=escape_figure_text(label, 100))
    return figure


@_matplotlib_defaults()
def draw_line_of_words(
    words: Sequence[str], probabilities: Sequence[float], class_name: str, *, title: str
) -> Figure:
    """Draw the probability of a class after each word of a text; few words are named below."""
    width = min(max(6.5, WORD_WIDTH * len(words)), MOST_WIDTH)
    figure, (axes,) = _create_panel_grid(1, width, 4, title=title)
    axes.plot(probabilities, marker="o", markersize=3, color=COLOURS["train"])
    axes.axhline(0.5, linestyle="--", color="grey", linewidth=1)
    name = escape_figure_text(class_name, 40)
    axes.set(ylim=(-0.02, 1.02), ylabel=f"probability of {name}", xlabel="word")
    if WORD_WIDTH * len(words) <= MOST_WIDTH:
        names = [escape_figure_text(word, LONGEST_WORD) for word in words]
        axes.set_xticks(range(len(words)), names, rotation=90)
        axes.set_xlabel("")
    return figure


@_matplotlib_defaults()
def draw_bars_of_words(
    words: Sequence[str], values: Sequence[float], class_name: str, *, title: str
) -> Figure:
    """Draw the largest log odds that words add to a class, in the order of the text."""
    largest = sorted(range(len(words)), key=lambda place: -abs(values[place]))[:MOST_BARS]
    places = sorted(largest, reverse=True)  # matplotlib counts from below
    figure, (axes,) = _create_panel_grid(1, 7, 1 + 0.2 * len(places), title=title)
    colours = [COLOURS["train" if values[place] > 0 else "valid"] for place in places]
    axes.barh(range(len(places)), [values[place] for place in places], color=colours)
    names = [escape_figure_text(words[place], LONGEST_WORD) for place in places]
    axes.set_yticks(range(len(places)), names)
    axes.axvline(0, color="grey", linewidth=1)
    name = escape_figure_text(class_name, 40)
    axes.set_xlabel(f"what the word adds to the log odds of {name}")
    return figure


@_matplotlib_defaults()
def draw_penalty_path(
    table: ColumnsByName,
    metric: str,
    coefficients: FloatArray,
    names: Sequence[str],
    chosen_index: int,
    *,
    title: str,
) -> Figure:
    """Draw a metric and a lasso's standardised coefficients (penalties, columns) by its penalty."""
    figure, (left, right) = _create_panel_grid(2, 5.5, 4.3, title=title)
    x = [-math.log(value) for value in table["lambda"]]
    _draw_metric_by_split(left, x, table, metric, PARTS)
    left.set(ylabel="mean absolute error" if metric == "mae" else metric)
    order = np.argsort(-np.abs(coefficients[chosen_index]))
    for place, column in enumerate(order.tolist()):
        label = escape_figure_text(names[column], 20) if place < MOST_LABELLED else None
        colour = f"C{place}" if label else "lightgrey"
        right.plot(x, coefficients[:, column], label=label, color=colour, linewidth=1)
    right.set(ylabel="standardised coefficient")
    label = rf"chosen: $\lambda$ = {table['lambda'][chosen_index]:.4g}"
    for axes in (left, right):
        axes.axvline(x[chosen_index], linestyle=":", color="grey", label=label)
        axes.set(xlabel=r"$-\log(\lambda)$")
        axes.legend(fontsize=8)
    return figure


@_matplotlib_defaults()
def draw_configs(
    rows: Sequence[ConfigRow], metric: str, *, title: str, valid_is_test: bool = False
) -> Figure:
    """Draw a metric of several configs: a row for each, a dot for each run, a line at the mean.

    rows: for each config its name, and its values by the split of the data (valid, test).
    """
    height = ROW_HEIGHT * (len(rows) + 1) + AXIS_HEIGHT
    figure, (axes,) = _create_panel_grid(1, 8.5, height, title=title)
    splits = [split for split in PARTS if any(values.get(split) for _, values in rows)]
    for place, (_, values_by_split) in enumerate(rows):
        for lane, split in enumerate(splits):
            values = values_by_split.get(split, ())
            if not values:
                continue
            y = place + LANE * (lane - (len(splits) - 1) / 2)
            colour = COLOURS[split]
            axes.plot(values, [y] * len(values), "o", markersize=5, alpha=0.6, color=colour)
            if len(values) > 1:
                mean = float(np.mean(values))
                axes.vlines(mean, y - LANE / 2, y + LANE / 2, color=colour, linewidth=2.5)
    for split in splits:
        is_both = split == "valid" and valid_is_test
        label = f"{PARTS[split]} = test" if is_both else PARTS[split]
        axes.plot([], [], "o", markersize=5, color=COLOURS[split], label=label)
    if axes.collections:
        axes.plot([], [], "|", markersize=11, markeredgewidth=2.5, color="grey", label="mean")
    axes.set_yticks(range(len(rows)), [_name_in_two_lines(name) for name, _ in rows], fontsize=9)
    axes.set(xlabel=metric, ylim=(len(rows) - 0.5, -0.5))  # the first row is above
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _name_in_two_lines(name: str) -> str:
    first, *others = textwrap.wrap(name, LONGEST_NAME, break_on_hyphens=False) or [""]
    lines = [first, *([" ".join(others)] if others else [])]
    return "\n".join(escape_figure_text(line, LONGEST_NAME) for line in lines)


@_matplotlib_defaults()
def draw_contact_sheet(
    cards: Sequence[tuple[str, NDArray[np.uint8], Labels]], *, title: str
) -> Figure:
    """Draw photographs, each with its name above and its labels and probabilities below.

    cards: for each photograph its name, its pixels (height, width, 3) and its labels.
    """
    columns = min(CARDS_PER_ROW, len(cards))
    most_labels = max(len(labels) for _, _, labels in cards)
    card_height = PHOTOGRAPH_HEIGHT + LINE_HEIGHT * (2 + most_labels)
    width = CARD_WIDTH * columns
    height = card_height * math.ceil(len(cards) / columns)
    figure = Figure(figsize=(width, height))
    _add_figure_title(figure, title)
    whole = figure.get_figheight()  # includes the lines of the title
    figure.texts[0].set_y(1 - GAP / whole)
    axes = figure.add_axes((0, 0, 1, height / whole))
    for place, (name, pixels, labels) in enumerate(cards):
        row, column = divmod(place, columns)
        corner = CARD_WIDTH * column + GAP, card_height * row
        _draw_card(axes, corner, pixels, name, labels)
    axes.set(xlim=(0, width), ylim=(height, 0))  # y grows downwards
    axes.axis("off")
    return figure


def _draw_card(
    axes: Axes, corner: tuple[float, float], pixels: NDArray[np.uint8], name: str, labels: Labels
) -> None:
    """Draw a photograph, its name above, its labels below; `corner` is the upper left of all."""
    left, top_of_card = corner
    bottom = top_of_card + 1.5 * LINE_HEIGHT + PHOTOGRAPH_HEIGHT
    tall, wide, _ = pixels.shape
    scale = min((CARD_WIDTH - 2 * GAP) / wide, PHOTOGRAPH_HEIGHT / tall)
    top = bottom - scale * tall
    axes.imshow(pixels, extent=(left, left + scale * wide, bottom, top), aspect="auto")
    axes.text(left, top, escape_figure_text(name, 40), va="bottom", fontsize=10)
    lines = [f"{value:.3f}  {escape_figure_text(label, 44)}" for label, value in labels]
    axes.text(left, bottom + GAP / 2, "\n".join(lines), va="top", fontsize=9)
