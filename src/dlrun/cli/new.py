"""`dlrun new`: write a package with an experiment of the user's own, from a template."""

import importlib.util
import keyword
import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from dlrun.cli import options as opt
from dlrun.errors import ConfigError
from dlrun.runs.folder import check_outside_runs
from dlrun.system.console import Screen

TEMPLATE = Path(__file__).parent / "template"  # it is a working package, my-experiment


def write_experiment_package(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[Path, opt.option("Where the package's folder goes.", "DIR")] = Path(),
) -> None:
    """Write a package with an experiment of your own: code, configs, and a test that passes.

    Examples:
    dlrun new my-experiment
    dlrun new my-experiment --into packages
    """
    commands: Any = context.find_root().command
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        hint = "a small letter, then small letters, digits and single hyphens, as in my-experiment"
        raise ConfigError(f"{name!r}: not a name for an experiment", hint)
    if name in commands.commands:
        raise ConfigError(f"dlrun has {name!r} already", "choose another name")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)  # a folder with this name has no origin
    if keyword.iskeyword(module) or (spec and spec.origin):
        raise ConfigError(f"{module!r} means something else in Python", "choose another name")
    package = into / name
    check_outside_runs("--into", package)
    if package.exists():
        raise ConfigError(f"{package} is there already", "choose another name, or --into")
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    targets = [package / _with_name(str(file.relative_to(TEMPLATE)), name) for file in files]
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_with_name(file.read_text(encoding="utf-8"), name), encoding="utf-8")
    screen = Screen()
    screen.show("\n".join(map(str, targets)))
    install = shlex.join(["pip", "install", "--editable", f"{package}[test]"])
    test = shlex.join(["python", "-m", "pytest", str(package)])
    screen.note(f"Now:\n  {install}\n  dlrun {name}\n  {test}")


def _with_name(text: str, name: str) -> str:
    text = text.replace("my-experiment", name).replace("my_experiment", name.replace("-", "_"))
    camel = "".join(word.capitalize() for word in name.split("-")).removesuffix("Experiment")
    return text.replace("MyImplementation", f"{camel}Implementation")
