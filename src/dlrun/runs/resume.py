"""`dlrun resume`: go on with a run that was stopped, extend one, begin one that waits."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

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
from dlrun.run_folder.record import FORMAT, Record, read_environment, read_record
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs import console_summary, import_notices, loggers
from dlrun.runs.distributed import as_started, is_helper, processes_to_start
from dlrun.runs.run_config import config_as_begun, edited_keys
from dlrun.runs.runner import Runner, lock_run
from dlrun.runs.settings import RunSettings
from dlrun.system.console import Screen


def resume(run: str, overrides: Sequence[str], options: RunSettings) -> int:
    """Continue a run in its own folder; returns the exit code.

    Args:
        run: see find_run.
        overrides: `--set` texts; only of what may change, for anything else makes another run.
        options: where the runs and the data are, what to print.

    Raises:
        ConfigError: no such run, or another value changed than may.
        DlrunError: the run cannot go on with this code and these packages, or with these data.
    """
    screen = options.screen or Screen(
        quiet=options.quiet, results=options.results and not options.json
    )
    with ExitStack() as stack:
        with console_summary.errors_as_json(screen, wanted=options.json):
            path = find_run(run, run_context.runs_dir(options.runs_dir))
            folder = RunFolder(path)
            if is_helper(_config(path, read_record(path), overrides)):
                folder, screen = RunFolder(path, writes=False), Screen(quiet=True, results=False)
            stack.enter_context(import_notices.announce_imports(screen))
            check = stack.enter_context(lock_run(folder, screen))
            live = _prepare(folder, overrides, screen, options, check)
        if live is not None and (processes := processes_to_start(live.config)) == 1:
            return live.run()
    if live is not None:
        from dlrun.runs.launcher import launch  # slow: torch

        with console_summary.errors_as_json(screen, wanted=options.json):
            return launch(processes, path, options, overrides)
    if options.json:
        console_summary.print_json(folder, screen)
    return 0


def _prepare(
    folder: RunFolder,
    overrides: Sequence[str],
    screen: Screen,
    options: RunSettings,
    check: Callable[[], None],
) -> Runner | None:
    """The run that goes on, all of it read under its lock; None where nothing is left to do."""
    path, record = folder.path, read_record(folder.path)
    config = _config(path, record, overrides)
    loggers.check(config)
    if record.status != "waiting":  # has no numbers yet
        _check_causes(record, config, folder, screen, force=options.force)
    there = all((path / name).exists() for name in record.files)
    if _is_complete(record, config) and there:
        extends = ""
        if "trainer.max_epochs" in config.changeable_keys and has_checkpoint(path):
            extends = "; --set trainer.max_epochs=N extends it"
        screen.note(f"{path}: finished, there is nothing to resume{extends}")
        return None
    if record.steps and not has_checkpoint(path):
        raise DlrunError(
            f"{path}: its checkpoints are gone, so it cannot go on", _again(record, path)
        )
    return Runner(registry.load(record.experiment), config, folder, screen, options, record, check)


def _again(record: Record, path: Path) -> str:
    return f"start anew with `dlrun {record.experiment} --config {path / CONFIG}`"


def _check_causes(
    record: Record, config: ExperimentConfig, folder: RunFolder, screen: Screen, *, force: bool
) -> None:
    """Raises DlrunError where what causes the numbers is not what it was when the run began.

    The processes may be spread otherwise over nodes. Another number of them sums up a batch's
    gradients in another order, which rounds otherwise.
    """
    path = folder.path
    begun = read_environment(path)
    others = [
        f"{name} {there} then, {here} now"
        for name, here in environment.versions().items()
        if (there := begun.packages.get(name)) != here
    ]
    if begun.code != environment.code_digest(registry.entry(record.experiment).package):
        others.insert(0, "another version of the code that computes")
    if isinstance(config, NetworkConfig):
        trainer = config_as_begun(StoredRun(path, record)).values["trainer"]
        then, now = Trainer.model_validate(trainer).world, config.world
        if then != now:
            others.insert(0, f"processes: {then or 'auto'} then, {now or 'auto'} now")
    if not others:
        return
    problem = f"{path}: the run would not go on to the same numbers: {'; '.join(others)}"
    if not force:
        raise DlrunError(problem, f"{_again(record, path)}, or go on all the same with --force")
    if folder.writes:
        screen.warn(problem)


def _config(path: Path, record: Record, overrides: Sequence[str]) -> ExperimentConfig:
    """The run's own config with what may change; neither `--set` nor an editor may change more.

    Of its processes see _check_causes. Raises DlrunError where a run like this cannot be resumed
    at all.
    """
    schema, name = registry.config_class(record.experiment), record.experiment
    if not schema.resumable:
        raise DlrunError(f"{path}: {record.experiment} has nothing to resume", _again(record, path))
    if record.format < FORMAT:
        raise DlrunError(
            f"{path}: made by an older dlrun, which wrote other checkpoints", _again(record, path)
        )
    run = StoredRun(path, record)
    # A key that was deleted by hand has its value from when the run began.
    layers = [config_as_begun(run), read_file(path / CONFIG), *map(read_override, overrides)]
    config: ExperimentConfig = validate(schema, merge_layers(layers), name)
    config = as_started(config, whatever_it_says=True)
    may_change = schema.changeable_keys | RUNTIME_KEYS
    changed = edited_keys(run, config.model_dump(mode="json")) - PROCESSES
    if changed:
        raise ConfigError(
            f"{', '.join(sorted(changed))}: not as when the run began; a resumed run keeps its "
            f"values, only {', '.join(sorted(may_change))} may change",
            f"another run begins with `dlrun {name} --config {path / CONFIG}`",
        )
    return config


def _is_complete(record: Record, config: ExperimentConfig) -> bool:
    """Whether nothing is left to do. Raises ConfigError where more is done than is asked for."""
    total, done = config.total_steps, record.steps or 0
    if total is not None and done > total:
        raise ConfigError(f"{total} steps are asked for, but {done} are done")
    return record.status == "finished" and total in (None, done)
