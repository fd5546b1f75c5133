"""What accelerators this machine has, and how long an epoch takes on each (ISLP, lab 10.9.3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from dlrun import plots, session
from dlrun.accelerator import ACCELERATORS, missing
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.runner import Options, execute, resolve
from dlrun.experiments.sections import Network
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen

EPOCHS = 3  # the first warms up; the fastest of the others counts
DEVICES = ("cpu", *ACCELERATORS)
COLUMNS = ["device", "available", "seconds_per_epoch", "ratio_to_cpu", "reason"]


def run(
    experiment: str | None,
    files: Sequence[Path],
    overrides: Sequence[str],
    runs_dir: Path | None,
    data_dir: Path | None,
    *,
    quiet: bool,
) -> None:
    """List the devices; time the experiment on those that are there; write CSV and figure."""
    screen = Screen(quiet=quiet)
    reasons = {device: missing(device) for device in DEVICES}
    if experiment is None:
        screen.show(_table([[device, not why, None, None, why] for device, why in reasons.items()]))
        return
    if not isinstance(resolve(experiment, files, overrides), Network):
        raise ConfigError(
            f"{experiment} trains no network, so there is no epoch to time",
            "choose one of cifar100, imdb-dense, imdb-lstm",
        )
    seconds: dict[str, float] = {}
    record = RunFolder.claim(session.runs_dir(runs_dir), "accelerators", experiment)
    for device in [device for device, why in reasons.items() if why is None]:
        options = Options(
            config=files,
            overrides=[
                *overrides,
                f"accelerator={device}",
                "fallback=false",
                f"trainer.max_epochs={EPOCHS}",
            ],
            runs_dir=record.path,  # no run of the user's own: `latest` must not find it
            data_dir=data_dir,
            name=device,
            quiet=True,
            results=False,
        )
        screen.note(f"timing {EPOCHS} epochs of {experiment} on {device}")
        try:
            _, folder = execute(experiment, options)
        except DlrunError as error:
            if device == "cpu":
                raise
            reasons[device] = error.message
            continue
        assert folder is not None  # no dry run
        seconds[device] = float(pd.read_csv(folder / "metrics.csv")["seconds"][1:].min())
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
    record.write_environment()
    with record.replacing("accelerators.png") as path:
        plots.epoch_times(
            list(seconds), list(seconds.values()), path, title=f"{experiment}, one epoch"
        )
    screen.show(_table(rows))
    for name in ("accelerators.csv", "accelerators.png"):
        screen.show(Text(str(record.path / name)))


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
