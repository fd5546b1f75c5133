"""Check the config, the data and the machine before a run begins or is resumed."""

import contextlib
import importlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import EPOCHS
from dlrun.config.validation import config_to_yaml, read_and_merge_layers
from dlrun.config.yaml_loader import ConfigLayer, flatten_keys, read_yaml_file
from dlrun.data.download import is_offline
from dlrun.errors import ConfigError, DataError, DlrunError, ErrorCollector, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment, C, Experiment, Implementation
from dlrun.experiments.saved_runs import config_of
from dlrun.runs import checkpoint, environment
from dlrun.runs.folder import CONFIG, check_run_name, check_runs_folder_writable
from dlrun.runs.options import RunOptions, resolve_data_dir, resolve_runs_dir
from dlrun.runs.run import Run
from dlrun.system import accelerator
from dlrun.system.console import Screen
from dlrun.system.extras import require_extra
from dlrun.system.json_text import to_json
from dlrun.system.library_imports import import_matplotlib_first
from dlrun.system.text import pluralize
from dlrun.system.workarounds import scipy_signal_on_use


def load_experiment_config(experiment: Experiment[C], options: RunOptions) -> C:
    """Read and validate the config of an experiment; raise ConfigError with every error."""
    return experiment.validate(merge_experiment_config(experiment, options))


def merge_experiment_config(experiment: AnyExperiment, options: RunOptions) -> ConfigLayer:
    """Merge an experiment's default config with the user's; raise ConfigError if one is invalid."""
    return read_and_merge_layers([experiment.shipped.layer, *options.config, *options.values])


def checked_config_of_new_run(
    experiment: Experiment[C], options: RunOptions, *, is_local: bool
) -> C | None:
    """Check a new run, and return its config; a dry run prints the config and returns None.

    Raises ConfigError with every error of the config, then DlrunError with all else that is wrong:
    see `check_run_can_start`.
    """
    config = load_experiment_config(experiment, options)
    runs_dir = resolve_runs_dir(options.runs_dir)
    check_runs_folder_writable(runs_dir)
    check_run_can_start(experiment, config, options, is_local=is_local)
    if not options.dry_run:
        return config
    screen = options.console()
    text = to_json(config.model_dump(mode="json")) if options.json else config_to_yaml(config)
    screen.print_lines(text.rstrip().split("\n"))  # with whole paths
    dataset = experiment.data
    if dataset is not None and dataset.describe is not None and not options.json:
        section = experiment.data_section(config)
        data_dir = resolve_data_dir(options.data_dir)
        data = dataset.load(section, data_dir, config.split_seed, screen)
        screen.print_lines(["", *dataset.describe(data)])
    screen.note(
        f"dry run: the config is valid; a run's folder would be in {runs_dir / experiment.name}"
    )
    return None


def check_run_can_start(
    experiment: Experiment[C],
    config: C,
    options: RunOptions,
    *,
    is_local: bool = True,
    reads_data: bool = True,
) -> None:
    """Check what can be checked before a run begins; raise DlrunError with all that is wrong.

    An experiment of another package is imported.

    is_local: whether the run will use this machine's accelerators.
    reads_data: whether the headers of tables are read.

    Raises FileNotFoundError if the working folder, which a run records, was removed.
    """
    Path.cwd()
    collector = ErrorCollector()
    data_dir = resolve_data_dir(options.data_dir)
    with collector.collected():
        check_run_name(options.name)
    for logger in config.logger:
        with collector.collected():
            require_extra(f"logger: {logger}", logger, logger)
    with collector.collected(), _bugs_explained(experiment):
        config.check()
    with collector.collected(), _bugs_explained(experiment):
        if experiment.checks_itself or experiment.package != "dlrun":
            import_implementation_to_run(experiment).check(config)
    with collector.collected(), _bugs_explained(experiment):
        dataset = experiment.data
        if dataset is not None and reads_data:
            section = experiment.data_section(config)
            dataset.check(section, data_dir)
            if is_offline():
                dataset.download(section, data_dir, Screen())
    with collector.collected():
        if is_local and not config.fallback:
            accelerator.require_accelerator(config.accelerator)
    collector.raise_all()


@contextlib.contextmanager
def _bugs_explained(experiment: AnyExperiment) -> Iterator[None]:
    """Raise DlrunError for an exception in the check of an experiment's config."""
    try:
        yield
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        problem = f"its check raised {name_and_first_line(error)}"
        hint = f"a bug in {experiment.package}; --debug shows the traceback"
        raise DlrunError(f"experiment {experiment.name!r}: {problem}", hint) from error


def check_no_links(folder: Path) -> None:
    """Raise DataError for a link out of a run's folder, by which the run would write elsewhere."""
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    for path in links:
        is_outside = not path.resolve().is_relative_to(folder.resolve())
        # Weights & Biases links a finished run's log to its cache, and writes there no more.
        if is_outside and not path.relative_to(folder).match("wandb/*run-*/logs/*"):
            raise DataError(f"{path}: a link out of the run's folder", "put a copy in its place")


def import_implementation_to_run(experiment: Experiment[C]) -> Implementation[C]:
    """Import an implementation, and Lightning if it trains with it, before the run begins."""
    if issubclass(experiment.config, LightningConfig):
        import_matplotlib_first()
        with scipy_signal_on_use():
            importlib.import_module("dlrun.training.fit")
    return experiment.load_implementation()


def resumed_config(experiment: Experiment[C], run: Run, options: RunOptions) -> C:
    """Merge a run's config with the values that a resume changes.

    Raises ConfigError if a key changes that must not, DlrunError if there is nothing to resume.
    """
    again = f"`{run.repeat_command}` starts another run"
    if not experiment.resumable and run.record.status != "waiting":
        raise DlrunError(f"{run.folder}: {experiment.name} has nothing to resume", again)
    file = run.folder / CONFIG
    recorded = ConfigLayer(run.record.config, {(): str(file), **read_yaml_file(file).origins})
    layer = read_and_merge_layers([recorded, *options.values])
    config = experiment.validate(layer)
    recorded_config = config_of(experiment, run)
    before = flatten_keys(recorded_config.model_dump(mode="json"))
    now = flatten_keys(config.model_dump(mode="json"))
    changed = {key for key in before | now if before.get(key) != now.get(key)}
    allowed = recorded_config.keys_to_resume
    refused = changed - allowed
    if refused:
        problem = f"{', '.join(sorted(refused))}: changed since the run began"
        if EPOCHS in refused and isinstance(config, LightningConfig):
            problem += f"; the schedule of the learning rate depends on {EPOCHS}"
        known = ", ".join(sorted(allowed & now.keys()))
        raise ConfigError(f"{problem}; a resume can only change {known}", again)
    return config


def check_can_continue(experiment: Experiment[C], run: Run, config: C, options: RunOptions) -> None:
    """Raise DlrunError if a run cannot be resumed, or if a resume would change its numbers.

    With --force, changed numbers are only a warning.
    """
    finished = run.record.steps or 0
    if not finished:  # the run was killed, perhaps before its first step
        # A damaged metrics.csv is no hindrance: a resume writes the file anew.
        with contextlib.suppress(DataError):
            finished = len(run.rows)
    total = config.total_steps
    if total is not None and total < finished:
        problem = f"{pluralize(total, 'epoch')} requested, but {finished:,} are"
        raise ConfigError(f"{problem} finished", "a run cannot have fewer than it has trained")
    check_further_steps_are_possible(run)
    earlier = run.environment
    changes = environment.describe_environment_changes(
        earlier.code, earlier.packages, experiment.package
    )
    if changes:
        problem = f"{run.folder}: a resumed run would get other numbers: {'; '.join(changes)}"
        if not options.force:
            again = f"`{run.repeat_command}` starts another run"
            raise DlrunError(problem, f"{again}; --force resumes this one all the same")
        options.console().warn(problem)


def check_further_steps_are_possible(run: Run) -> None:
    """Raise DlrunError if a run stopped early, or if its finished steps have no checkpoint."""
    path = run.folder
    record = run.record
    remedy = f"`{run.repeat_command}` starts another run"
    if record.stopped_epoch is not None:
        problem = f"{path}: the training stopped early, after epoch {record.stopped_epoch}"
        raise ConfigError(f"{problem}: it has no more epochs", remedy)
    if record.steps and not checkpoint.checkpoint_files(path):
        if record.sweep:
            remove = shlex.join(["dlrun", "runs", "rm", str(path)])
            remedy = f"`{remove}`: then the sweep runs the point again"
        raise DataError(f"{path}: its checkpoints are missing", remedy)
