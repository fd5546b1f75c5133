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

COMMANDS_FOLDER = Path(__file__).parents[1] / "commands"
# `module:function` in dlrun.commands, by group and command name.
COMMANDS = {
    "dlrun": {
        "demo": "demo:run_demo",
        "sweep": "sweep:sweep",
        "resume": "run_resume_config:resume",
        "reproduce": "report_reproduce:reproduce",
        "report": "report_reproduce:write_report",
        "predict": "predict:predict_inputs",
        "verify": "verify:verify_runs",
        "config": "run_resume_config:config",
        "script": "plain_script:print_script",
        "accelerators": "accelerators:list_accelerators",
        "new": "new:write_experiment_package",
    },
    "data": {"fetch": "data:fetch_dataset"},
    "runs": {
        "list": "list_runs:list_runs",
        "show": "show:show",
        "compare": "compare:compare",
        "note": "show:write_note",
        "tag": "show:change_tags",
        "rm": "check_and_remove:remove",
        "check": "check_and_remove:check",
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
OF_BOOK, OWN_DATA = "The book's experiments", "Your own data"
OF_OTHERS = "Experiments of other packages"
PANELS = {
    "Many runs": ("demo", "sweep", "reproduce"),
    "Runs": ("runs", "resume", "verify", "report", "predict"),
    "More": ("config", "script", "data", "accelerators", "new"),
}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}
MAKE_EXPERIMENT_COMMAND = "run_resume_config:make_experiment_command"
# Settings of a command whose arguments may begin with a dash, such as `-old`.
DASHED = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
Context: TypeAlias = Any  # click's, which typer keeps to itself
Command: TypeAlias = Any
RESERVED = {*COMMANDS["dlrun"], *GROUPS}  # names that no package can have


class LazyCommandGroup(TyperGroup):
    """Groups commands that have only a name and a help text until one of them is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.help = _keep_lines_of_examples(self.help or "")
        self.places = COMMANDS[str(self.name)]
        if self.name == "dlrun":
            for panel, entries in _experiments_by_panel().items():
                for entry in entries:
                    text = inspect.cleandoc(entry.help)
                    self.add_command(TyperCommand(entry.name, help=text, rich_help_panel=panel))
        for name in self.places:
            self.add_command(TyperCommand(name, rich_help_panel=PANEL_OF.get(name)))

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands: the experiments, and others by their panels."""
        others = [name for name in PANEL_OF if name in self.commands]
        return [name for name in self.commands if name not in others] + others

    def get_command(self, ctx: Context, cmd_name: str) -> Command:
        """Return a command with its help, for a list of commands."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help is None:
            command.help = _read_help(self.places[cmd_name])
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the commands of each panel below its heading."""
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
            hint = f"{ctx.command_path} --help lists them"
            raise _unknown_command_error(name, self.commands, hint)
        listed = self.commands[name]
        if isinstance(listed, LazyCommandGroup):
            return listed
        place = self.places.get(name, MAKE_EXPERIMENT_COMMAND)
        function = pkgutil.resolve_name(f"dlrun.commands.{place}")
        if place == MAKE_EXPERIMENT_COMMAND:
            function = function(name)
        help_text = _keep_lines_of_examples(listed.help or inspect.getdoc(function) or "")
        context_settings = DASHED if place == "show:change_tags" else None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, help=help_text, context_settings=context_settings)(function)
        command: Command = typer.main.get_command(single)
        # Errors are reported for all commands in one place, which looks for --debug.
        root: Command = ctx.find_root().command
        command.params += [param for param in root.params if param.name == "debug"]
        return command

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Return the command name, the command and the remaining arguments of a command line."""
        self.commands[args[0]] = self.load_command(ctx, args[0])
        return super().resolve_command(ctx, args)


def _experiments_by_panel() -> dict[str, list[registry.ExperimentEntry]]:
    """Return the experiments below the headings of `dlrun --help`."""
    by_panel: dict[str, list[registry.ExperimentEntry]] = {OF_BOOK: [], OWN_DATA: [], OF_OTHERS: []}
    for entry in map(registry.experiment_entry, registry.experiment_names()):
        panel = OWN_DATA if entry.package == "dlrun" else OF_OTHERS
        if entry.name not in RESERVED:
            by_panel[OF_BOOK if entry.has_published_numbers else panel].append(entry)
    return by_panel


def _unknown_command_error(name: str, commands: Iterable[str], hint: str) -> UsageError:
    """Return the error for an unknown command, with the commands that may be meant."""
    close = [command for command in commands if command.startswith(name)]
    close += [f"{other} {name}" for other in GROUPS if name in COMMANDS[other]]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return UsageError(f"no command {name!r}{meant or did_you_mean(name, commands)}", hint)


def _keep_lines_of_examples(text: str) -> str:
    """Return a help text whose examples click prints a line each, as `\\b` asks it to."""
    return text.replace("Examples:\n", "\b\nExamples:\n")


def _read_help(place: str) -> str:
    """Return the docstring of a command's function, `module:name`, without importing its module."""
    module, _, name = place.partition(":")
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
dlrun demo                         # the whole chapter in two minutes
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
        typer.Option(
            "--version",
            "-V",
            help="Show the version, the commit, the folder.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", expose_value=False)
    ] = False,
) -> None:
    """Declare the options of `dlrun` itself; main.py reads --debug."""


for _group, _help in GROUPS.items():
    app.add_typer(
        typer.Typer(cls=LazyCommandGroup, help=_help, no_args_is_help=True, rich_markup_mode=None),
        name=_group,
        rich_help_panel=PANEL_OF[_group],
    )
