"""List all commands of dlrun, and import the module of a command only to run the command."""

import inspect
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from dlrun import __version__
from dlrun.errors import UsageError
from dlrun.experiments import registry
from dlrun.experiments.shipped_config import ShippedConfig
from dlrun.system.spelling import did_you_mean


@dataclass(frozen=True)
class ListedCommand:
    """Describes a command whose module is not imported yet, because to import all is slow."""

    function: str  # `module:function` in dlrun.cli
    summary: str  # the first sentence of the function's docstring, as a test checks
    context_settings: dict[str, Any] | None = None  # click's


# Settings of a command whose arguments may begin with a dash.
DASHED_ARGUMENTS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
# Each command has its group and its name as keys.
COMMANDS = {
    "dlrun": {
        "demo": ListedCommand(
            "demo:run_demo",
            "Run ISLP's chapter 10 in one to three minutes, without a download, beside the "
            "book's numbers.",
        ),
        "sweep": ListedCommand(
            "sweep:sweep",
            "Run experiments for several seeds and config values in parallel, and name the "
            "best config.",
        ),
        "resume": ListedCommand(
            "resume:resume",
            "Continue a run that was stopped, from its last finished epoch or lasso penalty.",
        ),
        "reproduce": ListedCommand(
            "reproduce:reproduce",
            "Run the lab with several seeds, and write the book's numbers beside yours on one "
            "HTML page.",
        ),
        "report": ListedCommand(
            "report:write_report",
            "Write one HTML page about runs, which works offline: curves, configs, misclassified "
            "inputs.",
        ),
        "predict": ListedCommand(
            "predict:predict_inputs",
            "Predict new texts, images or table rows with a finished run, read as its training "
            "data were.",
        ),
        "verify": ListedCommand(
            "verify:verify_runs",
            "Repeat runs from their own configs, and compare each with its repetition bit for bit.",
        ),
        "config": ListedCommand(
            "config:print_config",
            "Print an experiment's resolved config as YAML.",
        ),
        "script": ListedCommand(
            "script:print_plain_script",
            "Print an experiment as a script in plain PyTorch or scikit-learn, with your "
            "config's values.",
        ),
        "accelerators": ListedCommand(
            "accelerators:list_accelerators",
            "List the CPU and the accelerators, and why torch cannot use one that is missing.",
        ),
        "new": ListedCommand(
            "new:write_experiment_package",
            "Write a package with an experiment of your own: code, configs, and a test that "
            "passes.",
        ),
    },
    "data": {
        "fetch": ListedCommand(
            "data_fetch:fetch_dataset",
            "Download an experiment's data, compare them with published checksums, and prepare "
            "them.",
        ),
        "show": ListedCommand(
            "data_show:show_row",
            "Show one row of a data set: a text with its word ids, an image, or the cells of a "
            "table.",
        ),
    },
    "runs": {
        "list": ListedCommand(
            "runs_list:list_runs",
            "List runs, newest first: state, test metric, the book's, seconds, changed values.",
        ),
        "show": ListedCommand(
            "runs_show:show",
            "Show one run: result, data, versions, files, and the commands to resume and repeat "
            "it.",
        ),
        "compare": ListedCommand(
            "runs_compare:compare",
            "Show what differs between runs, and their metrics side by side, the best of each "
            "marked *.",
        ),
        "note": ListedCommand(
            "runs_note:write_note",
            "Write a run's note, at any time; it replaces the earlier note.",
        ),
        "tag": ListedCommand(
            "runs_tag:change_tags",
            "Add tags to a run and remove tags from it, at any time.",
            DASHED_ARGUMENTS,
        ),
        "rm": ListedCommand(
            "runs_rm:remove",
            "Remove the named runs, or those that match all options, after listing them and "
            "asking.",
        ),
        "check": ListedCommand(
            "runs_check:check",
            "Read runs back and say which are undamaged: records, checkpoints, weights, tables, "
            "figures.",
        ),
    },
}
GROUPS = {
    "data": """Download, check, prepare and look at the data.

Examples:
dlrun data fetch imdb
dlrun data show imdb 0
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
Context: TypeAlias = Any  # click's, which typer keeps to itself
Command: TypeAlias = Any
VERSION_HELP = "Show the version, the commit, the folder."
RESERVED_NAMES = {*COMMANDS["dlrun"], *GROUPS}  # an experiment of such a name is left out


class LazyCommandGroup(TyperGroup):
    """Lists commands by their names and summaries, and imports a command only to run it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.help = _keep_lines_of_examples(self.help or "")
        self.listed = COMMANDS[str(self.name)]
        if self.name == "dlrun":
            for panel, entries in _experiments_by_panel().items():
                for entry in entries:
                    text = inspect.cleandoc(entry.help)
                    self.add_command(TyperCommand(entry.name, help=text, rich_help_panel=panel))
        for name, listed in self.listed.items():
            command = TyperCommand(name, help=listed.summary, rich_help_panel=PANEL_OF.get(name))
            self.add_command(command)

    def list_commands(self, ctx: Context) -> list[str]:
        """The experiments come first, and the others follow by their panels."""
        others = [name for name in PANEL_OF if name in self.commands]
        return [name for name in self.commands if name not in others] + others

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Write the commands of each panel below its heading, as typer does only with rich."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Command = self.commands[name]
            rows = panels.setdefault(command.rich_help_panel or "Commands", [])
            rows.append((name, command.get_short_help_str(limit=200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def load_command(self, ctx: Context, name: str) -> Any:
        """Import a command of this group, and return it with its arguments and options."""
        if name not in self.commands:
            raise _unknown_command(name, self.commands, f"{ctx.command_path} --help lists them")
        if isinstance(self.commands[name], LazyCommandGroup):
            return self.commands[name]
        if name in self.listed:
            function = pkgutil.resolve_name(f"dlrun.cli.{self.listed[name].function}")
            command = _make_typer_command(name, function, self.listed[name].context_settings)
        else:
            from dlrun.cli.experiment import make_experiment_command  # slow: all that a run needs

            command = _make_typer_command(name, make_experiment_command(name))
        # Errors are reported for all commands in one place, which looks for --debug.
        options = ctx.find_root().command.params
        command.params += [option for option in options if option.name == "debug"]
        return command

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Click runs a command that has its options, and not only its summary."""
        # Until now the command had only its summary.
        self.commands[args[0]] = self.load_command(ctx, args[0])
        return super().resolve_command(ctx, args)


def _make_typer_command(
    name: str, function: Callable[..., Any], context_settings: dict[str, Any] | None = None
) -> Command:
    """Typer reads the parameters and the docstring of the function."""
    typer_app = typer.Typer(add_completion=False, rich_markup_mode=None)
    help_text = _keep_lines_of_examples(inspect.getdoc(function) or "")
    typer_app.command(name, help=help_text, context_settings=context_settings)(function)
    return typer.main.get_command(typer_app)


def _experiments_by_panel() -> dict[str, list[ShippedConfig]]:
    by_panel: dict[str, list[ShippedConfig]] = {panel: [] for panel in EXPERIMENT_PANELS}
    for shipped in registry.shipped_configs():
        panel = BOOK_PANEL if shipped.has_published_numbers else OWN_DATA_PANEL
        if shipped.package != "dlrun":
            panel = OTHERS_PANEL
        if shipped.name not in RESERVED_NAMES:
            by_panel[panel].append(shipped)
    return by_panel


def _unknown_command(name: str, commands: Iterable[str], hint: str) -> UsageError:
    close = [command for command in commands if name and command.startswith(name)]
    close += [f"{other} {name}" for other in GROUPS if name in COMMANDS[other]]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return UsageError(f"no command {name!r}{meant or did_you_mean(name, commands)}", hint)


def _keep_lines_of_examples(text: str) -> str:
    """Click prints each example on a line of its own, as `\\b` asks."""
    return text.replace("Examples:\n", "\b\nExamples:\n")


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
