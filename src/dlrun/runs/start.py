"""Start or resume a run: validate its config, create or lock its folder, run the experiment."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig, TrainerConfig
from dlrun.config.validation import config_to_yaml, read_and_merge_layers, validate_layer
from dlrun.config.yaml_loader import (
    ConfigLayer,
    merge_config_layers,
    parse_set_override,
    read_yaml_file,
)
from dlrun.data.download import is_offline, obtain_published_file
from dlrun.errors import ConfigError, DlrunError, first_line
from dlrun.experiments import registry
from dlrun.experiments.book_comparison import PROCESSES
from dlrun.experiments.saved_run import EXTENDS, RUNTIME_KEYS, Run
from dlrun.run_context import RunSettings, errors_as_json, print_results_json
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import (
    CONFIG,
    RunFolder,
    check_run_name,
    check_runs_folder_writable,
    to_json,
)
from dlrun.run_folder.loggers import check_loggers_installed
from dlrun.runs.distributed import (
    count_processes_to_start,
    is_helper_process,
    launch_training_processes,
    set_devices_from_launcher,
)
from dlrun.runs.runner import RunRecorder
from dlrun.system import accelerator, resources
from dlrun.system.console import Screen

TORCH_MEMORY = 10**9  # bytes of address space; with fewer, torch aborts or hangs at its import


def load_experiment_config(name: str, settings: RunSettings) -> ExperimentConfig:
    """Read and validate the config of an experiment. Raises ConfigError with every error."""
    return validate_config(name, merge_experiment_config(name, settings))


def merge_experiment_config(name: str, settings: RunSettings) -> ConfigLayer:
    """Merge an experiment's default config with the user's settings. Raises ConfigError."""
    defaults = registry.experiment_entry(name).defaults
    return read_and_merge_layers(
        name, [defaults, *settings.config, *settings.overrides, *settings.values]
    )


def validate_config(name: str, layer: ConfigLayer) -> ExperimentConfig:
    """Validate the merged config of an experiment. Raises ConfigError with every error."""
    config: ExperimentConfig = validate_layer(registry.load_config_class(name), layer, name)
    return set_devices_from_launcher(config)


def run_experiment(name: str, settings: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run).

    Raises the exception that ended the run early, after writing the record.
    """
    screen = settings.console()
    with errors_as_json(screen, wanted=settings.json):
        config = load_experiment_config(name, settings)
        check_run_can_start(name, config, settings)
        runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
        if settings.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=settings.json)
            return 0, None
        experiment = registry.load_experiment(name)
        if is_helper_process(config):
            folder = RunFolder(runs_dir / name, writes=False)
        else:
            folder = RunFolder.claim(runs_dir, name, settings.name)
        runner = RunRecorder(experiment, config, folder, settings)
    with folder.locked():
        if (processes := count_processes_to_start(config)) == 1:
            with runner.recorded() as context:
                code = runner.finish(experiment.run(config, context))
            return code, folder.path
        runner.write_first_files("waiting")
    return launch_training_processes(processes, folder.path, settings), folder.path


def resume_run(run: str, overrides: Sequence[str], settings: RunSettings) -> int:
    """Continue a run in its own folder, and return the exit code.

    Args:
        run: see find_run.
        overrides: `--set` texts, only of keys that a resume may change.
        settings: where the runs and the data are, what to print.

    Raises:
        ConfigError: there is no such run, or a key has changed that must not.
        DlrunError: the run cannot continue with this code, these packages or these data.
    """
    screen = settings.console()
    with ExitStack() as stack:
        with errors_as_json(screen, wanted=settings.json):
            path = find_run(run, run_context.resolve_runs_dir(settings.runs_dir))
            helps = is_helper_process(_resumed_config(Run.open(path), overrides))
            folder = RunFolder(path, writes=not helps)
            stack.enter_context(folder.locked())
            runner = _prepare_resume(folder, overrides, screen, settings)
        if runner is None:
            if settings.json:
                print_results_json(path, screen)
            return 0
        if (processes := count_processes_to_start(runner.config)) == 1:
            with runner.recorded() as context:
                return runner.finish(runner.experiment.run(runner.config, context))
    return launch_training_processes(processes, path, settings, overrides)


def check_run_can_start(
    name: str, config: ExperimentConfig, settings: RunSettings, *, here: bool = True
) -> None:
    """Check everything that can be checked before a run gets its folder. Raises DlrunError.

    `here`: the run will use this machine's memory and accelerators.
    """
    check_run_name(settings.name)
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    check_runs_folder_writable(runs_dir)
    check_loggers_installed(config)
    limit = resources.address_space_limit() if here and isinstance(config, NetworkConfig) else None
    if limit is not None and limit < TORCH_MEMORY:
        raise DlrunError(
            f"memory is short: this process may use {limit // 10**6:,} MB, and torch needs "
            f"{TORCH_MEMORY // 10**6:,}",
            "a higher `ulimit -v` allows more",
        )
    try:
        config.check(runs_dir)
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        raise DlrunError(
            f"experiment {name!r}: its check raised {type(error).__name__}: {first_line(error)}",
            f"a bug in {registry.experiment_entry(name).package}; --debug shows the traceback",
        ) from error
    if is_offline() and (dataset := registry.experiment_dataset(name)):
        for published, path in dataset.files(
            config, run_context.resolve_data_dir(settings.data_dir)
        ):
            if not path.exists():  # raises, for it cannot be downloaded
                obtain_published_file(published, None, path.parent, (), Screen())
    if here and not config.fallback:
        accelerator.require_accelerator(config.accelerator)


def print_dry_run(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """Print the validated config and the folder in which a run would be stored."""
    text = to_json(config.model_dump(mode="json")) if json else config_to_yaml(config)
    screen.out.print(Text(text.rstrip()))
    screen.note(f"dry run: the config is valid; a run's folder would be in {place}")


def _prepare_resume(
    folder: RunFolder, overrides: Sequence[str], screen: Screen, settings: RunSettings
) -> RunRecorder | None:
    """Return the runner that resumes a locked run, or None if nothing is left to do."""
    path, run = folder.path, Run.open(folder.path)
    record, config = run.record, _resumed_config(run, overrides)
    check_loggers_installed(config)
    if record.status == "waiting":
        return RunRecorder(run.experiment, config, folder, settings, record)
    if problem := _changes_since(run, config):
        problem = f"{path}: a resumed run would get other numbers: {problem}"
        if not settings.force:
            raise DlrunError(problem, f"{_repeat_hint(run)}, or resume all the same with --force")
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
        raise DlrunError(f"{path}: its checkpoints are missing", _repeat_hint(run))
    return RunRecorder(run.experiment, config, folder, settings, record, resumes=True)


def _resumed_config(run: Run, overrides: Sequence[str]) -> ExperimentConfig:
    """Return the config of a resumed run with the user's overrides, which may set only some keys.

    The number of processes may change too, see _changes_since. Raises DlrunError if the run cannot
    be resumed at all.
    """
    name, path = run.record.experiment, run.folder
    schema = registry.load_config_class(name)
    if not schema.resumable:
        raise DlrunError(f"{path}: {name} has nothing to resume", _repeat_hint(run))
    # A key that was deleted by hand has its value from when the run began.
    layers = [
        run.initial_config(),
        read_yaml_file(path / CONFIG),
        *map(parse_set_override, overrides),
    ]
    config: ExperimentConfig = validate_layer(schema, merge_config_layers(layers), name)
    config = set_devices_from_launcher(config, resumed=True)
    if changed := run.edited_keys(config.model_dump(mode="json")) - PROCESSES:
        may_change = ", ".join(sorted(schema.changeable_keys | RUNTIME_KEYS))
        raise ConfigError(
            f"{', '.join(sorted(changed))}: changed since the run began; a resume can only change "
            f"{may_change}",
            f"`{run.repeat_command}` starts another run",
        )
    return config


def _changes_since(run: Run, config: ExperimentConfig) -> str:
    """Describe what has changed since the run began and can change its numbers; empty if nothing.

    Another number of processes adds up a batch's gradients in another order, which rounds
    differently; their distribution over nodes makes no difference.
    """
    begun, changes = run.environment, list[str]()
    if isinstance(config, NetworkConfig):
        trainer = run.initial_config().values["trainer"]
        then, now = TrainerConfig.model_validate(trainer).world, config.world
        if then != now:
            changes.append(f"processes: {then or 'auto'} then, {now or 'auto'} now")
    package = registry.experiment_entry(run.record.experiment).package
    changes += environment.describe_environment_changes(begun.code, begun.packages, package)
    return "; ".join(changes)


def _repeat_hint(run: Run) -> str:
    return f"`{run.repeat_command}` starts again"
