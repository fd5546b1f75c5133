"""The entry point of the command `dlrun` and of `python -m dlrun`."""

import os
import sys


def main() -> None:
    """Run the command line, and end the process."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)
    except KeyboardInterrupt:
        _end()
    if any(option.startswith("error") for option in sys.warnoptions):
        # Libraries warn when they are imported: PYTHONWARNINGS=error would end every run there.
        import warnings

        warnings.filters[:] = [one for one in warnings.filters if one[0] != "error"]  # type: ignore[index]
        os.environ.pop("PYTHONWARNINGS", None)  # of the processes that this one starts
    from dlrun.cli.main import main as run  # slow

    run()


def _end(*_: object) -> None:
    """End at Ctrl-C; a KeyboardInterrupt raised among the imports may be lost or replaced."""
    try:
        if sys.stderr is not None:  # as after `2>&-`
            print("error: interrupted", file=sys.stderr)
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
