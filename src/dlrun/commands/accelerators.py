"""What accelerators this machine has, and how long an epoch takes on each (ISLP, lab 10.9.3)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import NetworkConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.run_folder import environment
from dlrun.run_folder.folder import RunFolder
from dlrun.runs.import_notices import announce_imports
from dlrun.runs.run import Run
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import load_config, run_experiment
from dlrun.system.accelerator import ACCELERATORS, why_unavailable
from dlrun.system.console import Screen

EPOCHS = 3  # the first warms up; the fastest of the others counts
DEVICES = ("cpu", *ACCELERATORS)
COLUMNS = ["device", "available", "seconds_per_epoch", "ratio_to_cpu", "reason"]
FIGURE = "accelerators.png"


def accelerators(experiment: str | None, options: RunSettings) -> None:
    """List the devices; time the experiment on those that are there; write CSV and figure."""
    screen = Screen(quiet=options.quiet)
    if experiment is None:
        if options.config or options.overrides:
            raise ConfigError(
                "--config and --set are of an experiment, and none is named",
                f"dlrun accelerators {registry.names()[0]} ...",
            )
        there = _missing(screen).items()
        screen.show(_table([[device, not why, None, None, why] for device, why in there]))
        return
    config = load_config(experiment, options)
    if not isinstance(config, NetworkConfig):
        timed = [
            name
            for name, found in registry.config_classes()
            if isinstance(found, type) and issubclass(found, NetworkConfig)
        ]
        raise ConfigError(
            f"{experiment} trains no network, so there is no epoch to time",
            f"choose one of {', '.join(timed)}",
        )
    reasons = _missing(screen)
    record = RunFolder.claim(run_context.runs_dir(options.runs_dir), "accelerators", experiment)
    seconds: dict[str, float] = {}
    data = ""
    for device in [device for device, why in reasons.items() if why is None]:
        screen.note(f"timing {EPOCHS} epochs of {experiment} on {device}")
        try:
            run = _timed(experiment, device, options, record.path)
        except DlrunError as error:
            if device == "cpu":
                raise
            reasons[device] = error.message
            continue
        data = run.record.data
        seconds[device] = min(run.table["seconds"][1:])
    rows: list[list[Any]] = [
        [
            device,
            device in seconds,
            seconds.get(device),
            seconds[device] / seconds["cpu"] if device in seconds else None,
            reasons[device],
        ]
        for device in DEVICES
    ]
    record.write_csv("accelerators.csv", COLUMNS, rows)
    record.write_json(
        "environment.json", environment.describe_environment(registry.entry(experiment).package)
    )
    _draw(record, f"{experiment}, seed {config.seed}, run {record.path.name}\n{data}", seconds)
    screen.show(_table(rows))
    screen.show(Text(f"{experiment}: {data}"))
    for name in ("accelerators.csv", FIGURE):
        screen.show(Text(str(record.path / name)))


def _missing(screen: Screen) -> dict[str, str | None]:
    """Why each device is not there; None for those that are."""
    with announce_imports(screen):  # needs torch
        return {device: why_unavailable(device) for device in DEVICES}


def _timed(experiment: str, device: str, options: RunSettings, into: Path) -> Run:
    """A run of some epochs, in a place where `latest` does not find it."""
    sets: Sequence[str] = (
        f"accelerator={device}",
        "fallback=false",
        f"trainer.max_epochs={EPOCHS}",
    )
    timed = replace(
        options,
        overrides=[*options.overrides, *sets],
        runs_dir=into,
        name=device,
        quiet=True,
        results=False,
    )
    _, folder = run_experiment(experiment, timed)
    assert folder is not None  # no dry run
    return Run.open(folder)


def _draw(record: RunFolder, title: str, seconds: dict[str, float]) -> None:
    from dlrun.plots.accelerator_times import epoch_times
    from dlrun.plots.style import to_png

    record.write(FIGURE, to_png(epoch_times(list(seconds), list(seconds.values()), title=title)))


def _table(rows: list[list[Any]]) -> Table:
    timed = any(row[2] is not None for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column("device")
    if timed:
        table.add_column("s / epoch", justify="right")
        table.add_column("ratio to CPU", justify="right")
    table.add_column("state", overflow="fold")
    for device, _, seconds, ratio, why in rows:
        times = [f"{value:.2f}" if value is not None else "" for value in (seconds, ratio)]
        table.add_row(
            str(device), *(times if timed else []), f"missing: {why}" if why else "available"
        )
    return table
