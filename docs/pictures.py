"""Make the pictures of README: `make pictures`, or `make pictures ARGS=reproduction.html`.

The bars of speed are drawn from the tables in benchmarks/README.md: a row whose name begins in bold
has a bar. A page, that of `dlrun reproduce`, is photographed in Chromium, in its light and its dark
colours; without one the earlier photographs stay.
"""

import re
import shutil
import sys
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
FIGURES, BENCHMARKS = DOCS / "figures", DOCS.parent / "benchmarks" / "README.md"
# Text, quiet text, bar, the lab's line, as in the pages (reports/report.css).
COLOURS = {
    "light": ("#1b1f24", "#57606a", "#0a5fb4", "#8c959f"),
    "dark": ("#e8ebee", "#a9b1ba", "#6cb6ff", "#79828c"),
}
# Of the chart in pixels: its width, the left and the longest end of its bars, the height of a row.
WIDTH, LEFT, RIGHT, ROW = 820, 235, 600, 30
PAGE = {"width": 1280, "height": 800}  # of the browser's window, in CSS pixels
SHADES = 256  # colours of the photograph: as a palette it takes half of the bytes


def read_speeds(text: str) -> list[tuple[str, str, str, float]]:
    """Return what was timed, the lab's time, dlrun's, and their ratio, the largest ratio first.

    Raises ValueError if a row that begins in bold has no such cells.
    """
    rows = []
    for line in re.findall(r"^\| \*\*.*$", text, re.MULTILINE):
        what, lab, _plain, ours, ratio, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append((what.split("**")[1], lab, ours, float(ratio)))
    return sorted(rows, key=lambda row: -row[3])


def draw_speeds(rows: list[tuple[str, str, str, float]], theme: str) -> str:
    """Return the chart as SVG: a bar for each row, as long as its ratio."""
    text, quiet, bar, rule = COLOURS[theme]
    scale = (RIGHT - LEFT) / max(ratio for *_, ratio in rows)
    bottom, one = 26 + ROW * len(rows), LEFT + scale
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 8}" '
        f'width="{WIDTH}" height="{bottom + 8}" font-family="system-ui, sans-serif" '
        'font-size="13">',
        f'<text x="{LEFT}" y="14" fill="{quiet}">times as fast as the lab\'s own code '
        "(the dashed line)</text>",
    ]
    for place, (what, lab, ours, ratio) in enumerate(rows):
        top, end = 26 + ROW * place, LEFT + scale * ratio
        seconds = f'<tspan fill="{quiet}">{escape(lab)} → {escape(ours)}</tspan>'
        lines += [
            f'<text x="{LEFT - 10}" y="{top + 17}" fill="{text}" text-anchor="end">'
            f"{escape(what)}</text>",
            f'<rect x="{LEFT}" y="{top + 4}" width="{end - LEFT:.1f}" height="18" fill="{bar}"/>',
            f'<text x="{end + 8:.1f}" y="{top + 17}" fill="{text}">'
            f'<tspan font-weight="bold">{ratio:.3g}</tspan> {seconds}</text>',
        ]
    lines.append(f'<path d="M{one:.1f} 20V{bottom}" stroke="{rule}" stroke-dasharray="3 3"/>')
    return "\n".join([*lines, "</svg>", ""])


def photograph(page: Path) -> None:
    """Photograph a page's first table and the line below it, in both themes, by chromium."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for theme in COLOURS:
            tab = browser.new_page(viewport=PAGE, color_scheme=theme)
            tab.goto(page.resolve().as_uri())
            picture = tab.locator("#overview").screenshot()
            image = Image.open(BytesIO(picture)).convert("RGB")
            image.quantize(SHADES, dither=Image.Dither.NONE).save(
                FIGURES / f"chapter-{theme}.png", optimize=True
            )
        browser.close()


if __name__ == "__main__":
    for theme in COLOURS:
        chart = draw_speeds(read_speeds(BENCHMARKS.read_text(encoding="utf-8")), theme)
        (FIGURES / f"speed-{theme}.svg").write_text(chart, encoding="utf-8", newline="\n")
    for page in sys.argv[1:]:
        photograph(Path(page))
