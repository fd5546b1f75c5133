"""Train as a further process of a run with several devices; the first process writes the run."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import NoReturn

from dlrun.experiments import checks
from dlrun.experiments.saved_runs import config_of, experiment_of
from dlrun.runs.folder import OutputFolder
from dlrun.runs.live_run import JoinedRun
from dlrun.runs.options import RunOptions
from dlrun.runs.run import Run


def join_run(folder: Path) -> NoReturn:
    """Train a run together with the process that began and writes the run, and end this process."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    # The first process writes the same warnings of libraries into the run's log.
    logging.captureWarnings(True)
    run = Run.in_folder(folder)
    experiment = experiment_of(run)
    config = config_of(experiment, run)
    data_dir = Path(run.record.data_dir) if run.record.data_dir else None
    options = RunOptions(data_dir=data_dir, quiet=True)
    implementation = checks.import_implementation_to_run(experiment)
    joined = JoinedRun(experiment, OutputFolder(folder), run.record, config, options)
    joined.stop.install_handlers()
    implementation.run(config, joined)
    raise SystemExit(0)


def _end_with(parent: int) -> None:
    """End this process soon after the process that began the run was killed."""
    # This process may be waiting for that one, and would wait for ever.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
