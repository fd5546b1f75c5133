"""The commands by which a run goes on, or is done again."""

import shlex

from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.record import FORMAT
from dlrun.runs.run import Run


def repeat_command(run: Run) -> str:
    """The command that does the same in a new folder."""
    return f"dlrun {run.record.experiment} --config {_quoted(run, CONFIG)}"


def resume_command(run: Run) -> str | None:
    """The command by which it goes on, or a finished one is extended; None where it cannot."""
    try:
        config = registry.config_class(run.record.experiment)
    except DlrunError:  # not installed
        return None
    there = has_checkpoint(run.folder)
    if not config.resumable or run.record.format < FORMAT or run.state == "running":
        return None
    if run.state != "finished":
        return f"dlrun resume {_quoted(run)}" if there or not run.record.steps else None
    if there and "trainer.max_epochs" in config.changeable_keys:
        return f"dlrun resume {_quoted(run)} --set trainer.max_epochs=N"
    return None


def _quoted(run: Run, *name: str) -> str:
    return shlex.quote(str(run.folder.joinpath(*name)))
