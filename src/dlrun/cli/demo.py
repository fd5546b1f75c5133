"""`dlrun demo`."""

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting


def run(
    runs_dir: opt.RunsDir = None, data_dir: opt.DataDir = None, debug: opt.Debug = False
) -> None:
    """Run every experiment on generated or shipped data, without a download.

    Example: dlrun demo --runs-dir demo-runs
    """
    with reporting(debug=debug):
        from dlrun.experiments import demo  # needs pydantic

        demo.run(runs_dir, data_dir)
