"""Build the site from the Markdown of the repository: `make docs`.

The source is the root of the repository, so that a link leads to the same page on a forge and on
the site. The menu is made from the lists in docs/README. `reference_pages.py` writes the pages of
commands, config keys and the Python API.
"""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from dlrun import __version__

project, release, html_title = "dlrun", __version__, f"dlrun {__version__}"
extensions = ["myst_parser"]
html_theme = "furo"
html_show_copyright = html_show_sourcelink = html_copy_source = False
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**", "benchmarks/*.md", "data/*.md", "runs/*.md", "examples/**"]
# Folders that are not even walked, and files in the others that are no pages.
exclude_patterns = [
    ".*", "build", "dist", "src", "tests", "configs", "*/.*", "*/results", "data/[!R]*",
    "runs/[!R]*", "examples/runs", "examples/data", "examples/*/src",
]  # fmt: skip
suppress_warnings = ["toc.not_included"]  # such as runs/README, to which other pages lead
myst_heading_anchors = 3
highlight_language = "text"
smartquotes = False  # `--set` has two hyphens


def setup(app: Sphinx) -> None:
    """Add the menu to the first page, and copy the figures at the end."""

    def add_menu(app: Sphinx, page: str, source: list[str]) -> None:
        if page == root_doc:
            source[0] += "\n" + menu(source[0])

    app.connect("source-read", add_menu)
    app.connect("build-finished", copy_figures)


def copy_figures(app: Sphinx, error: Exception | None) -> None:
    """Copy the figures to where README's HTML looks for them; Sphinx copies those of Markdown."""
    shutil.copytree(
        Path(app.confdir) / "figures", Path(app.outdir) / "docs" / "figures", dirs_exist_ok=True
    )


def menu(text: str) -> str:
    """Return the site's menu: the pages in the lists of docs/README under their headings."""
    parts = []
    for section in text.split("\n## ")[1:]:
        pages = "\n".join(re.findall(r"\]\(([^)#:]+)\.md\)", section))
        caption = section.partition("\n")[0]
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "\n".join(parts)
