"""Starting a run: the config is read and checked, the folder claimed, and the run done."""

from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.validation import read_layers, to_yaml, validate
from dlrun.config.yaml_loader import Layer
from dlrun.data.download import is_offline, obtain
from dlrun.errors import DlrunError, first_line
from dlrun.experiments import registry
from dlrun.run_folder.folder import RunFolder, check_name, check_writable, to_json
from dlrun.runs import loggers
from dlrun.runs.console_summary import errors_as_json
from dlrun.runs.distributed import as_started, is_helper, processes_to_start
from dlrun.runs.runner import Runner, lock_run, new_record
from dlrun.runs.settings import RunSettings
from dlrun.system import accelerator, resources
from dlrun.system.console import Screen

TORCH_MEMORY = 10**9  # bytes of address space; with fewer, torch aborts or hangs at its import


def load_config(name: str, settings: RunSettings) -> ExperimentConfig:
    """Return an experiment's validated config. Raises ConfigError with every error."""
    return validate_config(name, read_config_layers(name, settings))


def read_config_layers(name: str, settings: RunSettings) -> Layer:
    """Return an experiment's config before validation. Raises ConfigError."""
    defaults = registry.entry(name).defaults
    return read_layers(name, [defaults, *settings.config, *settings.overrides, *settings.values])


def validate_config(name: str, layer: Layer) -> ExperimentConfig:
    """Return the validated config. Raises ConfigError with every error."""
    config: ExperimentConfig = validate(registry.config_class(name), layer, name)
    return as_started(config)


def run_experiment(name: str, settings: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run).

    Raises what ended the run early, once the record says so.
    """
    screen = settings.console()
    with errors_as_json(screen, wanted=settings.json):
        config = load_config(name, settings)
        check(name, config, settings)
        runs_dir = run_context.runs_dir(settings.runs_dir)
        if settings.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=settings.json)
            return 0, None
        experiment = registry.load(name)
        if is_helper(config):
            folder = RunFolder(runs_dir / name, writes=False)
            screen = Screen(quiet=True, results=False)
        else:
            folder = RunFolder.claim(runs_dir, name, settings.name)
    with lock_run(folder, screen):
        record = new_record(name, config, folder, settings)
        runner = Runner(experiment, config, folder, screen, settings, record)
        if (processes := processes_to_start(config)) == 1:
            return runner.run(), folder.path
        runner.write_first_files("waiting")
    from dlrun.runs.launcher import launch  # slow: torch

    with errors_as_json(screen, wanted=settings.json):
        return launch(processes, folder.path, settings), folder.path


def check(name: str, config: ExperimentConfig, settings: RunSettings, *, here: bool = True) -> None:
    """Check all that can be known before a run gets its folder. Raises DlrunError.

    `here`: the run will use this machine's memory and accelerators.
    """
    check_name(settings.name)
    runs_dir = run_context.runs_dir(settings.runs_dir)
    check_writable(runs_dir)
    loggers.check(config)
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
        package = registry.entry(name).package
        raise DlrunError(
            f"experiment {name!r}: its check raised {type(error).__name__}: {first_line(error)}",
            f"a bug in the package {package}; --debug shows the traceback",
        ) from error
    if is_offline() and (dataset := registry.dataset(name)):
        for published, path in dataset.files(config, run_context.data_dir(settings.data_dir)):
            if not path.exists():  # raises, for it cannot be downloaded
                obtain(published, None, path.parent, (), Screen())
    if here and not config.fallback:
        accelerator.require_accelerator(config.accelerator)


def print_dry_run(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """Print the valid config, and the folder that a run would be in."""
    text = to_json(config.model_dump(mode="json")) if json else to_yaml(config)
    screen.out.print(Text(text.rstrip()))
    screen.note(f"dry run: the config is valid; a run's folder would be in {place}")
