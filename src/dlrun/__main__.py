"""`python -m dlrun` and the command `dlrun`."""

import os
import sys


def main() -> None:
    """Run the command line of this process, and end it."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)
    except KeyboardInterrupt:
        _end()
    if any(option.startswith("error") for option in sys.warnoptions):
        # Libraries warn as they are imported: PYTHONWARNINGS=error would end every run there.
        import warnings

        warnings.filters[:] = [one for one in warnings.filters if one[0] != "error"]  # type: ignore[index]
        os.environ.pop("PYTHONWARNINGS", None)  # of the processes that this one starts
    from dlrun.cli.main import main as run  # slow

    run()


def _end(*_: object) -> None:
    """Ctrl-C before anything began. An exception may get lost among imports, or become another."""
    try:
        if sys.stderr is not None:  # as after `2>&-`
            print("error: interrupted", file=sys.stderr)
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
