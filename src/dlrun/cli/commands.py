"""The table of all commands, and the group that imports a command's module only to run it."""

import pkgutil
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from dlrun import __version__
from dlrun.cli.errors import unknown_command_error
from dlrun.experiments import registry


class Command(NamedTuple):
    """Describes a command that is not imported yet."""

    function: str  # `module:function` in dlrun.commands; its parameters are arguments and options
    help: str
    example: str


# A name of two words is a command of a group.
COMMANDS = {
    "resume": Command(
        "run:resume",
        "Continue a run that was stopped, from its last finished epoch or lambda.",
        "dlrun resume latest --set trainer.max_epochs=40",
    ),
    "sweep": Command(
        "sweep:sweep",
        "Run an experiment over seeds and values, several at once, and say which config is best.",
        "dlrun sweep imdb-dense --seeds 5 --grid optimizer.lr=0.001,0.002",
    ),
    "reproduce": Command(
        "reproduce:reproduce",
        "Run the lab over seeds, and write the book's numbers beside yours on one page.\n\n"
        "Runs that earlier calls finished are not repeated.",
        "dlrun reproduce imdb-dense imdb-lasso --seeds 5",
    ),
    "verify": Command(
        "verify:verify_run",
        "Repeat a run from its own config, and compare the two bit for bit.\n\n"
        "Exits with 0 if they are identical; otherwise with 1, the first difference, and what "
        "differs in code, packages, machine and data.",
        "dlrun verify latest",
    ),
    "report": Command(
        "report:report",
        "Write one HTML page about runs, with curves, mistakes and configs, that works offline.",
        "dlrun report imdb-dense/latest imdb-lasso/latest",
    ),
    "predict": Command(
        "predict:predict_inputs",
        "Predict new texts or images with a finished run, and read them as it read its own data.",
        'dlrun predict latest "A film to fall asleep in."',
    ),
    "export": Command(
        "export:export_network",
        "Write a run's network as one file that other programs use without dlrun.\n\n"
        "Its metadata holds vocabulary, labels and preprocessing. It is compared with the network "
        "before it is saved under its name.",
        "dlrun export latest --format onnx --out reviews.onnx",
    ),
    "demo": Command(
        "demo:run_demo",
        "Run every experiment on generated or shipped data, without a download.",
        "dlrun demo --runs-dir demo-runs",
    ),
    "config": Command(
        "run:config",
        "Print an experiment's resolved config as YAML.",
        "dlrun config imdb-lstm --set batch_size=100 > mine.yaml",
    ),
    "accelerators": Command(
        "accelerators:list_accelerators",
        "List this machine's accelerators, why others are missing, and how fast they are.",
        "dlrun accelerators cifar100 --set data.source=sample",
    ),
    "new": Command(
        "new:write_experiment_package",
        "Write a package with an experiment of your own: code, configs, and a test that passes.",
        "dlrun new my-experiment",
    ),
    "data fetch": Command(
        "data:fetch_dataset",
        "Download the data and prepare them for the experiments.",
        "dlrun data fetch imdb --set data.source=keras",
    ),
    "data verify": Command(
        "data:verify_dataset",
        "Check the files against the published checksums, and their contents.",
        "dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz",
    ),
    "data show": Command(
        "data:show_dataset",
        "Show reviews, decoded from their ids back to words.",
        "dlrun data show imdb --count 2 --set data.source=sample",
    ),
    "runs list": Command(
        "list_runs:list_runs",
        "List runs, newest first: state, test metric, the book's, seconds, size, changed values.",
        "dlrun runs list imdb-dense --where 'optimizer.lr>0.001' --sort metrics.test_accuracy",
    ),
    "runs show": Command(
        "show:show",
        "Show one run: result, data, versions, files, and the commands to resume and repeat it.",
        "dlrun runs show imdb-dense/latest",
    ),
    "runs compare": Command(
        "compare:compare",
        "Show what differs between runs, and their metrics side by side, the best of each "
        "marked *.",
        "dlrun runs compare imdb-dense/latest imdb-lstm/latest --out curves.png",
    ),
    "runs clean": Command(
        "clean:clean",
        "Remove the runs that match all options. Lists them, says how much is freed, and asks.\n\n"
        "A running run is never removed, a damaged one only by --status damaged.",
        "dlrun runs clean --status failed --older-than 30d",
    ),
    "runs check": Command(
        "list_runs:check",
        "Read runs back and say which are undamaged: records, checkpoints, weights, tables, "
        "figures.",
        "dlrun runs check latest",
    ),
}
GROUPS = {
    "data": "Download, check and show the data.",
    "runs": "List, show, compare, check and remove runs.",
}
EXPERIMENTS, MORE = "Experiments", "More commands"
# A package cannot take the name of a command.
RESERVED = {name.partition(" ")[0] for name in COMMANDS}


class CommandGroup(TyperGroup):
    """A group whose commands have only a name and a help text until one of them is called."""

    def load_command(self, ctx: Any, name: str) -> Any:
        """Import a command of this group, and return it with its arguments and options.

        Raises UsageError if it does not exist, DlrunError if its experiment cannot be loaded.
        """
        if name not in self.commands:
            options = [option for param in self.get_params(ctx) for option in param.opts]
            raise unknown_command_error(name, self.commands, options)
        known = self.commands[name]
        if isinstance(known, CommandGroup):
            return known
        path = name if ctx.parent is None else f"{ctx.info_name} {name}"
        if path in COMMANDS:
            function = pkgutil.resolve_name(f"dlrun.commands.{COMMANDS[path].function}")
        else:
            make_command = pkgutil.resolve_name("dlrun.commands.run:make_experiment_command")
            function = make_command(name)
        one = typer.Typer(add_completion=False)
        one.command(name, help=known.help)(function)
        command = typer.main.get_command(one)
        # Errors are reported for all commands in one place, which looks for --debug.
        command.params += [
            param for param in ctx.find_root().command.params if param.name == "debug"
        ]
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the other words of a command line."""
        self.commands[args[0]] = self.load_command(ctx, args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="dlrun",
    cls=CommandGroup,
    help="Runs the deep-learning lab of An Introduction to Statistical Learning with Python.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlrun {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", metavar="", expose_value=False)
    ] = False,
) -> None:
    pass


def _register_commands() -> None:
    """Register every command with its help, but without the function that it calls."""
    for entry in registry.experiment_entries():
        if entry.name not in RESERVED:
            app.command(entry.name, help=entry.help, rich_help_panel=EXPERIMENTS)(_not_loaded)
    groups = {
        name: typer.Typer(cls=CommandGroup, help=help, no_args_is_help=True)
        for name, help in GROUPS.items()
    }
    for path, command in COMMANDS.items():
        group, _, name = path.rpartition(" ")
        text = f"{command.help}\n\nExample: {command.example}"
        groups.get(group, app).command(name, help=text, rich_help_panel=MORE)(_not_loaded)
    for name, subcommands in groups.items():
        app.add_typer(subcommands, name=name, rich_help_panel=MORE)


def _not_loaded() -> None:
    pass


_register_commands()
