"""`dlrun help`: show the help of a command, as its --help does."""

from typing import Annotated

import typer


def show_help(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Default: dlrun itself.")
    ] = None,
) -> None:
    """Show the help of dlrun, or of one command, as --help does.

    Examples:
    dlrun help sweep
    dlrun help runs list
    """
    root = context.find_root()
    words = [*(command or ()), "--help"]
    root.command.main(words, prog_name=root.info_name, standalone_mode=False)
