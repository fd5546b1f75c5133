"""Start a run: from the options to a claimed folder."""

from pathlib import Path

from rich.text import Text

from dlrun import accelerator, session
from dlrun.config.sections import ExperimentConfig
from dlrun.config.text import Layer
from dlrun.config.validation import read_layers, to_yaml, validate
from dlrun.data.download import is_offline
from dlrun.data.published import obtain
from dlrun.declaration import registry
from dlrun.declaration.experiment import AnyExperiment
from dlrun.errors import DlrunError, first_line
from dlrun.runs import ending, loading, loggers
from dlrun.runs.live import Live, locked
from dlrun.runs.options import Options
from dlrun.runs.ranks import as_started, is_helper
from dlrun.screen import Screen
from dlrun.store.folder import RunFolder, check_name, check_writable, to_json


def resolve(name: str, options: Options) -> ExperimentConfig:
    """An experiment's validated config. Raises ConfigError with every fault."""
    return valid(name, layered(name, options))


def layered(name: str, options: Options) -> Layer:
    """An experiment's config as it is given, not yet validated. Raises ConfigError."""
    defaults = registry.entry(name).defaults
    return read_layers(name, [defaults, *options.config, *options.overrides, *options.values])


def valid(name: str, layer: Layer) -> ExperimentConfig:
    """The validated config. Raises ConfigError with every fault."""
    config: ExperimentConfig = validate(registry.load(name).schema, layer, name)
    return as_started(config)


def execute(name: str, options: Options) -> tuple[int, Path | None]:
    """Run an experiment; returns the exit code and the run's folder (None for a dry run).

    Raises whatever ended the run early, after the record says so.
    """
    screen = options.screen or Screen(
        quiet=options.quiet, results=options.results and not options.json
    )
    with loading.announced(screen), ending.errors_as_json(screen, wanted=options.json):
        config = resolve(name, options)
        experiment = registry.load(name)
        check(experiment, config, options)
        runs_dir = session.runs_dir(options.runs_dir)
        if options.dry_run:
            show_dry(config, runs_dir / name, screen, json=options.json)
            return 0, None
        if is_helper(config):
            folder = RunFolder(runs_dir / name, writes=False)
            screen = Screen(quiet=True, results=False)
        else:
            folder = RunFolder.claim(runs_dir, name, options.name)
    with loading.announced(screen), locked(folder, screen) as still_ours:
        live = Live(experiment, config, folder, screen, options, check=still_ours)
        return live.run(), folder.path


def check(
    experiment: AnyExperiment, config: ExperimentConfig, options: Options, *, here: bool = True
) -> None:
    """All that can be known before a run gets its folder. Raises DlrunError.

    `here`: it is this machine's devices that it will run on.
    """
    check_name(options.name)
    runs_dir = session.runs_dir(options.runs_dir)
    check_writable(runs_dir)
    loggers.check(config)
    try:
        experiment.check(config, runs_dir)
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        package = registry.entry(experiment.name).package
        raise DlrunError(
            f"experiment {experiment.name!r}: its check raised {type(error).__name__}: "
            f"{first_line(error)}",
            f"a bug in the package {package}; --debug shows the traceback",
        ) from error
    if is_offline() and (dataset := experiment.dataset()):
        for published, path in dataset.files(config, session.data_dir(options.data_dir)):
            if not path.exists():  # raises, for it cannot be downloaded
                obtain(published, None, path.parent, (), Screen())
    if here and not config.fallback:
        accelerator.require(config.accelerator)


def show_dry(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """What a dry run shows: the valid config, and where a run would go."""
    text = to_json(config.model_dump(mode="json")) if json else to_yaml(config)
    screen.out.print(Text(text.rstrip()))
    screen.note(f"dry run: the config is valid; a run would go into {place}")
