"""Start or resume a run: validate its config, create or lock its folder, run the experiment."""

import importlib
import shlex
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.validation import config_to_yaml, read_and_merge_layers, validate_layer
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys
from dlrun.data.download import is_offline
from dlrun.errors import ConfigError, DataError, DlrunError, first_line
from dlrun.experiments import registry
from dlrun.experiments.base import AnyExperiment
from dlrun.experiments.comparable_with_published import PROCESSES
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run
from dlrun.run_context import RunSettings, errors_as_json, print_results_json
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import checkpoint_files, find_damaged_checkpoints
from dlrun.run_folder.external_loggers import check_lightning_loggers, check_loggers_installed
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import RunFolder, check_runs_folder_writable
from dlrun.run_folder.progress_recorder import check_not_fewer
from dlrun.runs.distributed import (
    ProcessGroup,
    count_processes_to_start,
    is_helper_process,
    launch_training_processes,
    set_devices_from_launcher,
)
from dlrun.runs.runner import RunRecorder, new_record, write_first_files
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
    return _run_in_new_folder(experiment, config, settings)


def _run_in_new_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    settings: RunSettings,
    begins_with: Run | None = None,
) -> tuple[int, Path]:
    """Run an experiment in a new folder, and return the exit code and the folder.

    begins_with: the earlier run whose last checkpoint it continues.
    """
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    if is_helper_process():  # it reads the checkpoint where it is
        path, record = runs_dir / experiment.name, new_record(experiment.name, config, settings)
        if begins_with is not None:
            path, record = begins_with.folder, begins_with.record
        folder = RunFolder(path, writes=False)
        return RunRecorder(experiment, config, folder, settings, record).execute(), path
    with errors_as_json(settings.console(), wanted=settings.json):
        folder = RunFolder.claim(runs_dir, experiment.name, settings.name)
    processes = count_processes_to_start(config)
    if processes > 1:
        config = set_devices_from_launcher(config, ProcessGroup("dlrun", processes, processes))
    record = new_record(experiment.name, config, settings, begins_with)
    with folder.locked():
        if processes == 1:
            recorder = RunRecorder(experiment, config, folder, settings, record, begins_with)
            return recorder.execute(), folder.path
        write_first_files(folder, record, settings, begins_with)
    launched = replace(settings, overrides=())  # the record has them
    return launch_training_processes(processes, folder.path, launched), folder.path


def resume_run(run: str, settings: RunSettings) -> int:
    """Continue a run, and return the exit code; find_run explains the names.

    A run that has not finished continues in its own folder. With more epochs than it was to have,
    a run continues in a new folder, and its own is not written to. Beside these, the overrides in
    the settings can change only the keys in `resume_keys`.
    """
    screen = settings.console()
    with ExitStack() as stack:
        with errors_as_json(screen, wanted=settings.json):
            folder = RunFolder(
                find_run(run, run_context.resolve_runs_dir(settings.runs_dir)),
                writes=not is_helper_process(),
            )
            opened = Run.in_folder(folder.path)
            if opened.record.status != "finished":
                stack.enter_context(folder.locked())
                opened = Run.in_folder(folder.path)  # another process may have finished it
            config = _resumed_config(opened, settings)
            is_longer = config.total_steps != opened.config.total_steps
            if opened.record.status == "finished" and not is_longer:
                _note_nothing_to_resume(opened, screen)
                if settings.json:
                    print_results_json(folder.path, screen)
                return 0
            if opened.record.status != "waiting" or is_longer:
                _check_can_continue(opened, config, settings, screen)
            if is_longer:
                check_runs_folder_writable(run_context.resolve_runs_dir(settings.runs_dir))
                check_run_can_start(opened.record.experiment, config, settings)
            experiment = _load_experiment_to_run(opened.record.experiment, config)
        if is_longer:
            stack.close()
            return _run_in_new_folder(experiment, config, settings, opened)[0]
        processes = count_processes_to_start(config)
        if processes == 1:
            return RunRecorder(experiment, config, folder, settings, opened.record).execute()
    return launch_training_processes(processes, folder.path, settings)


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
            dataset.check(config.data_section)
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
            dataset.download(section, data_dir, screen)


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


def resume_keys(run: Run) -> frozenset[str]:
    """Return the keys that `dlrun resume` may change: how the run is done, and how long it is."""
    schema = registry.load_config_class(run.record.experiment)
    return schema.changeable_by_resume(run.settings) | RUNTIME_KEYS | PROCESSES


def _resumed_config(run: Run, settings: RunSettings) -> ExperimentConfig:
    """Return the config of a run that is resumed. Raises ConfigError if a key must not change."""
    name, again = run.record.experiment, f"`{run.repeat_command}` starts another run"
    schema = registry.load_config_class(name)
    if not schema.resumable:
        raise DlrunError(f"{run.folder}: {name} has nothing to resume", again)
    layer = read_and_merge_layers(name, [ConfigLayer(run.record.config), *settings.overrides])
    config = validate_config(name, layer, resumed=True)
    then, now = (flatten_keys(one.model_dump(mode="json")) for one in (run.config, config))
    changed = {key for key in then | now if then.get(key) != now.get(key)}
    if refused := changed - resume_keys(run):
        problem = f"{', '.join(sorted(refused))}: changed since the run began"
        if EPOCHS in refused and EPOCHS in schema.changeable_keys:
            problem += f"; the schedule of the learning rate depends on {EPOCHS}"
        allowed = ", ".join(sorted(resume_keys(run) - PROCESSES))
        raise ConfigError(f"{problem}; a resume can only change {allowed}", again)
    return config


def _check_can_continue(
    run: Run, config: ExperimentConfig, settings: RunSettings, screen: Screen
) -> None:
    """Raise DlrunError if a run cannot continue, or would get other numbers than undisturbed."""
    path, record, again = run.folder, run.record, f"`{run.repeat_command}` starts another run"
    check_not_fewer(config.total_steps, record.steps or 0, "epoch")
    check_loggers_installed(config)
    if record.stopped_epoch:
        problem = f"{path}: the training stopped early, after epoch {record.stopped_epoch}"
        raise ConfigError(f"{problem}: it has no more epochs", again)
    changes = list[str]()
    # Another number of processes adds up a batch's gradients in another order, which rounds
    # differently; their distribution over nodes makes no difference.
    if run.config.world != config.world:
        then, now = run.config.world or "auto", config.world or "auto"
        changes.append(f"processes: {then} then, {now} now")
    package, begun = registry.experiment_entry(record.experiment).package, run.environment
    changes += environment.describe_environment_changes(begun.code, begun.packages, package)
    if changes:
        problem = f"{path}: a resumed run would get other numbers: {'; '.join(changes)}"
        if not settings.force:
            raise DlrunError(problem, f"{again}; --force resumes this one all the same")
        if not is_helper_process():
            screen.warn(problem)
    checkpoints = checkpoint_files(path)
    if checkpoints and len(list(find_damaged_checkpoints(path, record.id))) == len(checkpoints):
        raise DataError(f"{path}: every checkpoint is damaged", again)
    if record.steps and not checkpoints:
        remove = f"`dlrun runs rm {shlex.quote(str(path))}`: then the sweep runs the point again"
        raise DlrunError(f"{path}: its checkpoints are missing", remove if record.sweep else again)


def _note_nothing_to_resume(run: Run, screen: Screen) -> None:
    """Say that a run has finished, and how it can be continued."""
    hint = ""
    if run.record.stopped_epoch:
        hint = f": it stopped early after epoch {run.record.stopped_epoch}"
    elif EPOCHS in resume_keys(run) and checkpoint_files(run.folder):
        hint = f"; {EPOCHS}=N continues it in a new run"
    screen.note(f"{run.folder}: finished, there is nothing to resume{hint}")
