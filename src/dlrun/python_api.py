"""Run experiments and open runs from Python or a notebook."""

import html
import importlib
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import config_layer_without_file
from dlrun.errors import ConfigError, DlrunError, Interrupted, Terminated
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.runs.start import run_experiment
from dlrun.system.console import MoveBar, Screen, json_default

# Signals, logging and torch's flags are the process's: one run at a time may change them.
_RUNNING = threading.Lock()


def run(
    experiment: str,
    *,
    config: str | Path | Sequence[str | Path] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    name: str | None = None,
    note: str = "",
    tags: str | Sequence[str] = (),
    quiet: bool = False,
    **values: object,
) -> Run:
    """Run an experiment and return its run.

    Signal handlers, logging, torch's flags and random states are restored afterwards.

    Args:
        experiment: as on the command line, such as "imdb-dense".
        config: YAML files over the defaults; a later file overrides an earlier one.
        runs_dir: the folder of all runs; by default DLRUN_RUNS_DIR, or `runs`.
        data_dir: the folder of the data; by default DLRUN_DATA_DIR, or `data`.
        name: the suffix of the run's folder.
        note: why the run is done; `dlrun runs note` changes it.
        tags: words to find the run by; `dlrun runs tag` changes them.
        quiet: show no progress.
        values: keys of the config, which override files: `seed=3`, `optimizer={"lr": 0.002}`.

    Raises ConfigError, DataError or another DlrunError; KeyboardInterrupt if the kernel is
    interrupted, at the end of an epoch or lambda, from which `dlrun resume` continues.
    """
    files, words = _as_list(config), _as_list(tags)
    for key, given, kind in (
        ("experiment", [experiment], str),
        ("config", files, str | Path),
        ("runs_dir", [runs_dir], str | Path | None),
        ("data_dir", [data_dir], str | Path | None),
        ("name", [name], str | None),
        ("note", [note], str),
        ("tags", words, str),
    ):
        if wrong := [one for one in given if not isinstance(one, kind)]:
            expected = "a path" if issubclass(Path, kind) else "a text"
            raise ConfigError(f"dlrun.run: {key}: expected {expected}, got {wrong[0]!r}")
    try:  # values of numpy and paths become those of YAML; NaN stays NaN, which no key takes
        text = json.dumps(values, default=json_default)
    except (TypeError, ValueError, RecursionError) as error:  # such as a list in itself
        raise ConfigError(f"dlrun.run: not values of a config: {error}") from None
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    settings = RunSettings(
        config=[Path(file) for file in files],
        values=[config_layer_without_file(json.loads(text), "dlrun.run")],
        runs_dir=None if runs_dir is None else Path(runs_dir),
        data_dir=None if data_dir is None else Path(data_dir),
        name=name,
        note=note,
        tags=words,
        quiet=quiet,
        screen=NotebookScreen(quiet) if in_notebook else Screen(quiet=quiet, results=False),
    )
    if not _RUNNING.acquire(blocking=False):
        raise DlrunError("another dlrun.run() is running in this process; wait until it ends")
    try:
        code, folder = run_experiment(experiment, settings)
    except Interrupted:
        raise KeyboardInterrupt from None
    except Terminated as stop:
        raise SystemExit(stop.exit_code) from None
    except DlrunError as error:
        raise _for_notebook(error) from None
    finally:
        _RUNNING.release()
    assert folder is not None  # no dry run
    opened = Run.open(folder)
    if code == Interrupted.exit_code:  # one of several processes was stopped
        raise KeyboardInterrupt
    if code and opened.state != "finished":  # several processes, which have printed the error
        raise DlrunError(opened.record.error or f"the run is {opened.state}")
    return opened


def _as_list(given: object) -> list[Any]:
    """Return several values as a list, and a single one, such as a text, as a list with it."""
    return [given] if isinstance(given, str) or not isinstance(given, Iterable) else [*given]


def open(run: str | Path = "latest", *, runs_dir: str | Path | None = None) -> Run:
    """Open a run by its folder, name or suffix, by "latest", or by "EXPERIMENT/latest".

    Raises ConfigError if there is none.
    """
    try:
        return Run.open(run, None if runs_dir is None else Path(runs_dir))
    except DlrunError as error:
        raise _for_notebook(error) from None


def _for_notebook(error: DlrunError) -> DlrunError:
    """Return the error with its hint as a note and without its traceback, for a notebook."""
    if error.hint:
        error.add_note(error.hint)
    return error.with_traceback(None)


class NotebookScreen(Screen):
    """Shows a run's progress in a notebook as one line with a bar; prints warnings to stderr."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet=quiet, results=False)
        self._line, self._percent, self._has_bar = "", 0, False
        self._handle: Any = None  # the handle of the display

    def note(self, text: str) -> None:
        """Replace the text of the progress line."""
        self.log(text)
        self._line = text
        self._update()

    @contextmanager
    def bar(self, what: str, total: float | None) -> Iterator[MoveBar]:
        """Show a progress bar beside the line; the browser gets a message at each hundredth."""

        def move(done: float, detail: str) -> None:
            percent = int(100 * done / total) if total else 0
            if percent != self._percent:
                self._percent = percent
                self._update()

        self._has_bar = bool(total)
        yield move
        self._has_bar = False
        self._update()

    def _update(self) -> None:
        if self.quiet:
            return
        bar = f'<progress value="{self._percent}" max="100"></progress> ' if self._has_bar else ""
        ipython = importlib.import_module("IPython.display")  # notebooks have it
        content = ipython.HTML(f"<pre>{bar}{html.escape(self._line)}</pre>")
        if self._handle is None:
            self._handle = ipython.display(content, display_id=True)
        else:
            self._handle.update(content)
