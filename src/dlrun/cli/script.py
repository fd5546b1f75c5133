"""`dlrun script`: print an experiment of the book ISLP as a script in plain PyTorch or sklearn."""

import re
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.config.data_sections import SPLIT_SEED
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.config.yaml_loader import format_override
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.errors import ConfigError
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.comparable_with_published import WITHOUT_EFFECT
from dlrun.experiments.experiment import AnyExperiment
from dlrun.experiments.registry import experiment_names, find_experiment
from dlrun.runs.options import RunOptions
from dlrun.runs.output_paths import check_output_path
from dlrun.system.commit import PACKAGE
from dlrun.system.files import write_file_atomically

# An installed dlrun has the scripts in the first folder, a checkout in the second.
SCRIPTS = PACKAGE / "plain"
if not SCRIPTS.is_dir():
    SCRIPTS = PACKAGE.parents[1] / "examples" / "plain"
# A line such as `EPOCHS = 30  # trainer.max_epochs` has a value, and its key in the config.
CONSTANT = re.compile(r"^([A-Z_]+ = ).+  # ([a-z_.]+)$", re.MULTILINE)
SAMPLE = '"--sample", action="store_true"'  # with this option a script generates its data


def find_scripts() -> dict[str, Path]:
    """Find the files of the plain scripts by experiment; some experiments have no script."""
    names = experiment_names()
    files = {name: SCRIPTS / f"{name.replace('-', '_')}.py" for name in names}
    return {name: files[name] for name in names if files[name].is_file()}


def print_plain_script(
    experiment: Annotated[str, opt.argument("Of the book.", "EXPERIMENT", find_scripts)],
    words: opt.SettingWords = None,
    out: Annotated[Path | None, opt.option("Write the script into a file instead.", "FILE")] = None,
    force: opt.Replace = False,
    config: opt.Config = None,
    overrides: opt.Overrides = None,
) -> None:
    """Print an experiment as a script in plain PyTorch or scikit-learn, with your config's values.

    The script shows what the experiment computes, and needs nothing of dlrun but the data. From the
    same seed it draws other random numbers: the two differ as two seeds do.

    Examples:
    dlrun script imdb-lstm
    dlrun script hitters-dense model.hidden=[100] seed=3 --out own.py
    """
    declaration = find_experiment(experiment)
    named, layer = divide_arguments(declaration, words)
    options = RunOptions(
        config=config or (),
        values=[*opt.parse_values(named, overrides), layer],
    )
    scripts = find_scripts()
    if experiment not in scripts:
        raise ConfigError(f"{experiment} has no script", f"these have one: {', '.join(scripts)}")
    text = scripts[experiment].read_text(encoding="utf-8")
    text = insert_values(text, declaration, options)
    if out is None:
        typer.echo(text, nl=False)
    else:
        check_output_path("--out", out, force=force)
        write_file_atomically(out, text.encode())


def insert_values(script: str, experiment: AnyExperiment, options: RunOptions) -> str:
    """Write the values of a config that differ from the shipped ones into a plain script.

    Keys that change no number are left out. Raises ConfigError if the script has no constant for
    another one.
    """
    config = load_experiment_config(experiment, options)
    values = config.model_dump(mode="json")
    model = getattr(config, "model", None)
    if isinstance(model, HiddenLayersConfig):
        values["model"]["dropout"] = model.dropouts  # a script has no single one for all layers
    changed = experiment.shipped.changed_values(values)
    changed = {key: changed[key] for key in changed if key not in WITHOUT_EFFECT}
    if SPLIT_SEED in changed:
        changed[SPLIT_SEED] = config.split_seed  # null stands for the run's seed
    if changed.get("data.source") == GENERATED:
        del changed["data.source"]
        script = script.replace(SAMPLE, f"{SAMPLE}, default=True")
    known = [line[2] for line in CONSTANT.finditer(script)]
    if unknown := [key for key in changed if key not in known]:
        problem = f"the script of {experiment.name} cannot change {', '.join(unknown)}"
        keys = ", ".join([*known, f"data.source={GENERATED}"])
        raise ConfigError(problem, f"it has {keys}; `dlrun {experiment.name}` has all keys")

    def line_with_value(line: re.Match[str]) -> str:
        return f"{line[1]}{changed[line[2]]!r}  # {line[2]}" if line[2] in changed else line[0]

    if changed:
        values_of_script = " ".join(format_override(key, value) for key, value in changed.items())
        script = f"# With {values_of_script}: other numbers than the next lines say.\n{script}"
    return CONSTANT.sub(line_with_value, script)
