"""Build the site from the Markdown of the repository: `make docs`.

The source is the root of the repository, so that a link leads to the same page on a forge and on
the site. Some pages get a generated part as they are read: the menu from the lists in docs/README,
the commands from the command line, the config keys from their JSON Schemas.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from sphinx.application import Sphinx
from typer.main import get_command

from dlrun import __version__
from dlrun.cli.commands import app as command_line
from dlrun.config.json_schema import config_json_schema
from dlrun.config.yaml_loader import flatten_keys
from dlrun.experiments import registry

project, release, html_title = "dlrun", __version__, f"dlrun {__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_show_copyright = html_show_sourcelink = html_copy_source = False
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**", "benchmarks/*.md", "data/*.md", "runs/*.md", "examples/**"]
# Folders that are not even walked, and files in the others that are no pages.
exclude_patterns = [
    ".*", "build", "dist", "src", "tests", "configs", "*/.*", "*/results", "data/[!R]*",
    "runs/[!R]*", "reproduction.md", "examples/runs", "examples/data", "examples/*/src",
]  # fmt: skip
suppress_warnings = ["toc.not_included"]  # such as runs/README, to which other pages lead
myst_heading_anchors = 3
highlight_language = "text"
default_role = "literal"  # `name` in a docstring
smartquotes = False  # `--set` has two hyphens
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

PYTHON_API = """
## dlrun

```{eval-rst}
.. autofunction:: dlrun.run
.. autofunction:: dlrun.resume
.. autofunction:: dlrun.sweep
.. autofunction:: dlrun.open
.. autofunction:: dlrun.runs
.. autoclass:: dlrun.Run
   :members:
.. autoclass:: dlrun.SweepResults
   :members: runs, failed
.. autoexception:: dlrun.DlrunError
.. autoexception:: dlrun.ConfigError
.. autoexception:: dlrun.DataError
```

## dlrun.datasets

```{eval-rst}
.. automodule:: dlrun.datasets
   :members:
```

## dlrun.experiment

```{eval-rst}
.. automodule:: dlrun.experiment
   :members:
   :exclude-members: Run
```
"""


def setup(app: Sphinx) -> None:
    """Add the generated part to each page that has one."""
    generated: dict[str, Callable[[str], str]] = {
        root_doc: menu,
        "docs/reference/commands": lambda _: "\n".join(commands()),
        "docs/reference/config-keys": lambda _: "\n".join(config_keys()),
        "docs/reference/python-api": lambda _: PYTHON_API,
    }

    def add_generated(app: Sphinx, page: str, source: list[str]) -> None:
        if page in generated:
            source[0] += "\n" + generated[page](source[0])

    app.connect("source-read", add_generated)
    app.connect("build-finished", copy_figures)
    # Napoleon takes the words before a colon in a property's docstring for its type.
    kept: list[str] = []

    def keep(
        app: Sphinx, what: str, name: str, obj: object, options: object, to: list[str]
    ) -> None:
        kept[:] = to

    def undo(
        app: Sphinx, what: str, name: str, obj: object, options: object, to: list[str]
    ) -> None:
        if what == "property":
            to[:] = kept

    app.connect("autodoc-process-docstring", keep, priority=400)
    app.connect("autodoc-process-docstring", undo, priority=600)


def copy_figures(app: Sphinx, error: Exception | None) -> None:
    """Copy the figures to where README's HTML looks for them; Sphinx copies those of Markdown."""
    shutil.copytree(
        Path(app.confdir) / "figures", Path(app.outdir) / "docs" / "figures", dirs_exist_ok=True
    )


def our_experiments() -> list[str]:
    """Return the lab's experiments in the order of the book; others may be installed too."""
    names = registry.sort_by_place(registry.experiment_names())
    return [name for name in names if registry.experiment_entry(name).package == "dlrun"]


def menu(text: str) -> str:
    """Return the site's menu: the pages in the lists of docs/README under their headings."""
    parts = []
    for section in text.split("\n## ")[1:]:
        pages = "\n".join(re.findall(r"\]\(([^)#:]+)\.md\)", section))
        caption = section.partition("\n")[0]
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "\n".join(parts)


def plain(text: str) -> str:
    """Return text as Markdown for a cell of a table, in which only code spans are marked up."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\*_<>\[\]#$])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", r"\|")


def commands() -> Iterator[str]:
    """Yield the lines of a section for the experiments, and for each other command."""
    root = typer.Context(get_command(command_line), info_name="dlrun")
    names = our_experiments()
    yield from ["## dlrun EXPERIMENT", "", "| experiment | |", "|---|---|"]
    for name in names:
        about = registry.experiment_entry(name).help.partition("\n")[0]
        yield f"| `{name}` | {plain(about)} |"
    yield from ["", *parameters(load(root, names[0])), ""]
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
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    if context.info_name in registry.experiment_names():
        usage = usage.replace(context.info_name, "EXPERIMENT", 1)
    yield from ["```text", usage, "```", "", "| option | meaning |", "|---|---|"]
    for param in command.params:
        is_option = param.param_type_name == "option"
        names = ", ".join([*param.opts, *param.secondary_opts]) if is_option else ""
        words = f"{names} {param.metavar or ''}".strip()
        yield f"| {plain(f'`{words}`')} | {plain(getattr(param, 'help', None) or '')} |"
    yield ""


def config_keys() -> Iterator[str]:
    """Yield the lines of a section for each file of configs/: a table of the keys in it."""
    sections: dict[Path, dict[str, str]] = {}
    for name in our_experiments():
        entry = registry.experiment_entry(name)
        schema = config_json_schema(registry.load_config_class(name), entry.layers, name)
        known = {key: (kind, about) for key, kind, about in keys(schema, schema)}
        for layer in entry.layers:
            file = Path(next(iter(layer.origins.values())).rpartition(":")[0])
            rows = sections.setdefault(file, {})
            for key, value in flatten_keys(layer.values).items():
                if key in known and key not in rows:
                    kind, about = known[key]
                    cells = f"`{key}`", plain(kind), f"`{json.dumps(value)}`", plain(about)
                    rows[key] = f"| {' | '.join(cells)} |"
    for file, rows in sorted(sections.items(), key=lambda one: one[0].parent.name != "defaults"):
        if not rows:  # all of its values are in the defaults
            continue
        title = f"{file.parent.name}/{file.name}"
        intro = file.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        yield from [f"## {title}", "", intro, ""]
        yield from ["| key | type | value | meaning |", "|---|---|---|---|", *rows.values(), ""]


def keys(
    schema: dict[str, Any], section: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield the dotted name of each key of a schema, its type in words, and its description."""
    for name, field in section["properties"].items():
        kinds = [resolved(schema, kind) for kind in field.get("anyOf", [field])]
        sections = [kind for kind in kinds if "properties" in kind]
        if not prefix and name in ("defaults", "reference"):  # no settings of a run
            continue
        for one in sections:
            yield from keys(schema, one, f"{prefix}{name}.")
        if not sections:
            yield (
                f"{prefix}{name}",
                " or ".join(map(type_in_words, kinds)),
                field.get("description", ""),
            )


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
    bounds = {"minimum": "from", "exclusiveMinimum": ">", "maximum": "to", "exclusiveMaximum": "<"}
    return " ".join(
        [words, *(f"{sign} {kind[one]}" for one, sign in bounds.items() if one in kind)]
    )
