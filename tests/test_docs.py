"""README and docs: their size, and that every link and command in them leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from dlrun.cli.commands import app
from tests.conftest import Dlrun, setting, smoke

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200 and len(text.split()) <= 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_commands_and_options_exist() -> None:
    """Each `dlrun ...` in a shell block: its command, and its long options."""
    root = typer.Context(get_command(app))
    found = 0
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in re.findall(r"^\s*(?:dlrun|.*-m dlrun) ([^#\n]*)", block, re.MULTILINE):
                context, words = root, line.split()
                if words[0] in ("my-experiment", "diabetes", "autoencoder"):  # a package of its own
                    continue
                while hasattr(context.command, "commands") and not words[0].startswith("-"):
                    name = words.pop(0)
                    command = context.command.load_command(context, name)
                    context = typer.Context(command, parent=context, info_name=name)
                params = context.command.params
                known = {name for one in params for name in one.opts + one.secondary_opts}
                options = {word.partition("=")[0] for word in words if word.startswith("--")}
                assert options <= known | {"--help"}, (page, line, options - known)
                found += 1
    assert found > 40


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
