"""List all commands of dlrun, and import the module of a command only to run the command."""

import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from dlrun import __version__
from dlrun.errors import UsageError, did_you_mean
from dlrun.experiments import registry

COMMANDS_FOLDER = Path(__file__).parent
# `module:function` in dlrun.cli, by group and command name.
COMMANDS = {
    "dlrun": {
        "demo": "demo:run_demo",
        "sweep": "sweep:sweep",
        "resume": "resume:resume",
        "reproduce": "reproduce:reproduce",
        "report": "report:write_report",
        "predict": "predict:predict_inputs",
        "verify": "verify:verify_runs",
        "config": "config:config",
        "script": "script:print_plain_script",
        "accelerators": "accelerators:list_accelerators",
        "new": "new:write_experiment_package",
    },
    "data": {"fetch": "data_fetch:fetch_dataset"},
    "runs": {
        "list": "runs_list:list_runs",
        "show": "runs_show:show",
        "compare": "runs_compare:compare",
        "note": "runs_show:write_note",
        "tag": "runs_show:change_tags",
        "rm": "runs_rm:remove",
        "check": "runs_check:check",
    },
}
GROUPS = {
    "data": """Download, check and prepare the data.

Examples:
dlrun data fetch imdb
""",
    "runs": """List, show, compare, annotate, check and remove runs.

Examples:
dlrun runs list --sort metrics.test_accuracy
dlrun runs show latest
dlrun runs compare imdb-dense/latest imdb-lstm/latest
""",
}
# The headings of `dlrun --help`: first those of the experiments, then these with their commands.
EXPERIMENT_PANELS = "The book's experiments", "Your own data", "Experiments of other packages"
BOOK_PANEL, OWN_DATA_PANEL, OTHERS_PANEL = EXPERIMENT_PANELS
COMMANDS_BY_PANEL = {
    "Many runs": ("demo", "sweep", "reproduce"),
    "Runs": ("runs", "resume", "verify", "report", "predict"),
    "More": ("config", "script", "data", "accelerators", "new"),
}
PANEL_OF = {name: panel for panel, names in COMMANDS_BY_PANEL.items() for name in names}
# Settings of a command whose arguments may begin with a dash.
DASHED_ARGUMENTS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
Context: TypeAlias = Any  # click's, which typer keeps to itself
Command: TypeAlias = Any
VERSION_HELP = "Show the version, the commit, the folder."
RESERVED_NAMES = {*COMMANDS["dlrun"], *GROUPS}  # an experiment of such a name is left out


class LazyCommandGroup(TyperGroup):
    """Groups commands that have only a name and a help text until one of them is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.help = _keep_lines_of_examples(self.help or "")
        self.function_paths = COMMANDS[str(self.name)]
        if self.name == "dlrun":
            for panel, entries in _experiments_by_panel().items():
                for entry in entries:
                    text = inspect.cleandoc(entry.help)
                    self.add_command(TyperCommand(entry.name, help=text, rich_help_panel=panel))
        for name in self.function_paths:
            self.add_command(TyperCommand(name, rich_help_panel=PANEL_OF.get(name)))

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands: the experiments, and others by their panels."""
        others = [name for name in PANEL_OF if name in self.commands]
        return [name for name in self.commands if name not in others] + others

    def get_command(self, ctx: Context, cmd_name: str) -> Command:
        """Return a command with its help text, without an import; click lists it."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help is None:
            command.help = _read_help(self.function_paths[cmd_name])
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the commands of each panel below its heading, as typer does only with rich."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            rows = panels.setdefault(command.rich_help_panel or "Commands", [])
            rows.append((name, command.get_short_help_str(limit=200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def load_command(self, ctx: Context, name: str) -> Any:
        """Import a command of this group, and return it with its arguments and options."""
        if name not in self.commands:
            raise _unknown_command(name, self.commands, f"{ctx.command_path} --help lists them")
        listed = self.commands[name]
        if isinstance(listed, LazyCommandGroup):
            return listed
        command = _make_typer_command(name, self.function_paths.get(name), listed.help)
        # Errors are reported for all commands in one place, which looks for --debug.
        options = ctx.find_root().command.params
        command.params += [option for option in options if option.name == "debug"]
        return command

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Return the name, the command and the remaining arguments of a command that click runs."""
        self.commands[args[0]] = self.load_command(ctx, args[0])  # not only with its help text
        return super().resolve_command(ctx, args)


def _make_typer_command(name: str, function_path: str | None, listed_help: str | None) -> Command:
    """Import a command's function, an experiment's if it has no path, and make a command of it."""
    path = function_path or "experiment:make_experiment_command"
    function = pkgutil.resolve_name(f"dlrun.cli.{path}")
    if function_path is None:
        function = function(name)
    help_text = _keep_lines_of_examples(listed_help or inspect.getdoc(function) or "")
    typer_app = typer.Typer(add_completion=False, rich_markup_mode=None)
    context_settings = (
        DASHED_ARGUMENTS if path == "runs_show:change_tags" else None
    )  # -TAG removes it
    typer_app.command(name, help=help_text, context_settings=context_settings)(function)
    return typer.main.get_command(typer_app)


def _experiments_by_panel() -> dict[str, list[registry.ExperimentEntry]]:
    """Return the experiments below the headings of `dlrun --help`."""
    by_panel: dict[str, list[registry.ExperimentEntry]] = {panel: [] for panel in EXPERIMENT_PANELS}
    for entry in map(registry.experiment_entry, registry.experiment_names()):
        panel = BOOK_PANEL if entry.has_published_numbers else OWN_DATA_PANEL
        if entry.package != "dlrun":
            panel = OTHERS_PANEL
        if entry.name not in RESERVED_NAMES:
            by_panel[panel].append(entry)
    return by_panel


def _unknown_command(name: str, commands: Iterable[str], hint: str) -> UsageError:
    """Return the error for an unknown command, with the commands that may be meant."""
    close = [command for command in commands if name and command.startswith(name)]
    close += [f"{other} {name}" for other in GROUPS if name in COMMANDS[other]]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return UsageError(f"no command {name!r}{meant or did_you_mean(name, commands)}", hint)


def _keep_lines_of_examples(text: str) -> str:
    """Return a help text whose examples click prints a line each, as `\\b` asks it to."""
    return text.replace("Examples:\n", "\b\nExamples:\n")


def _read_help(function_path: str) -> str:
    """Return the docstring of a command's function, `module:name`, without importing its module."""
    module, _, name = function_path.partition(":")
    source = (COMMANDS_FOLDER / f"{module}.py").read_text(encoding="utf-8")
    # Parsing the modules with `ast` would take `dlrun --help` 0.04 s longer.
    docstring = re.search(rf'^def {name}\(.*?"""(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert docstring is not None
    return inspect.cleandoc(docstring[1])


app = typer.Typer(
    name="dlrun",
    cls=LazyCommandGroup,
    help="""Runs the deep-learning lab of An Introduction to Statistical Learning with Python.

Examples:
dlrun demo                         # the whole chapter in one to three minutes
dlrun hitters-linear               # an experiment
dlrun sweep imdb-dense --seeds 5   # another, for five seeds
dlrun runs list                    # what was run, and how well
dlrun sweep --help                 # the options of a command
""",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help takes 0.1 s to import
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(is_asked: bool) -> None:
    """Show the version, the commit and the folder of dlrun, and exit."""
    if is_asked:
        from dlrun.system.commit import PACKAGE, describe_commit

        typer.echo(f"dlrun {__version__}, commit {describe_commit()}\n{PACKAGE}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help=VERSION_HELP, callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", expose_value=False)
    ] = False,
) -> None:
    """Declare the options of `dlrun` itself; main.py reads --debug."""


for group, text in GROUPS.items():
    _app = typer.Typer(cls=LazyCommandGroup, help=text, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(_app, name=group, rich_help_panel=PANEL_OF[group])
