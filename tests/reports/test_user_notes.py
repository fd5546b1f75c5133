"""The user's own words on the page: Markdown, without what could harm a reader."""

import re
from pathlib import Path

import pytest

from dlrun.reports.user_notes import MAX_BYTES, render_user_notes
from tests.conftest import Dlrun
from tests.reports.example_runs import a_classification

TEXT = """# Hypothesis

A *smaller* network is enough: see [No. 1](#run-1) and [the book](https://example.org/a?b=c).

| a | b |
|---|--:|
| 1 | 2 |

Conclusion
----------
- `lr` matters
"""


def rendered(folder: Path, text: str) -> str:
    file = folder / "notes.md"
    file.write_text(text)
    return str(render_user_notes(file))


def test_it_is_markdown_below_the_headings_of_the_page(tmp_path: Path) -> None:
    page = rendered(tmp_path, TEXT)
    assert re.findall("<h.>", page) == ["<h3>", "<h4>"]
    assert '<a href="#run-1">No. 1</a>' in page and 'href="https://example.org/a?b=c"' in page
    assert (
        "<em>smaller</em>" in page
        and "<code>lr</code>" in page
        and '<td class="number">2</td>' in page
    )
    assert "style" not in page  # the page's policy would refuse it


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt&#58;alert(1))",
        "[a](data:text/html,<script>alert(1)</script>)",
        "[a](file:///etc/passwd)",
        "[a](other.html)",
        "<javascript:alert(1)>",
        "[a]: vbscript:x\n\n[a]",
        "![a](http://127.0.0.1:9/x)",
        "```<b onclick=x>\n</code></pre><script>\n```",
        '[a](https://x "\\"><script>alert(1)</script>")',
        "&#27;[31m \u202e \x1b[0m &#x202e;",
    ],
)
def test_nothing_in_it_runs_or_loads(tmp_path: Path, text: str) -> None:
    page = rendered(tmp_path, text)
    tags = re.findall(r"<(\w+)([^>]*)>", page)
    assert {name for name, _ in tags} <= {"p", "a", "pre", "code"}
    assert all(
        re.fullmatch(r'( (href|title|class)="[^"]*")*', attributes) for _, attributes in tags
    )
    assert {link.partition(":")[0] for link in re.findall('href="([^"]*)"', page)} <= {
        "http",
        "https",
    }
    assert all(line.isprintable() for line in page.split("\n"))


def test_deep_lists_leave_nothing_out(tmp_path: Path) -> None:
    nested = "".join(f"{'  ' * level}- level {level}\n" for level in range(30))
    page = rendered(tmp_path, f"{nested}\n# Conclusion\n")
    assert "level 29" in page and "Conclusion" in page


def test_it_is_a_section_of_the_report(forked: Dlrun, tmp_path: Path) -> None:
    a_classification(tmp_path / "runs" / "e" / "r")
    (tmp_path / "notes.md").write_text(TEXT)
    forked("report", "--notes", "notes.md").is_told(0)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<h2 id="notes-title">') == page.count("<h3>Hypothesis</h3>") == 1
    forked("report").is_told(0)
    assert "notes-title" not in (tmp_path / "report.html").read_text()


def test_what_is_no_text_is_refused(forked: Dlrun, tmp_path: Path) -> None:
    a_classification(tmp_path / "runs" / "e" / "r")
    contents = {"latin": "größer".encode("latin-1"), "long": b"x" * (MAX_BYTES + 1)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name, words in {
        "missing": "No such file", "runs": "s a directory", "latin": "not UTF-8", "long": "100 kB",
    }.items():  # fmt: skip
        done = forked("report", "--notes", name).is_told(2, f"--notes {name}: ", words)
        assert done.stderr.count("error: ") == 1
    assert not (tmp_path / "report.html").exists()
