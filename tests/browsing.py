"""A page as a reader has it: real headless Chromium, driven by playwright."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@contextmanager
def watched(browser: "Browser", written: Path) -> Iterator[Open]:
    """Give a function that opens a page, and assert that no page has an error or uses a network."""
    wrong: list[str] = []
    contexts = []

    def note(url: str) -> None:
        if not url.startswith(("data:", written.as_uri())):
            wrong.append(f"request: {url}")

    def open_page(**options: Any) -> "Page":
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: note(request.url))
        page.goto(written.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, wrong
