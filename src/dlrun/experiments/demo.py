"""Every experiment at its full network size on small generated or shipped data."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun.config_files import defaults_folder, experiment_names
from dlrun.experiments.runner import Options, execute
from dlrun.run_folder import read_results
from dlrun.screen import Screen


def run(runs_dir: Path | None, data_dir: Path | None) -> None:
    """Run them all on configs/smoke and what configs/demo adds, and show what came out."""
    screen = Screen()
    names = experiment_names()
    folders = []
    for number, name in enumerate(names, start=1):
        screen.show(Text(f"\n[{number}/{len(names)}] {name}", style="bold"))
        overlays = [defaults_folder() / kind / f"{name}.yaml" for kind in ("smoke", "demo")]
        options = Options(
            config=[overlay for overlay in overlays if overlay.exists()],
            runs_dir=runs_dir,
            data_dir=data_dir,
        )
        _, folder = execute(name, options)
        assert folder is not None  # no dry run
        folders.append(folder)
    screen.show(_summary(folders))
    screen.show("\nFigures")
    for folder in folders:
        for figure in read_results(folder)["figures"]:
            screen.show(Text(str(folder / figure)))
    screen.show(
        "\nResults on generated data show that everything works; they say nothing about the "
        "book's.\n`dlrun imdb-dense` runs on the real reviews."
    )


def _summary(folders: list[Path]) -> Table:
    table = Table(title="\nWhat was run", title_justify="left", box=None, pad_edge=False)
    for column in ("experiment", "result", "on"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for folder in folders:
        results = read_results(folder)
        accuracy = results["metrics"].get("test_accuracy")
        result = (
            f"{results['metrics']['images']} photographs classified"
            if accuracy is None
            else f"test accuracy {accuracy:.3f}"
        )
        seconds = f"{results['seconds']['total']:.1f}"
        table.add_row(results["experiment"], result, results["data"], seconds)
    return table
