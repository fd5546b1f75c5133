"""Run experiments and open runs from Python or a notebook."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from dlrun.config.yaml_loader import config_layer_without_file
from dlrun.errors import ConfigError, DlrunError, Interrupted, Terminated
from dlrun.execution.run import run_experiment
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.system.console import Screen, json_default

# Signals, logging and torch's flags are the process's: one run at a time may change them.
_RUNNING = threading.Lock()


def run(
    experiment: str,
    *inputs: str | Path,
    config: str | Path | Sequence[str | Path] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    name: str | None = None,
    note: str = "",
    tags: str | Sequence[str] = (),
    quiet: bool = False,
    **values: object,
) -> Run:
    """Run an experiment and return its run; restore all settings of the process afterwards.

    Args:
        experiment: as on the command line, such as "imdb-dense".
        inputs: what follows it there, such as "mails.csv" after "text-dense".
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
    try:  # values of numpy and paths become those of YAML; NaN stays NaN, which no key takes
        text = json.dumps(values, default=json_default)
    except (TypeError, ValueError, RecursionError) as error:  # such as a list in itself
        raise ConfigError(f"dlrun.run: not values of a config: {error}") from None
    settings = RunSettings(
        config=[Path(config)] if isinstance(config, str | Path) else [*map(Path, config)],
        values=[
            registry.layer_of_arguments(experiment, [*map(str, inputs)]),
            config_layer_without_file(json.loads(text), "dlrun.run"),
        ],
        runs_dir=None if runs_dir is None else Path(runs_dir),
        data_dir=None if data_dir is None else Path(data_dir),
        name=name,
        note=note,
        tags=[tags] if isinstance(tags, str) else tags,
        quiet=quiet,
        screen=Screen(quiet=quiet, results=False),
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


def open(run: str | Path = "latest", *, runs_dir: str | Path | None = None) -> Run:
    """Open a run by its folder, name or suffix, by "latest", or by "EXPERIMENT/latest"."""
    try:
        return Run.open(run, None if runs_dir is None else Path(runs_dir))
    except DlrunError as error:
        raise _for_notebook(error) from None


def _for_notebook(error: DlrunError) -> DlrunError:
    """Return the error with its hint as a note and without its traceback, for a notebook."""
    if error.hint:
        error.add_note(error.hint)
    return error.with_traceback(None)
