"""Every experiment at its full network size on small generated or shipped data."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun import experiments
from dlrun.config_files import defaults_folder, experiment_names
from dlrun.experiments.runner import Options, execute
from dlrun.experiments.sections import Network
from dlrun.run_folder import read_results
from dlrun.screen import Screen


def run(epochs: int, runs_dir: Path | None, data_dir: Path | None) -> None:
    """Run them all on configs/smoke, with more epochs, and show what came out."""
    screen = Screen()
    folders = []
    for number, name in enumerate(experiment_names(), start=1):
        screen.show(Text(f"\n[{number}/{len(experiment_names())}] {name}", style="bold"))
        trains = issubclass(experiments.load(name).Config, Network)
        options = Options(
            config=[defaults_folder() / "smoke" / f"{name}.yaml"],
            overrides=[f"trainer.max_epochs={epochs}"] if trains else [],
            runs_dir=runs_dir,
            data_dir=data_dir,
        )
        _, folder = execute(name, options)
        assert folder is not None  # noqa: S101 (no dry run)
        folders.append(folder)
    table = Table(title="\nWhat was run", title_justify="left", box=None, pad_edge=False)
    for column in ("experiment", "data", "result", "seconds", "figure"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for folder in folders:
        results = read_results(folder)
        accuracy = results["metrics"].get("test_accuracy")
        result = (
            f"{results['metrics'].get('images')} photographs classified"
            if accuracy is None
            else f"test accuracy {accuracy:.3f}"
        )
        seconds = f"{results['seconds']['total']:.1f}"
        figure = str(folder / results["figures"][0])
        table.add_row(results["experiment"], results["data"], result, seconds, figure)
    screen.show(table)
    screen.show(
        "Generated data show that everything works; they say nothing about the book's results. "
        "`dlrun imdb-dense` runs on the real reviews."
    )
