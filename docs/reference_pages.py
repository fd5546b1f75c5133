"""Write the pages of docs/reference that are made from the code: `make docs-reference`.

The commands are those of the command line, the config keys those of pydantic's schemas and the
shipped YAML, the Python API the signatures and docstrings in the source. A test compares the pages
with what is written here.
"""

import ast
import json
import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from dlrun.cli.command_list import app as command_line
from dlrun.config.included_files import read_config_file
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys
from dlrun.experiments import registry

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
API_MODULES = ("dlrun", "dlrun.datasets", "dlrun.plugin")
# Of these classes the other members are for dlrun itself.
PUBLIC_MEMBERS = {"SweepResults": ("runs", "failed")}

COMMANDS = """
# Commands and options

The same text as `dlrun --help` and `dlrun COMMAND --help`. [Exit codes and JSON](output.md).
"""

CONFIG_KEYS = """
# Config keys

Every key with its type, the value in the shipped YAML and its meaning. `dlrun config imdb-dense`
prints the keys of one experiment. The section `reference`, the published numbers, is explained with
[the reproduction](../how-to/reproduce.md).
"""

PYTHON_API = """
# Python API

The public names with their signatures and docstrings. Examples: [use dlrun from
Python](../how-to/python.md), [write your own experiment](../how-to/own-experiment.md).
"""


def pages() -> dict[Path, str]:
    """Return the text of each generated page."""
    parts = {
        "commands": (COMMANDS, commands()),
        "config-keys": (CONFIG_KEYS, config_keys()),
        "python-api": (PYTHON_API, python_api()),
    }
    return {REFERENCE / f"{name}.md": page(*part) for name, part in parts.items()}


def page(title: str, lines: Iterator[str]) -> str:
    """Return the text of a page: where it comes from, its first words, and the generated lines."""
    made = "<!-- Written by `make docs-reference` from the code: change it there. -->"
    return f"{title.strip()}\n\n{made}\n\n" + "\n".join(lines).strip() + "\n"


def our_experiments() -> list[str]:
    """Return the lab's experiments in the order of the book; others may be installed too."""
    ours = [shipped for shipped in registry.shipped_configs() if shipped.package == "dlrun"]
    return [shipped.name for shipped in sorted(ours, key=lambda one: one.place_in_book)]


def plain(text: str) -> str:
    """Return text as a paragraph of Markdown, in which only code spans are marked up."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    special = r"[\\*<\[$]|(?<!\w)_|_(?!\w)"
    parts[::2] = [re.sub(special, r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def table_row(*cells: str) -> str:
    """Return a row of a table of Markdown."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def commands() -> Iterator[str]:
    """Yield the lines of a section for the experiments, and for each other command."""
    root: Any = typer.Context(get_command(command_line), info_name="dlrun")
    names = our_experiments()
    yield from ["## dlrun EXPERIMENT", "", "| experiment | |", "|---|---|"]
    for name in names:
        about = registry.shipped_config(name).help.partition("\n")[0]
        yield table_row(f"`{name}`", plain(about))
    yield from ["", *parameters(load(root, names[0]))]
    for name in root.command.commands:
        if name not in registry.experiment_names():
            yield from described(load(root, name))


def load(parent: Any, name: str) -> Any:
    """Return the context of a command, with its arguments and options."""
    command = parent.command.load_command(parent, name)
    return typer.Context(command, parent=parent, info_name=name)


def described(context: Any) -> Iterator[str]:
    """Yield the lines of the section of a command, or of each command of a group."""
    if names := getattr(context.command, "commands", None):
        for name in names:
            yield from described(load(context, name))
        return
    text, _, examples = context.command.help.replace("\b\n", "").partition("Examples:\n")
    yield from [f"## {context.command_path}", ""]
    yield from [line for part in text.strip().split("\n\n") for line in (plain(part), "")]
    if examples:
        yield from ["```sh", examples.strip(), "```", ""]
    yield from parameters(context)


def parameters(context: Any) -> Iterator[str]:
    """Yield the lines of the usage of a command and of the table of its arguments and options."""
    params = context.command.params
    path = context.command_path
    if context.info_name in registry.experiment_names():
        path = "dlrun EXPERIMENT"
    usage = " ".join([path, "[OPTIONS]", *map(argument, filter(is_argument, params))])
    every_experiment = ", ".join(sorted(registry.experiment_names()))
    yield from ["```text", usage, "```", "", "| option | meaning |", "|---|---|"]
    for param in params:
        names = "" if is_argument(param) else ", ".join([*param.opts, *param.secondary_opts])
        words = f"{names} {param.metavar or ''}".strip()
        about = (param.help or "").replace(every_experiment, "the experiments above")
        yield table_row(f"`{words}`", plain(about))
    yield ""


def is_argument(param: Any) -> bool:
    """Return whether a parameter of a command is an argument, not an option."""
    return bool(param.param_type_name == "argument")


def argument(param: Any) -> str:
    """Return an argument as it stands in the usage of a command."""
    name = param.metavar if param.required else f"[{param.metavar}]"
    return f"{name}..." if param.nargs == -1 else name


def config_keys() -> Iterator[str]:
    """Yield the lines of a section for each file of configs/: a table of the keys in it."""
    sections: dict[Path, dict[str, str]] = {}
    for name in our_experiments():
        experiment = registry.find_experiment(name)
        schema = experiment.config.model_json_schema()
        kinds = dict(keys(schema, schema))
        comments: dict[str, str] = {}
        layers = read_config_file(experiment.shipped.yaml_file)
        for layer in layers:
            comments |= read_comments(layer)
        for layer in layers:
            file = Path(next(iter(layer.origins.values())).rpartition(":")[0])
            rows = sections.setdefault(file, {})
            for key, value in flatten_keys(layer.values).items():
                if key in kinds and key not in rows:
                    shown = f"`{json.dumps(value)}`"
                    about = plain(comments.get(key, ""))
                    rows[key] = table_row(f"`{key}`", plain(kinds[key]), shown, about)
    for file, rows in sorted(sections.items(), key=lambda one: one[0].parent.name != "defaults"):
        if not rows:  # all of its values are in the defaults
            continue
        title = f"{file.parent.name}/{file.name}"
        intro = file.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        yield from [f"## {title}", "", intro, ""]
        yield from ["| key | type | value | meaning |", "|---|---|---|---|", *rows.values(), ""]


def read_comments(layer: ConfigLayer) -> dict[str, str]:
    """Return the comment behind each dotted key that is first in its line of a config file.

    The lines that continue a comment have nothing else, and their `#` is in the same column.
    """
    comments: dict[str, str] = {}
    for path, origin in layer.origins.items():
        if layer.origins.get(path[:-1]) == origin:
            continue
        file, _, number = origin.rpartition(":")
        line, *following = linecache.getlines(file)[int(number) - 1 :]
        if comment := re.search(r"(?:^|\s)#\s?(.*)", line):
            parts = [comment[1]]
            column = line.index("#", comment.start())
            for more in following:
                if more[:column].strip() or more[column : column + 1] != "#":
                    break
                parts.append(more[column + 1 :])
            comments[".".join(map(str, path))] = " ".join(part.strip() for part in parts)
    return comments


def keys(
    schema: dict[str, Any], section: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each key of a schema, and its type in words."""
    for name, field in section["properties"].items():
        kinds = [resolved(schema, kind) for kind in field.get("anyOf", [field])]
        sections = [kind for kind in kinds if "properties" in kind]
        if not prefix and name == "reference":  # no setting of a run
            continue
        for one in sections:
            yield from keys(schema, one, f"{prefix}{name}.")
        if not sections:
            yield f"{prefix}{name}", " or ".join(map(type_in_words, kinds))


def resolved(schema: dict[str, Any], kind: dict[str, Any]) -> dict[str, Any]:
    """Return the definition to which a type refers, or the type itself."""
    reference = kind.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["$defs"][reference] if reference else kind
    return found


def type_in_words(kind: dict[str, Any]) -> str:
    """Return a type of a JSON Schema in words, with its bounds."""
    if "enum" in kind:
        return " | ".join(f"`{value}`" for value in kind["enum"])
    words = str(kind.get("type", "any"))
    if words == "array" and "items" in kind:
        words = f"list of {type_in_words(kind['items'])}"
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    bounds["exclusiveMaximum"] = "below"
    return " ".join(
        [words, *(f"{sign} {kind[one]}" for one, sign in bounds.items() if one in kind)]
    )


@dataclass(frozen=True)
class Definition:
    """Holds a function, a class or a type of the source, with the lines of its file."""

    node: ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    lines: list[str]
    module: str

    @property
    def order(self) -> tuple[int, int]:
        """Return the place on the page: functions as in the source, then classes, then types."""
        kind = (ast.FunctionDef, ast.ClassDef, ast.AnnAssign, ast.Assign).index(type(self.node))
        return kind, self.node.lineno if isinstance(self.node, ast.FunctionDef) else 0

    def source(self, first: int, end: int) -> list[str]:
        """Return lines of the file by their numbers, without notes for tools."""
        return [
            re.sub(r"\s+# (noqa|fmt|type:).*", "", line) for line in self.lines[first - 1 : end]
        ]

    def head(self, node: ast.FunctionDef | ast.ClassDef) -> list[str]:
        """Return the lines from `def` or `class` to the colon before the body."""
        return self.source(node.lineno, max(node.lineno, node.body[0].lineno - 1))


def python_api() -> Iterator[str]:
    """Yield the lines of a section for each module, and in it for each public name."""
    told: dict[str, str] = {}
    for module in API_MODULES:
        if not (file := module_file(module)):
            continue
        tree = ast.parse(file.read_text("utf-8"))
        yield from [f"## {module}", "", *docstring(tree)]
        definitions = {name: find_definition(module, name) for name in public_names(tree)}
        for name, one in sorted(definitions.items(), key=lambda item: item[1].order):
            yield from [f"### {module}.{name}", ""]
            if name in told:
                yield from [f"The same as `{told[name]}`.", ""]
                continue
            told[name] = f"{module}.{name}"
            yield from described_definition(one)


def module_file(module: str) -> Path | None:
    """Return the file of a module of dlrun, or None if there is no such module."""
    base = ROOT.joinpath("src", *module.split("."))
    files = (base / "__init__.py", base.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def public_names(tree: ast.Module) -> list[str]:
    """Return the names in `__all__`, else those of the functions and classes of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and assigned_name(node) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    kinds = ast.FunctionDef | ast.ClassDef
    names = [node.name for node in tree.body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def assigned_name(node: ast.Assign | ast.AnnAssign) -> str:
    """Return the name to which a value is assigned, the first of several."""
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def find_definition(module: str, name: str) -> Definition:
    """Return the definition of a name in a module, or in the module that it imports it from."""
    file = module_file(module)
    assert file is not None, f"{name}: from {module}, which is no module of dlrun"
    text = file.read_text("utf-8")
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(node, text.splitlines(), module)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name == assigned_name(node):
            return Definition(node, text.splitlines(), module)
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom):
            for alias in found.names:
                if name == (alias.asname or alias.name):
                    return find_definition(str(found.module), alias.name)
    raise LookupError(f"{module} has no {name}")


def described_definition(found: Definition) -> Iterator[str]:
    """Yield the lines of a function, of a class with its fields and members, or of a type."""
    node = found.node
    if isinstance(node, ast.Assign | ast.AnnAssign):
        first = node.lineno
        while found.lines[first - 2].startswith("#"):
            first -= 1
        yield from code(found.source(first, int(node.end_lineno or first)))
        return
    if isinstance(node, ast.FunctionDef):
        yield from [*code(found.head(node)), *docstring(node)]
        return
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    lines = [*found.source(first, node.lineno - 1), *found.head(node)]
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and not assigned_name(part).startswith("_"):
            lines += found.source(part.lineno, int(part.end_lineno or part.lineno))
        elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
            lines += [] if node.name in PUBLIC_MEMBERS else found.head(part)
    yield from [*code(lines), *docstring(node), *members(found, node)]


def members(found: Definition, node: ast.ClassDef) -> Iterator[str]:
    """Yield a line for each public property and method of a class that has a docstring."""
    methods = methods_of(found, node)
    lines = []
    for name, (place, method) in methods.items():
        text = ast.get_docstring(method)
        if text and not name.startswith("_") and name in PUBLIC_MEMBERS.get(node.name, methods):
            lines.append(f"- `{one_line(place.head(method), is_property(method))}`: {plain(text)}")
    if lines:
        yield from ["Members:", "", *lines, ""]


def methods_of(
    found: Definition, node: ast.ClassDef
) -> dict[str, tuple[Definition, ast.FunctionDef]]:
    """Return a class's methods, and where each is defined; of dlrun.api also inherited ones."""
    methods: dict[str, tuple[Definition, ast.FunctionDef]] = {}
    for base in node.bases if found.module == "dlrun.api" else ():
        inherited = find_definition(found.module, ast.unparse(base))
        assert isinstance(inherited.node, ast.ClassDef)
        methods |= methods_of(inherited, inherited.node)
    own = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    return methods | {method.name: (found, method) for method in own}


def is_property(method: ast.FunctionDef) -> bool:
    """Return whether a method is read like an attribute."""
    return any(ast.unparse(one).endswith("property") for one in method.decorator_list)


def one_line(head: list[str], reads_as_attribute: bool) -> str:
    """Return the signature of a method on one line, without `self`; of a property its type."""
    text = " ".join(line.strip() for line in head).removeprefix("def ").removesuffix(":")
    text = re.sub(r"\((?:self|cls)(?:, )?", "(", re.sub(r",? \)", ")", text.replace("( ", "(")))
    text = re.sub(r'(-> |: )"([^"]+)"', r"\1\2", text)  # a type in quotes
    return text.replace("() ->", ":", 1) if reads_as_attribute else text


def code(lines: list[str]) -> list[str]:
    """Return lines of source as a block of Markdown."""
    return ["```python", *lines, "```", ""]


def docstring(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Yield a docstring as Markdown: indented text under a line becomes an item of a list."""
    for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
        head, *rest = paragraph.split("\n")
        if paragraph.startswith("- "):
            items = paragraph.removeprefix("- ").split("\n- ")
            yield from [*(f"- {plain(item)}" for item in items), ""]
        elif not rest or not rest[0].startswith(" "):
            yield from [plain(paragraph), ""]
        elif head in ("Args:", "Attributes:"):
            items = re.sub(r"\n {8,}", " ", "\n".join(rest)).split("\n")
            for item in items:
                names, _, text = item.strip().partition(": ")
                yield f"- {', '.join(f'`{name}`' for name in names.split(', '))}: {plain(text)}"
            yield ""
        else:
            yield from [f"- `{head}`: {plain(' '.join(rest))}", ""]


def main() -> None:
    """Write the pages."""
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
