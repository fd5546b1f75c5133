"""`dlrun new`: write a Python package with a working experiment, to be installed and changed."""

import importlib.util
import keyword
import re
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from dlrun.commands.options import option
from dlrun.errors import ConfigError
from dlrun.system.console import Screen

TEMPLATE = Path(__file__).parent / "template"  # a working package of this name:
NAME = "my-experiment"


def write_experiment_package(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[Path, option("Where the package's folder goes.", "DIR")] = Path(),
) -> None:
    """Write a package with an experiment of your own: code, configs, and a test that passes.

    Examples:
    dlrun new my-experiment
    dlrun new my-experiment --into packages
    """
    commands: Any = context.find_root().command
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(
            f"{name!r}: not a name for an experiment",
            "small letters, digits and hyphens only: my-experiment",
        )
    if name in commands.commands:
        raise ConfigError(f"dlrun has {name!r} already", "choose another name")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)  # a folder with this name has no origin
    if keyword.iskeyword(module) or (spec and spec.origin):
        raise ConfigError(f"{module!r} means something else in Python", "choose another name")
    folder, whole = into / f".{name}.new", into / name
    if whole.exists():
        raise ConfigError(f"{whole} is there already", "choose another name, or --into")
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    targets = [_rename(str(file.relative_to(TEMPLATE)), name) for file in files]
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for file, target in zip(files, targets, strict=True):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            text = _rename(file.read_text(encoding="utf-8"), name)
            (folder / target).write_text(text, encoding="utf-8")
        folder.rename(whole)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"{whole}: {error.strerror}", "choose another folder: --into") from None
    screen = Screen()
    screen.show(Text("\n".join(str(whole / target) for target in targets)))
    screen.note(
        f"Now:\n  pip install --editable '{whole}[test]'\n  dlrun {name}\n"
        f"  python -m pytest {whole}\n"
        f"{whole / 'README.md'} describes the files."
    )


def _rename(text: str, name: str) -> str:
    """Replace the names of the template in a text by those of the new package."""
    text = text.replace(NAME, name).replace(NAME.replace("-", "_"), name.replace("-", "_"))
    camel = "".join(word.capitalize() for word in name.split("-")).removesuffix("Experiment")
    return text.replace("MyExperiment", f"{camel}Experiment")
