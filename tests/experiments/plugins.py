"""Experiments from outside: packages as pip installs them."""

from pathlib import Path

Plugins = tuple[Path, dict[str, str]]

CONFIG = """
from dlrun.plugin import Experiment, ExperimentConfig

class Config(ExperimentConfig):
    words: int

EXPERIMENT = Experiment(
    "{name}",
    Config,
    "{package}.implementation:Counting",
    stochastic=False,
    resumable=False,
)
"""
WORKING = """
from dlrun.plugin import AcceleratorChoice, DataOrigin, Implementation, Results

class Counting(Implementation):
    def run(self, config, run):
        run.folder.write_text("words.txt", "word " * config.words)
        report = AcceleratorChoice("cpu", "cpu", None)
        return Results({"words": float(config.words)}, report, DataOrigin("words"))
"""
YAML = """# Counts words.
# Examples:
# dlrun {name}

defaults: [experiment]

accelerator: cpu
words: 3
"""


def plugin(
    folder: Path,
    name: str,
    *,
    code: str = WORKING,
    config: str = CONFIG,
    values: str | None = YAML,
    module: str = "",
    points_to: str = "",
) -> None:
    """A package as pip installs it, with one experiment."""
    module = module or name.replace("-", "_")
    package = folder / module
    (package / "configs").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    declaration = config.replace("{name}", name).replace("{package}", module)
    (package / "experiment.py").write_text(declaration)
    (package / "implementation.py").write_text(code)
    if values is not None:
        (package / "configs" / f"{name}.yaml").write_text(values.replace("{name}", name))
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    point = f"{name} = {points_to or f'{module}.experiment:EXPERIMENT'}\n"
    (about / "entry_points.txt").write_text(f"[dlrun.experiments]\n{point}")
