"""Fill the templates of the HTML report and of a notebook's output; every value is escaped."""

import itertools
import math
import re
from importlib import resources

import jinja2
from markupsafe import Markup

from dlrun.config.yaml_loader import format_setting
from dlrun.metrics import format_interval, format_metric
from dlrun.reports import svg_charts
from dlrun.reports.warning_tags import warning_tags_as_html
from dlrun.runs.shown_results import add_accuracy_of_largest_class
from dlrun.system.text import cut, printable_lines


def render_template(name: str, **values: object) -> str:
    """Every value is escaped, and its control characters are replaced."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_unindented),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        brief=lambda value, length=60: cut(format_setting(value), length),
        code=text_as_html,
        config=format_setting,
        heading=lambda text: text if "_" in text or len(text) < 3 else text[0].upper() + text[1:],
        interval=format_interval,
        number=format_metric,
        short=_format_curve_value,
    )
    return environment.get_template(name).render(
        **values,
        geometry=svg_charts,
        with_largest_class=add_accuracy_of_largest_class,
        warning_tags_as_html=warning_tags_as_html,
        zip=zip,
    )


def join_parts(*names: str) -> Markup:
    """Scripts and styles are our own files, which stand in the page as they are."""
    return Markup("\n".join(map(_read_part, names)))  # noqa: S704


def _read_part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _read_unindented(name: str) -> str:
    """The indentation of the templates would be 7 % of the bytes of a page of 24 runs."""
    return re.sub("^ +", "", _read_part(name), flags=re.MULTILINE)


def text_as_html(text: str) -> Markup:
    """Words in backticks become code."""
    pieces = printable_lines(text).split("`")
    marks = itertools.cycle((Markup("{}"), Markup("<code>{}</code>")))
    return Markup("").join(mark.format(piece) for mark, piece in zip(marks, pieces, strict=False))


def _format_curve_value(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else format_metric(value)


def _visible(value: object) -> object:
    """Control characters except line breaks are replaced, and None becomes an empty text."""
    if value is None:
        return ""
    if isinstance(value, str) and not value.isprintable():
        text = printable_lines(value)
        return Markup(text) if isinstance(value, Markup) else text  # noqa: S704 (it is escaped)
    return value
