"""Take part in the training of a run that another process writes, on a further device."""

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
    """Train the run of another process, whose folder it is, and end."""
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
    """End this process soon after the first one was killed, also while it waits for that one."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
