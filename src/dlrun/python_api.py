"""dlrun in Python, for notebooks: run an experiment, open a run, see its table and figure."""

import html
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import layer_from_values
from dlrun.errors import DlrunError, Interrupted, Terminated
from dlrun.runs.run import Run
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import run_experiment
from dlrun.system.console import Advance, Screen

# Signals, logging and torch's flags are the process's: one run at a time may change them.
_RUNNING = threading.Lock()


def run(
    experiment: str,
    *,
    config: str | Path | Sequence[str | Path] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    name: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> Run:
    """Run an experiment and open the run.

    Signal handlers, logging, torch's flags and random numbers are afterwards as before.

    Args:
        experiment: as on the command line, such as "imdb-dense".
        config: YAML files over the defaults; the later wins.
        runs_dir: where the run's folder goes; default DLRUN_RUNS_DIR, or `runs`.
        data_dir: where data are kept; default DLRUN_DATA_DIR, or `data`.
        name: the folder's suffix.
        quiet: show no progress.
        values: keys of the config: `seed=3`, `optimizer={"lr": 0.002}`; they win over files.

    Raises ConfigError, DataError or another DlrunError; KeyboardInterrupt where the kernel is
    interrupted, once the step has ended: `dlrun resume` goes on from there.
    """
    files = [config] if isinstance(config, str | Path) else config
    options = RunSettings(
        config=[Path(file) for file in files],
        values=[layer_from_values(_plain(values), "dlrun.run")] if values else [],
        runs_dir=None if runs_dir is None else Path(runs_dir),
        data_dir=None if data_dir is None else Path(data_dir),
        name=name,
        quiet=quiet,
        screen=NotebookScreen(quiet=quiet) if _in_kernel() else Screen(quiet=quiet, results=False),
    )
    try:
        if not _RUNNING.acquire(blocking=False):
            raise DlrunError("another dlrun.run() is going on in this process", "wait for its end")
        try:
            code, folder = run_experiment(experiment, options)
        finally:
            _RUNNING.release()
    except Interrupted:
        raise KeyboardInterrupt from None
    except Terminated as stop:
        raise SystemExit(stop.exit_code) from None
    except DlrunError as error:
        raise _with_remedy(error) from None
    assert folder is not None  # no dry run
    found = Run.open(folder)
    if code and found.state != "finished":  # of several processes, which have printed the error
        if code == Interrupted.exit_code:
            raise KeyboardInterrupt
        raise DlrunError(found.record.error or f"the run is {found.state}")
    return found


def open(run: str | Path = "latest", *, runs_dir: str | Path | None = None) -> Run:
    """Open a run: its folder, name or suffix, "latest", or "EXPERIMENT/latest".

    Raises ConfigError where there is no such run.
    """
    try:
        return Run.open(run, None if runs_dir is None else Path(runs_dir))
    except DlrunError as error:
        raise _with_remedy(error) from None


def _plain(value: Any) -> Any:
    """Python's own lists and numbers for tuples and what numpy gives."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _with_remedy(error: DlrunError) -> DlrunError:
    """The error as a notebook shows it: the remedy below, no long way to where it was found."""
    if error.hint:
        error.add_note(error.hint)
    return error.with_traceback(None)


class NotebookScreen(Screen):
    """One line that is replaced, with a bar; warnings stay. The result is the returned run."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet, results=False)
        self._line = self._bar = ""
        self._shown: Any = None

    def note(self, text: str) -> None:
        """Replace the line."""
        self.log(text)
        self._line = text
        self._update()

    def warn(self, text: str) -> None:
        """Say it above, to stay."""
        self.log(text, warning=True)
        _display(f"<pre>warning: {html.escape(text)}</pre>")

    @contextmanager
    def progress(
        self,
        what: str,
        total: float | None,
        unit: str,
        *,
        aloud: bool = False,
        lines: int | None = None,
    ) -> Iterator[Advance]:
        """A bar beside the line."""
        if aloud:
            self.note(what)
        yield _Bar(self, total)
        self._bar = ""
        self._update()

    def move(self, done: float, total: float | None) -> None:
        """Set the bar."""
        self._bar = f'<progress value="{done:.3f}" max="{total:.0f}"></progress> ' if total else ""
        self._update()

    def _update(self) -> None:
        if self.quiet:
            return
        content = f"<pre>{self._bar}{html.escape(self._line)}</pre>"
        if self._shown is None:
            self._shown = _display(content)
        else:
            self._shown.update(_html(content))


class _Bar:
    def __init__(self, screen: NotebookScreen, total: float | None) -> None:
        self._notebook, self._of = screen, total
        self._hundredth = -1

    def to(self, done: float) -> None:
        hundredth = int(100 * done / self._of) if self._of else 0
        if hundredth != self._hundredth:  # a message to the browser each
            self._hundredth = hundredth
            self._notebook.move(done, self._of)

    def step(self, done: float, line: str) -> None:
        self._notebook.note(line)
        self.to(done)


def _in_kernel() -> bool:
    """Whether a notebook's kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def _html(content: str) -> Any:
    from IPython.display import HTML

    return HTML(content)  # type: ignore[no-untyped-call]


def _display(content: str) -> Any:
    from IPython.display import display

    return display(_html(content), display_id=True)  # type: ignore[no-untyped-call]
