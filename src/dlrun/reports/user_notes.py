"""Render the user's own words, a Markdown file, as a section of the HTML report."""

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from dlrun.errors import ConfigError
from dlrun.system.console import printable_lines
from dlrun.system.files import open_regular_file

MAX_BYTES = 100_000
MAX_NESTING = 100  # depth of lists and quotes, each of which counts twice; deeper ones are left out
ALLOWED_LINK = re.compile("https?://|mailto:|#")  # the last: to a place on the page
LEVELS = 2  # levels by which headings are lowered, to be below that of their section


class _SafeMarkdown(MarkdownIt):
    """Renders CommonMark with tables, but without HTML and images."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False, "maxNesting": MAX_NESTING})
        self.enable("table").disable("image")  # an image would need a network

    def validateLink(self, url: str) -> bool:  # noqa: N802 (the parser's name)
        """Return whether a link may be one; its text is shown as it is if not."""
        return ALLOWED_LINK.match(url.lower()) is not None


def render_user_notes(path: Path) -> Markup:
    """Return a Markdown file as HTML; raise ConfigError if it cannot be read as text."""
    try:
        with open_regular_file(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"--notes {path}: more than {MAX_BYTES // 1000} kB", "shorten it")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"--notes {path}: {error.strerror}", "name a Markdown file") from None
    except UnicodeDecodeError as error:
        problem = f"--notes {path}: not UTF-8 text (byte {error.start})"
        raise ConfigError(problem, "save it as UTF-8") from None
    markdown = _SafeMarkdown()
    tokens = markdown.parse(text)
    for token in tokens:
        # Of a table's cell; the page allows no such attribute.
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrSet("class", "number")
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + LEVELS)}"
    page = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(printable_lines(page))  # noqa: S704 (the parser escaped all HTML in it)
