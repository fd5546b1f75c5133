"""`dlrun accelerators`: list this machine's devices and time an epoch on each (ISLP 10.9.3)."""

from dataclasses import replace
from typing import Annotated

from rich.text import Text

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.config.network_sections import LightningConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder import environment
from dlrun.run_folder.folder import RunFolder, to_csv
from dlrun.runs.start import load_experiment_config, run_experiment
from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from dlrun.system.console import Screen, format_text_table

EPOCHS = 3  # the first is a warm-up; the fastest of the others counts
COLUMNS = ["device", "available", "seconds_per_epoch", "ratio_to_cpu", "reason"]
TABLE, FIGURE = "accelerators.csv", "accelerators.png"


@opt.with_run_options("config", "overrides", "runs_dir", "data_dir", "quiet")
def list_accelerators(
    settings: RunSettings,
    experiment: Annotated[
        str | None,
        opt.argument(
            "Time an epoch of it on each available device.",
            "EXPERIMENT",
            registry.experiment_names,
        ),
    ] = None,
) -> None:
    """List this machine's accelerators, why others are missing, and how fast they are.

    Examples:
    dlrun accelerators
    dlrun accelerators cifar100 data.source=sample
    """
    screen = settings.console()
    if experiment is None and (settings.config or settings.overrides):
        raise ConfigError(
            "--config and --set belong to an experiment, and none is named",
            f"dlrun accelerators {registry.experiment_names()[0]} ...",
        )
    valid = None if experiment is None else load_experiment_config(experiment, settings)
    if valid is not None and not isinstance(valid, LightningConfig):
        raise ConfigError(f"{experiment} trains no network, so there is no epoch to time")
    # After the checks, because it imports torch.
    missing = {device: why_accelerator_unavailable(device) for device in ("cpu", *ACCELERATORS)}
    if experiment is None or valid is None:
        _show(missing, {}, screen)
        return
    folder = RunFolder.claim(
        run_context.resolve_runs_dir(settings.runs_dir), "accelerators", experiment
    )
    seconds: dict[str, float] = {}
    data = ""
    for device in [device for device, why in missing.items() if why is None]:
        screen.note(f"timing {EPOCHS} epochs of {experiment} on {device}")
        own = [f"accelerator={device}", "fallback=false", f"trainer.max_epochs={EPOCHS}"]
        timed = replace(
            settings,
            overrides=[*settings.overrides, *own],
            runs_dir=folder.path,  # in a folder where `latest` does not point to it
            name=device,
            quiet=True,
            results=False,
        )
        try:
            _, path = run_experiment(experiment, timed)
        except DlrunError as error:
            if device == "cpu":
                raise
            missing[device] = error.message
            continue
        assert path is not None  # not a dry run
        run = Run.open(path)
        data = run.record.data
        seconds[device] = min(run.table["seconds"][1:])
    from dlrun.plots.run import draw_epoch_times  # slow: matplotlib

    rows = [
        [device, why is None, time, time and time / seconds["cpu"], why]
        for device, why in missing.items()
        for time in [seconds.get(device)]
    ]
    folder.write(TABLE, to_csv([COLUMNS, *rows]))
    package = registry.experiment_entry(experiment).package
    folder.write_json("environment.json", environment.describe_environment(package))
    title = f"{experiment}, seed {valid.seed}, run {folder.path.name}\n{data}"
    figure = draw_epoch_times(list(seconds), list(seconds.values()), title=title)
    folder.write(FIGURE, figure.to_png())
    _show(missing, seconds, screen)
    lines = f"{experiment}: {data}", str(folder.path / TABLE), str(folder.path / FIGURE)
    screen.show(Text("\n".join(lines)))


def _show(missing: dict[str, str | None], seconds: dict[str, float], screen: Screen) -> None:
    """Print a line for each device: whether it is available and, if timed, how fast it is."""
    rows = [["device", "s / epoch", "ratio to CPU", "state"]]
    for device, why in missing.items():
        state = f"missing: {why}" if why else "available"
        time = seconds.get(device)
        times = (f"{time:.2f}", f"{time / seconds['cpu']:.2f}") if time else ("", "")
        rows.append([device, *times, state])
    if not seconds:
        rows = [[device, state] for device, *_, state in rows]
    screen.rows(format_text_table(rows, left=(0, len(rows[0]) - 1)))
