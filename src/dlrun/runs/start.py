"""Start a run: from the options to a claimed folder."""

from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.config.validation import read_layers, to_yaml, validate
from dlrun.config.yaml_loader import Layer
from dlrun.data.download import is_offline, obtain
from dlrun.errors import DlrunError, first_line
from dlrun.experiments import registry
from dlrun.run_folder.folder import RunFolder, check_name, check_writable, to_json
from dlrun.runs import console_summary, import_notices, loggers
from dlrun.runs.distributed import as_started, is_helper, processes_to_start
from dlrun.runs.runner import Runner, lock_run
from dlrun.runs.settings import RunSettings
from dlrun.system import accelerator
from dlrun.system.console import Screen


def load_config(name: str, options: RunSettings) -> ExperimentConfig:
    """An experiment's validated config. Raises ConfigError with every fault."""
    return validate_config(name, read_config_layers(name, options))


def read_config_layers(name: str, options: RunSettings) -> Layer:
    """An experiment's config as it is given, not yet validated. Raises ConfigError."""
    defaults = registry.entry(name).defaults
    return read_layers(name, [defaults, *options.config, *options.overrides, *options.values])


def validate_config(name: str, layer: Layer) -> ExperimentConfig:
    """The validated config. Raises ConfigError with every fault."""
    config: ExperimentConfig = validate(registry.config_class(name), layer, name)
    return as_started(config)


def run_experiment(name: str, options: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment; returns the exit code and the run's folder (None for a dry run).

    Raises whatever ended the run early, after the record says so.
    """
    screen = options.screen or Screen(
        quiet=options.quiet, results=options.results and not options.json
    )
    with (
        import_notices.announce_imports(screen),
        console_summary.errors_as_json(screen, wanted=options.json),
    ):
        config = load_config(name, options)
        check(name, config, options)
        runs_dir = run_context.runs_dir(options.runs_dir)
        if options.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=options.json)
            return 0, None
        if is_helper(config):
            folder = RunFolder(runs_dir / name, writes=False)
            screen = Screen(quiet=True, results=False)
        else:
            folder = RunFolder.claim(runs_dir, name, options.name)
    with import_notices.announce_imports(screen), lock_run(folder, screen) as still_ours:
        live = Runner(registry.load(name), config, folder, screen, options, check=still_ours)
        if (processes := processes_to_start(config)) == 1:
            return live.run(), folder.path
        live.write_first("waiting")
    from dlrun.runs.launcher import launch  # slow: torch

    with console_summary.errors_as_json(screen, wanted=options.json):
        return launch(processes, folder.path, options), folder.path


def check(name: str, config: ExperimentConfig, options: RunSettings, *, here: bool = True) -> None:
    """All that can be known before a run gets its folder. Raises DlrunError.

    `here`: it is this machine's devices that it will run on.
    """
    check_name(options.name)
    runs_dir = run_context.runs_dir(options.runs_dir)
    check_writable(runs_dir)
    loggers.check(config)
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
        for published, path in dataset.files(config, run_context.data_dir(options.data_dir)):
            if not path.exists():  # raises, for it cannot be downloaded
                obtain(published, None, path.parent, (), Screen())
    if here and not config.fallback:
        accelerator.require_accelerator(config.accelerator)


def print_dry_run(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """What a dry run shows: the valid config, and where a run would go."""
    text = to_json(config.model_dump(mode="json")) if json else to_yaml(config)
    screen.out.print(Text(text.rstrip()))
    screen.note(f"dry run: the config is valid; a run would go into {place}")
