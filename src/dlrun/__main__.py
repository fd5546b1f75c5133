"""Start the command line of `dlrun` when the user enters `dlrun` or `python -m dlrun`."""

import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line of dlrun, and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _exit_at_once)
    from dlrun.system import resources

    gc.set_threshold(resources.GARBAGE_THRESHOLD)
    from dlrun.cli.main import (  # slow
        exit_process,
        prepare_process,
        report_error,
        run_command_line,
    )

    arguments = sys.argv[1:]
    try:
        prepare_process(arguments)
        exit_process(run_command_line(arguments))
    except BaseException as error:  # a signal before the command began or as it ended
        exit_process(report_error(error, arguments))


def _exit_at_once(number: int, frame: object) -> None:
    """Exit at a signal while modules are imported, when an exception may be lost or replaced."""
    try:
        word = "interrupted" if number == signal.SIGINT else "terminated"
        if "--json" in sys.argv:
            print(f'{{"status": "interrupted", "error": "{word}", "hint": ""}}', flush=True)
        if sys.stderr is not None:  # None if it was closed, as by `2>&-`
            print(f"error: {word}", file=sys.stderr)
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder, from which nothing is imported
    main()
