"""Resuming a run: one that was stopped, a finished one that is extended, one that waits."""

from collections.abc import Sequence
from contextlib import ExitStack

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig, Trainer
from dlrun.config.validation import validate
from dlrun.config.yaml_loader import merge_layers, read_file, read_override
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.base import PROCESSES, RUNTIME_KEYS
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG, RunFolder
from dlrun.run_folder.record import FORMAT
from dlrun.runs import loggers
from dlrun.runs.console_summary import errors_as_json, print_json
from dlrun.runs.distributed import as_started, is_helper, processes_to_start
from dlrun.runs.run import EXTENDS, Run
from dlrun.runs.run_config import config_as_begun, edited_keys
from dlrun.runs.runner import Runner, lock_run, new_record
from dlrun.runs.settings import RunSettings
from dlrun.system.console import Screen


def resume(run: str, overrides: Sequence[str], settings: RunSettings) -> int:
    """Continue a run in its own folder, and return the exit code.

    Args:
        run: see find_run.
        overrides: `--set` texts, of keys that may change; with any other it were another run.
        settings: where the runs and the data are, what to print.

    Raises:
        ConfigError: no such run, or a key has changed that must not.
        DlrunError: the run cannot continue with this code, these packages or these data.
    """
    screen = settings.console()
    with ExitStack() as stack:
        with errors_as_json(screen, wanted=settings.json):
            path = find_run(run, run_context.runs_dir(settings.runs_dir))
            folder = RunFolder(path)
            if is_helper(_config(Run.open(path), overrides)):
                folder, screen = RunFolder(path, writes=False), Screen(quiet=True, results=False)
            stack.enter_context(lock_run(folder, screen))
            runner = _prepare(folder, overrides, screen, settings)
        if runner is not None and (processes := processes_to_start(runner.config)) == 1:
            return runner.run()
    if runner is not None:
        from dlrun.runs.launcher import launch  # slow: torch

        with errors_as_json(screen, wanted=settings.json):
            return launch(processes, path, settings, overrides)
    if settings.json:
        print_json(folder, screen)
    return 0


def _prepare(
    folder: RunFolder, overrides: Sequence[str], screen: Screen, settings: RunSettings
) -> Runner | None:
    """Return the runner of a run, read while it is locked; None if nothing is left to do."""
    path, run = folder.path, Run.open(folder.path)
    record, config = run.record, _config(run, overrides)
    loggers.check(config)
    if record.status == "waiting":
        kept = {"id": record.id, "sweep": record.sweep}
        record = new_record(record.experiment, config, folder, settings).model_copy(update=kept)
        return Runner(run.experiment, config, folder, screen, settings, record)
    if problem := _changed_causes(run, config):
        problem = f"{path}: a resumed run would get other numbers: {problem}"
        if not settings.force:
            raise DlrunError(problem, f"{_start_again(run)}, or resume all the same with --force")
        if folder.writes:
            screen.warn(problem)
    total, done = config.total_steps, record.steps or 0
    if total is not None and done > total:
        raise ConfigError(
            f"{path}: {total} requested, but {done} are finished",
            "a resumed run cannot have fewer than it has",
        )
    complete = record.status == "finished" and total in (None, done)
    if complete and all((path / name).exists() for name in record.files):
        extends = EXTENDS in config.changeable_keys and has_checkpoint(path)
        hint = f"; --set {EXTENDS}=N extends it" if extends else ""
        screen.note(f"{path}: finished, there is nothing to resume{hint}")
        return None
    if record.steps and not has_checkpoint(path):
        raise DlrunError(
            f"{path}: its checkpoints are missing, so it cannot continue", _start_again(run)
        )
    return Runner(run.experiment, config, folder, screen, settings, record, resumes=True)


def _start_again(run: Run) -> str:
    return f"start again with `dlrun {run.record.experiment} --config {run.folder / CONFIG}`"


def _changed_causes(run: Run, config: ExperimentConfig) -> str:
    """Return what has changed since the run began and can change its numbers; empty if nothing.

    Another number of processes adds up a batch's gradients in another order, which rounds
    differently; how they are spread over nodes makes no difference.
    """
    begun, changes = run.environment, list[str]()
    if isinstance(config, NetworkConfig):
        trainer = config_as_begun(run).values["trainer"]
        then, now = Trainer.model_validate(trainer).world, config.world
        if then != now:
            changes.append(f"processes: {then or 'auto'} then, {now or 'auto'} now")
    package = registry.entry(run.record.experiment).package
    changes += environment.changes(begun.code, begun.packages, package)
    return "; ".join(changes)


def _config(run: Run, overrides: Sequence[str]) -> ExperimentConfig:
    """Return the run's config with the overrides, in which only some keys may change.

    The processes may, see _changed_causes. Raises DlrunError if the run cannot be resumed at all.
    """
    name, path = run.record.experiment, run.folder
    schema = registry.config_class(name)
    if not schema.resumable:
        raise DlrunError(f"{path}: {name} has nothing to resume", _start_again(run))
    if run.record.format < FORMAT:
        raise DlrunError(f"{path}: its checkpoints are of an older dlrun", _start_again(run))
    # A key that was deleted by hand has its value from when the run began.
    layers = [config_as_begun(run), read_file(path / CONFIG), *map(read_override, overrides)]
    config: ExperimentConfig = validate(schema, merge_layers(layers), name)
    config = as_started(config, whatever_it_says=True)
    changed = edited_keys(run, config.model_dump(mode="json")) - PROCESSES
    if changed:
        may_change = ", ".join(sorted(schema.changeable_keys | RUNTIME_KEYS))
        raise ConfigError(
            f"{', '.join(sorted(changed))}: changed since the run began; a resume can only change "
            f"{may_change}",
            f"start another run with `dlrun {name} --config {path / CONFIG}`",
        )
    return config
