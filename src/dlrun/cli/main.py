"""The `dlrun` command."""

import contextlib
import gc
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from dlrun import __version__
from dlrun.cli import (
    accelerators,
    completion,
    config,
    data,
    demo,
    experiment,
    export,
    new,
    predict,
    report,
    reproduce,
    resume,
    runs,
    sweep,
    usage_errors,
    verify,
)
from dlrun.cli.error_output import reporting
from dlrun.cli.typer_classes import App, Group
from dlrun.experiments import registry
from dlrun.system.console import Screen, keep_stdout
from dlrun.system.signals import SIGNALS, came, handled_signals, stopped_by

EXPERIMENTS, MORE = "Experiments", "More commands"
COMMANDS: dict[str, Callable[..., None]] = {
    "resume": resume.resume,
    "sweep": sweep.sweep,
    "reproduce": reproduce.reproduce,
    "verify": verify.verify,
    "report": report.report,
    "predict": predict.predict,
    "export": export.export,
    "demo": demo.demo,
    "config": config.config,
    "accelerators": accelerators.accelerators,
    "new": new.new,
}
OURS = {*COMMANDS, "data", "runs"}


class Commands(Group):
    """An experiment's positional arguments are asked of its declaration once it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names. Raises ConfigError where there is none."""
        name = args[0]
        if name not in self.commands:
            below = {
                sub: f"{group} {sub}"
                for group, command in self.commands.items()
                for sub in getattr(command, "commands", ())
            }
            options = [one for param in self.get_params(ctx) for one in param.opts]
            raise usage_errors.no_command(name, list(self.commands), below, options)
        if name in OFFERED:
            self.commands[name] = _with_argument(OFFERED[name])
        return super().resolve_command(ctx, args)


app = App(
    name="dlrun",
    cls=Commands,
    help="Runs the deep-learning lab of An Introduction to Statistical Learning with Python.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlrun {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _with_argument(entry: registry.Entry) -> Any:
    alone = App(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    run = experiment.command(entry.name, registry.config_class(entry.name).argument)
    alone.command(entry.name, help=entry.help)(run)
    return typer.main.get_command(alone)


# A package cannot take a command's name.
TAKEN = [entry for entry in registry.entries() if entry.name in OURS]
OFFERED = {entry.name: entry for entry in registry.entries() if entry.name not in OURS}
for _entry in OFFERED.values():
    app.command(_entry.name, help=_entry.help, rich_help_panel=EXPERIMENTS)(
        experiment.command(_entry.name)
    )
for _name, _command in COMMANDS.items():
    app.command(_name, rich_help_panel=MORE)(_command)
app.add_typer(data.app, name="data", rich_help_panel=MORE)
app.add_typer(runs.app, name="runs", rich_help_panel=MORE)


def main() -> None:
    """Run the command line of this process, and end it."""
    # Python looks for garbage after every 700 new objects: a quarter of the imports' time.
    gc.set_threshold(50_000)
    # Threads that wait for each other sleep: beside other processes, two of CIFAR100 that spin took
    # three times as long. torch reads it as it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if os.environ.get("COLUMNS") == "0":  # as of no terminal: nothing would be shown
        del os.environ["COLUMNS"]
    try:
        for number in handled_signals():  # a run takes them over while it lives
            signal.signal(number, stopped_by)
        for stream in (sys.stdout, sys.stderr):  # a name that cannot be shown loses no result
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        if "--json" in sys.argv and sys.stdout is not None:
            keep_stdout()
        completion.join_settings()
        for problem in registry.problems():
            Screen().warn(problem)
        for entry in TAKEN:
            taken = f"experiment {entry.name!r} is left out: dlrun has a command of that name"
            Screen().warn(taken)
        code = run(sys.argv[1:])
        _heed_no_more()
    except BaseException:  # an import may have made something else of it
        if not came:
            raise
        stopped = SIGNALS[came[-1]]  # before the command began, or just as it ended
        Screen().fail(stopped.word)
        code = stopped.exit_code
    _leave(code)


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code. Every mistake is one message."""
    try:
        with reporting(debug="--debug" in arguments):
            return _run(arguments)
    except typer.Exit as end:
        return end.exit_code


def _run(arguments: list[str]) -> int:
    """The exit code of the command; raises UsageError where it was used wrongly."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        if hasattr(error, "format_message"):  # of the command-line library
            error = usage_errors.in_words(error, arguments)
        if isinstance(error, usage_errors.UsageError) and "--json" in arguments:
            about = {"status": "failed", "error": error.message, "hint": error.hint}
            Screen().out.file.write(f"{json.dumps(about, indent=2)}\n")
        raise error from None


def _heed_no_more() -> None:
    """It has been said how the command ended."""
    for number in handled_signals():
        signal.signal(number, signal.SIG_IGN)


def _leave(code: int) -> NoReturn:
    """End the process; where torch was used, without taking its modules down: that takes 0.7 s.

    A process of several that train together leaves the usual way.
    """
    _heed_no_more()
    distributed = sys.modules.get("torch.distributed")
    if "torch" not in sys.modules or (distributed and distributed.is_initialized()):
        sys.exit(code)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # what could not be written was reported as it was
            if stream is not None:  # as after `>&-`
                stream.flush()
    os._exit(code)
