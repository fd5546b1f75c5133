"""README and docs: their size, and that every link and command in them leads somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from dlrun.cli.commands import app
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config
from tests.conftest import NAMES, Dlrun, python, setting, smoke

ROOT = Path(__file__).parents[1]
PATTERNS = (
    "*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md", "data/*.md", "runs/*.md",
)  # fmt: skip
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
TORCHS = ("optimizer.", "scheduler.")  # sections that take every argument of a class of torch
ELSEWHERE = ("my-experiment", "diabetes", "autoencoder")  # experiments in packages of their own


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as forges and MyST make them."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_readme_is_short() -> None:
    text = read(ROOT / "README.md")
    assert len(text.splitlines()) <= 200 and len(text.split()) <= 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """To files only: the site has no page for a folder."""
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def test_the_menu_has_every_page_of_docs() -> None:
    menu = re.findall(r"\]\(([^)#]+\.md)\)", read(ROOT / "docs/README.md"))
    listed = {(ROOT / "docs" / link).resolve() for link in menu}
    assert {*ROOT.glob("docs/*/*.md")} <= listed


def examples(command: Any) -> str:
    return str(command.help.partition("Examples:\n")[2])


def shell_commands() -> Iterator[tuple[str, list[str]]]:
    """The words of each `dlrun ...` in a shell block or a help text, after `dlrun`, and where."""
    blocks = [
        (str(page.relative_to(ROOT)), block)
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", read(page), re.DOTALL)
    ]
    root = typer.Context(get_command(app), info_name="dlrun")
    blocks.append(("dlrun --help", examples(root.command)))
    for name in root.command.commands:
        listed = root.command.get_command(root, name)
        group = typer.Context(listed, parent=root, info_name=name)
        ones = [listed.get_command(group, one) for one in getattr(listed, "commands", ())]
        blocks += [(f"dlrun {name} --help", examples(one)) for one in [listed, *ones]]
    for place, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            command: list[str] = []
            for word in [*lexer, ";"]:
                if not {*word} <= {*lexer.punctuation_chars}:
                    command.append(word)
                    continue
                if "dlrun" in command and "install" not in command:
                    yield place, command[command.index("dlrun") + 1 :]
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
    for page, words in shell_commands():
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
                load_experiment_config(name, RunSettings(overrides=overrides))
            elif name in NAMES:
                several = [*(values.get("grid") or ()), *(values.get("space") or ())]
                keys = {one.partition("=")[0] for one in (*one_value, *several)}
                unknown = keys - registry.shipped_values(name).keys()
                assert not [one for one in unknown if not one.startswith(TORCHS)], unknown
        except Exception as error:
            wrong.append(f"{page}: dlrun {shlex.join(words)}: {error}")
    assert not wrong, "\n".join(wrong)
    assert found > 100


def training_commands() -> list[str]:
    text = (ROOT / "docs/how-to/train-better.md").read_text(encoding="utf-8")
    return re.findall(r"^dlrun (.*)$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", training_commands())
def test_the_commands_that_train_better_train(forked: Dlrun, line: str) -> None:
    """Tiny, and for one epoch."""
    words = shlex.split(line, comments=True)
    name = next(word for word in words if word != "sweep")
    words[words.index(name) : words.index(name) + 1] = smoke(name)
    forked(*words, *setting("trainer.max_epochs=1")).is_told(0)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    options = "-q", "-W", "--keep-going", "-c", ROOT / "docs", ROOT, tmp_path / "site"
    python(tmp_path, "-m", "sphinx", *options).is_told(0)
    reference = tmp_path / "site" / "docs" / "reference"
    shown = {page.stem: page.read_text(encoding="utf-8") for page in reference.glob("*.html")}
    assert all(f"dlrun {name}" in shown["commands"] for name in ("resume", "runs list", "sweep"))
    assert all(name in shown["commands"] for name in NAMES)
    keys = {key for name in NAMES for key in registry.shipped_values(name)}
    assert all(key in shown["config-keys"] for key in keys if not key.startswith("reference."))
    assert "dlrun.run" in shown["python-api"] and "NetworkExperiment" in shown["python-api"]
    assert "salaries" in (tmp_path / "site" / "searchindex.js").read_text(encoding="utf-8")
