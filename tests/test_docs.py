"""README and docs: their size, their links and commands, the pictures and the generated pages.

tests/test_docs_run.py runs the commands.
"""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from dlrun.cli.command_list import app
from dlrun.config.yaml_loader import parse_set_overrides
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.reports import warning_tags
from dlrun.runs.options import RunOptions
from tests.conftest import NAMES, ROOT, python

PATTERNS = (
    "*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md", "data/*.md", "runs/*.md",
)  # fmt: skip
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
GENERATED = {
    ROOT / f"docs/reference/{name}.md" for name in ("commands", "config-keys", "python-api")
}
ELSEWHERE = ("my-experiment", "diabetes", "autoencoder")  # experiments in packages of their own
PLACEHOLDER = re.compile(r"\b[A-Z]+\b|\.\.\.|[<|]")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as forges and MyST make them."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_readme_is_short() -> None:
    text = read(ROOT / "README.md")
    assert len(text.splitlines()) <= 200 and len(text.split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """To files only: the site has no page for a folder."""
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", read(page))
    for link in map("".join, links):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def test_generated_pages_are_those_of_the_code() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "reference_pages.py"))["pages"]()
    assert pages.keys() == GENERATED
    old = [page.name for page, text in pages.items() if read(page) != text]
    assert not old, f"{', '.join(old)}: not what the code says; run `make docs-reference`"


def test_the_bars_of_speed_are_those_of_the_benchmarks() -> None:
    """Else `make pictures` draws them anew."""
    pictures = runpy.run_path(str(ROOT / "docs" / "pictures.py"))
    speeds = pictures["read_speeds"](read(ROOT / "benchmarks" / "README.md"))
    assert len(speeds) == 5
    for theme in pictures["COLOURS"]:
        drawn = read(ROOT / "docs" / "figures" / f"speed-{theme}.svg")
        assert drawn == pictures["draw_speeds"](speeds, theme)


def test_the_tags_of_the_report_are_those_of_the_code() -> None:
    named = re.findall(r"`([^`]+)`", read(ROOT / "docs/how-to/report.md").partition("## Tags")[2])
    tags = (
        value for value in vars(warning_tags).values() if isinstance(value, warning_tags.WarningTag)
    )
    assert {*named} == {tag.name for tag in tags}


def test_the_menu_has_every_page_of_docs() -> None:
    menu = re.findall(r"\]\(([^)#]+\.md)\)", read(ROOT / "docs/README.md"))
    listed = {(ROOT / "docs" / link).resolve() for link in menu}
    assert {*ROOT.glob("docs/*/*.md")} <= listed


def test_the_chapters_code_is_that_of_the_scripts() -> None:
    """Each line is of a script that its part names; a part has at most 12 of them."""
    text = read(ROOT / "docs/tutorials/chapter-10.md")
    for part in text.split("\n## ")[1:]:
        blocks = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
        named = re.findall(r"\((../../examples/plain/\w+\.py)\)", part)
        lines = {
            line for name in named for line in read(ROOT / "docs/tutorials" / name).splitlines()
        }
        quoted = [line for block in blocks for line in block.splitlines()]
        assert not {*quoted} - lines and len(quoted) <= 12
    assert len(re.findall("```python", text)) > 5


def shell_lines() -> Iterator[tuple[str, str]]:
    """Each line of a shell block without its comment, and each command within a text.

    Of the pages that people write: `help_lines` has the examples of the help.
    """
    for page in PAGES:
        if page in GENERATED:
            continue
        where, text = str(page.relative_to(ROOT)), read(page)
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if command := re.sub(r"(^|\s+)#.*", "", line):
                    yield where, command
        plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for command in re.findall(r"`(dlrun [^`]+)`", plain):
            if not PLACEHOLDER.search(command):
                yield where, " ".join(command.split())


def help_lines() -> Iterator[tuple[str, str]]:
    """Each example in the help of dlrun, of a group or of a command."""
    root = typer.Context(get_command(app), info_name="dlrun")
    commands = [root.command]
    for name in root.command.commands:
        command = root.command.load_command(root, name)
        group = typer.Context(command, parent=root, info_name=name)
        ones = [command.load_command(group, one) for one in getattr(command, "commands", ())]
        commands += [command, *ones]
    for command in commands:
        examples = re.sub(r" +#.*", "", command.help.partition("Examples:\n")[2].strip())
        assert examples, command.name
        yield from ((f"dlrun {command.name} --help", one) for one in examples.split("\n"))


def dlrun_commands(line: str) -> Iterator[list[str]]:
    """The words of each `dlrun ...` in a line, after `dlrun`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not {*word} <= {*lexer.punctuation_chars}:
            command.append(word)
            continue
        places = [place for place, one in enumerate(command) if Path(one).name == "dlrun"]
        if places:
            yield command[places[0] + 1 :]
        command = []


def parsed(words: list[str]) -> Any:
    """The context of a command line, with the values of its arguments and options."""
    context: Any = typer.Context(get_command(app), info_name="dlrun")
    while hasattr(context.command, "commands") and not words[0].startswith("-"):
        name, *words = words
        command = context.command.load_command(context, name)
        if hasattr(command, "commands"):
            context = typer.Context(command, parent=context, info_name=name)
        else:
            asks_for_help = [word for word in words if word != "--help"]
            return command.make_context(name, asks_for_help, parent=context)
    return context


def test_commands_can_be_entered() -> None:
    """Command, options, arguments, experiment, and config keys; of a run also their values."""
    found, wrong = 0, []
    for page, words in (
        (page, words)
        for page, line in (*shell_lines(), *help_lines())
        for words in dlrun_commands(line)
    ):
        found += 1
        if any(word in ELSEWHERE for word in words[:2]):
            continue
        try:
            context = parsed(words)
            values = context.params
            one_value = [*(values.get("overrides") or ()), *(values.get("words") or ())]
            name = values.get("experiment") or context.info_name
            if name in NAMES and words[:1] != ["sweep"]:
                overrides = [one for one in one_value if re.match(r"[\w.]+=", one)]
                load_experiment_config(
                    find_experiment(name), RunOptions(values=parse_set_overrides(overrides))
                )
            elif name in NAMES:
                several = [*(values.get("grid") or ()), *(values.get("space") or ())]
                keys = {one.partition("=")[0] for one in (*one_value, *several) if "=" in one}
                unknown = keys - registry.shipped_config(name).values.keys()
                assert not unknown, unknown
        except Exception as error:
            if type(error).__name__ == "MissingParameter" and len(words) < 3:
                continue  # a text names the command
            wrong.append(f"{page}: dlrun {shlex.join(words)}: {error}")
    assert not wrong, "\n".join(wrong)
    assert found > 100


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    options = "-q", "-W", "--keep-going", "-c", ROOT / "docs", ROOT, tmp_path / "site"
    python(tmp_path, "-m", "sphinx", *options).is_told(0)
    site = tmp_path / "site"
    front = (site / "README.html").read_text(encoding="utf-8")
    pictures = re.findall(r'"(docs/figures/[^"]+)"', front)
    assert pictures and all((site / picture).is_file() for picture in pictures)
