"""`dlrun accelerators`: this machine's devices, and seconds per epoch on each (ISLP 10.9.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import NetworkConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder import environment
from dlrun.run_folder.folder import RunFolder, to_csv
from dlrun.runs.start import load_config, run_experiment
from dlrun.system.accelerator import ACCELERATORS, why_unavailable
from dlrun.system.console import Screen, format_table

EPOCHS = 3  # the first warms up; the fastest of the others counts
DEVICES = ("cpu", *ACCELERATORS)
COLUMNS = ["device", "available", "seconds_per_epoch", "ratio_to_cpu", "reason"]
TABLE, FIGURE = "accelerators.csv", "accelerators.png"

Row = tuple[str, bool, float | None, float | None, str | None]  # the values of COLUMNS


def accelerators(experiment: str | None, settings: RunSettings) -> None:
    """List the devices; time an experiment's epochs on each, and write a table and a figure.

    Raises ConfigError if the experiment trains no network, DlrunError if the CPU fails.
    """
    screen = Screen(quiet=settings.quiet)
    if experiment is None:
        if settings.config or settings.overrides:
            raise ConfigError(
                "--config and --set belong to an experiment, and none is named",
                f"dlrun accelerators {registry.names()[0]} ...",
            )
        _show(_rows(_missing_devices(), {}), screen)
        return
    config = load_config(experiment, settings)
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
    missing = _missing_devices()
    folder = RunFolder.claim(run_context.runs_dir(settings.runs_dir), "accelerators", experiment)
    seconds: dict[str, float] = {}
    data = ""
    for device in [device for device, why in missing.items() if why is None]:
        screen.note(f"timing {EPOCHS} epochs of {experiment} on {device}")
        try:
            run = _run(experiment, device, settings, folder.path)
        except DlrunError as error:
            if device == "cpu":
                raise
            missing[device] = error.message
            continue
        data = run.record.data
        seconds[device] = min(run.table["seconds"][1:])
    rows = _rows(missing, seconds)
    folder.write(TABLE, to_csv([COLUMNS, *rows]))
    package = registry.entry(experiment).package
    folder.write_json("environment.json", environment.describe_environment(package))
    title = f"{experiment}, seed {config.seed}, run {folder.path.name}\n{data}"
    folder.write(FIGURE, _draw(title, seconds))
    _show(rows, screen)
    for text in (f"{experiment}: {data}", folder.path / TABLE, folder.path / FIGURE):
        screen.show(Text(str(text)))


def _missing_devices() -> dict[str, str | None]:
    """Return why each device is missing; None for those that are there."""
    return {device: why_unavailable(device) for device in DEVICES}


def _run(experiment: str, device: str, settings: RunSettings, folder: Path) -> Run:
    """Run a few epochs, in a folder where `latest` does not find them."""
    overrides = [f"accelerator={device}", "fallback=false", f"trainer.max_epochs={EPOCHS}"]
    timed = replace(
        settings,
        overrides=[*settings.overrides, *overrides],
        runs_dir=folder,
        name=device,
        quiet=True,
        results=False,
    )
    _, run = run_experiment(experiment, timed)
    assert run is not None  # not a dry run
    return Run.open(run)


def _draw(title: str, seconds: dict[str, float]) -> bytes:
    from dlrun.plots import curves, style  # slow: matplotlib

    return style.to_png(curves.epoch_times(list(seconds), list(seconds.values()), title=title))


def _rows(missing: Mapping[str, str | None], seconds: Mapping[str, float]) -> list[Row]:
    rows: list[Row] = []
    for name, why in missing.items():
        time = seconds.get(name)
        rows.append((name, why is None, time, time and time / seconds["cpu"], why))
    return rows


def _show(rows: Sequence[Row], screen: Screen) -> None:
    cells = [["device", "s / epoch", "ratio to CPU", "state"]]
    for name, _, *times, why in rows:
        texts = ["" if one is None else f"{one:.2f}" for one in times]
        cells.append([name, *texts, f"missing: {why}" if why else "available"])
    if all(time is None for _, _, time, _, _ in rows):
        cells = [[row[0], row[-1]] for row in cells]
    for line in format_table(cells, left=(0, len(cells[0]) - 1)):
        screen.show(Text(line))
