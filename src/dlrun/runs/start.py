"""Start or resume a run: validate its config, create or lock its folder, run the experiment."""

import importlib
import shlex
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig, TrainerConfig
from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.validation import config_to_yaml, read_and_merge_layers, validate_layer
from dlrun.config.yaml_loader import ConfigLayer
from dlrun.data.download import is_offline
from dlrun.errors import ConfigError, DlrunError, first_line
from dlrun.experiments import registry
from dlrun.experiments.base import AnyExperiment
from dlrun.experiments.comparable_with_published import PROCESSES
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run
from dlrun.run_context import RunSettings, errors_as_json, print_results_json
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import checkpoint_files
from dlrun.run_folder.external_loggers import check_lightning_loggers, check_loggers_installed
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG, RunFolder, check_runs_folder_writable
from dlrun.run_folder.progress_recorder import check_not_fewer
from dlrun.runs.distributed import (
    count_processes_to_start,
    is_helper_process,
    launch_training_processes,
    set_devices_from_launcher,
)
from dlrun.runs.runner import RunRecorder
from dlrun.system import accelerator, resources
from dlrun.system.console import Screen, to_json
from dlrun.system.workarounds import scipy_signal_on_use

TORCH_MEMORY = 10**9  # bytes of address space; with fewer, torch aborts or hangs at its import


def load_experiment_config(name: str, settings: RunSettings) -> ExperimentConfig:
    """Read and validate the config of an experiment. Raises ConfigError with every error."""
    return validate_config(name, merge_experiment_config(name, settings))


def merge_experiment_config(name: str, settings: RunSettings) -> ConfigLayer:
    """Merge an experiment's default config with the user's; raise ConfigError if one is invalid."""
    shipped = registry.experiment_entry(name).shipped
    return read_and_merge_layers(
        name, [shipped, *settings.config, *settings.overrides, *settings.values]
    )


def validate_config(name: str, layer: ConfigLayer, *, resumed: bool = False) -> ExperimentConfig:
    """Validate the merged config of an experiment. Raises ConfigError with every error."""
    config: ExperimentConfig = validate_layer(registry.load_config_class(name), layer, name)
    return set_devices_from_launcher(config, resumed=resumed)


def run_experiment(name: str, settings: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run)."""
    screen = settings.console()
    with errors_as_json(screen, wanted=settings.json):
        config = load_experiment_config(name, settings)
        runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
        check_runs_folder_writable(runs_dir)
        check_run_can_start(name, config, settings)
        if settings.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=settings.json)
            return 0, None
        experiment = _load_experiment_to_run(name, config)
        check_callbacks_and_loggers(config)
        if is_helper_process():
            folder = RunFolder(runs_dir / name, writes=False)
        else:
            folder = RunFolder.claim(runs_dir, name, settings.name)
        recorder = RunRecorder(experiment, config, folder, settings)
    with folder.locked():
        if (processes := count_processes_to_start(config)) == 1:
            return recorder.execute(), folder.path
        recorder.write_first_files("waiting")
    launched = replace(settings, overrides=())  # config.yaml has them
    return launch_training_processes(processes, folder.path, launched), folder.path


def resume_run(run: str, settings: RunSettings) -> int:
    """Continue a run in its own folder, and return the exit code; find_run explains the names.

    The overrides in the settings can change only some keys.
    """
    screen = settings.console()
    with ExitStack() as stack:
        with errors_as_json(screen, wanted=settings.json):
            path = find_run(run, run_context.resolve_runs_dir(settings.runs_dir))
            folder = RunFolder(path, writes=not is_helper_process())
            stack.enter_context(folder.locked())
            recorder = _prepare_resume(folder, settings, screen)
        if recorder is None:
            if settings.json:
                print_results_json(path, screen)
            return 0
        if (processes := count_processes_to_start(recorder.config)) == 1:
            return recorder.execute()
    return launch_training_processes(processes, path, settings)


def check_run_can_start(
    name: str, config: ExperimentConfig, settings: RunSettings, *, here: bool = True
) -> None:
    """Check what can be checked before a run gets its folder; raise DlrunError if it would fail.

    `here`: the run will use this machine's memory and accelerators. Raises FileNotFoundError if the
    working folder, which a run records, was removed.
    """
    Path.cwd()
    settings.check()
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    check_loggers_installed(config)
    limit = (
        resources.address_space_limit() if here and isinstance(config, LightningConfig) else None
    )
    if limit is not None and limit < TORCH_MEMORY:
        allowed, needed = (f"{size // 10**6:,} MB" for size in (limit, TORCH_MEMORY))
        problem = f"memory is short: this process may use {allowed}, and torch needs {needed}"
        raise DlrunError(problem, "a higher `ulimit -v` allows more")
    try:
        config.check(runs_dir)
        if dataset := registry.experiment_dataset(name):
            dataset.check_local_copies(config.data_section)
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        problem = f"its check raised {type(error).__name__}: {first_line(error)}"
        hint = f"a bug in {registry.experiment_entry(name).package}; --debug shows the traceback"
        raise DlrunError(f"experiment {name!r}: {problem}", hint) from error
    if is_offline():
        download_missing_data(name, config, settings, Screen())  # raises if anything is missing
    if here and not config.fallback:
        accelerator.require_accelerator(config.accelerator)


def check_callbacks_and_loggers(config: ExperimentConfig) -> None:
    """Import the callbacks and loggers of Lightning in a config; raise ConfigError if one is wrong.

    This takes a second, unless the experiment has imported Lightning already.
    """
    check_lightning_loggers(config)
    if isinstance(config, LightningConfig) and config.trainer.callbacks:
        from dlrun.training.callbacks import make_callbacks

        make_callbacks(config)


def download_missing_data(
    name: str, config: ExperimentConfig, settings: RunSettings, screen: Screen
) -> None:
    """Download the published files that a run needs, if any is missing; raise DownloadError."""
    if dataset := registry.experiment_dataset(name):
        section, data_dir = config.data_section, run_context.resolve_data_dir(settings.data_dir)
        if not all(path.exists() for _, path in dataset.files(section, data_dir)):
            dataset.obtain(section, data_dir, screen)


def print_dry_run(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """Print the validated config and the folder in which a run would be stored."""
    text = to_json(config.model_dump(mode="json")) if json else config_to_yaml(config)
    screen.rows(text.rstrip().split("\n"))  # with whole paths
    screen.note(f"dry run: the config is valid; a run's folder would be in {place}")


def _load_experiment_to_run(name: str, config: ExperimentConfig) -> AnyExperiment:
    """Import an experiment, and Lightning if the run trains with it, before the run begins."""
    if isinstance(config, LightningConfig):
        with scipy_signal_on_use():
            importlib.import_module("dlrun.training.fit")
    return registry.load_experiment(name)


def _prepare_resume(folder: RunFolder, settings: RunSettings, screen: Screen) -> RunRecorder | None:
    """Return the recorder that continues a locked run, or None if nothing is left to do."""
    path, run = folder.path, Run.open(folder.path)
    record, name = run.record, run.record.experiment
    schema, again = registry.load_config_class(name), f"`{run.repeat_command}` starts another run"
    if not schema.resumable:
        raise DlrunError(f"{path}: {name} has nothing to resume", again)
    # A key that was deleted by hand has its value from when the run began.
    layer = read_and_merge_layers(name, [run.initial_config(), path / CONFIG, *settings.overrides])
    config = validate_config(name, layer, resumed=True)
    if changed := run.edited_keys(config.model_dump(mode="json")) - PROCESSES:
        problem = f"{', '.join(sorted(changed))}: changed since the run began"
        if EPOCHS in changed & schema.changeable_keys:
            problem += f"; the schedule of the learning rate depends on {EPOCHS}"
        allowed = ", ".join(sorted(run.changeable_keys | RUNTIME_KEYS))
        raise ConfigError(f"{problem}; a resume can only change {allowed}", again)
    check_not_fewer(config.total_steps, record.steps or 0, "epoch")
    check_loggers_installed(config)
    if record.status == "waiting":
        experiment = _load_experiment_to_run(name, config)
        return RunRecorder(experiment, config, folder, settings, record)
    then, changes = run.environment, list[str]()
    if isinstance(config, LightningConfig):
        # Another number of processes adds up a batch's gradients in another order, which rounds
        # differently; their distribution over nodes makes no difference.
        world = TrainerConfig.model_validate(run.initial_config().values["trainer"]).world
        if world != config.world:
            changes.append(f"processes: {world or 'auto'} then, {config.world or 'auto'} now")
    package = registry.experiment_entry(name).package
    changes += environment.describe_environment_changes(then.code, then.packages, package)
    if changes:
        problem = f"{path}: a resumed run would get other numbers: {'; '.join(changes)}"
        if not settings.force:
            raise DlrunError(problem, f"{again}; --force resumes this one all the same")
        if folder.writes:
            screen.warn(problem)
    # A larger max_epochs of a run that stopped early trains no further, but is recorded.
    planned = run.effective_config().get(EPOCHS) if record.stopped_epoch else record.steps
    is_complete = record.status == "finished" and config.total_steps in (None, planned)
    if is_complete and all((path / file).exists() for file in record.files):
        extends = EPOCHS in run.changeable_keys and checkpoint_files(path)
        hint = f"; --set {EPOCHS}=N extends it" if extends else ""
        if record.stopped_epoch:
            hint = f": it stopped early after epoch {record.stopped_epoch}"
        screen.note(f"{path}: finished, there is nothing to resume{hint}")
        return None
    if record.steps and not checkpoint_files(path):
        remove = f"`dlrun runs rm {shlex.quote(str(path))}`: then the sweep runs the point again"
        hint = remove if record.sweep else again
        raise DlrunError(f"{path}: its checkpoints are missing", hint)
    experiment = _load_experiment_to_run(name, config)
    return RunRecorder(experiment, config, folder, settings, record, resumes=True)
