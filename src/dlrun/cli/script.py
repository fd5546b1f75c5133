"""`dlrun script`: print an experiment as a script in plain PyTorch or scikit-learn."""

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.script_steps import leave_out_needless_steps
from dlrun.config.data_sections import SPLIT_SEED, UserDataExperimentConfig
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.config.yaml_loader import format_override
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.data.user_data import user_data_paths
from dlrun.errors import ConfigError
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.comparable_with_published import WITHOUT_EFFECT
from dlrun.experiments.experiment import AnyExperiment, C, Experiment
from dlrun.experiments.registry import experiment_names, find_experiment
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.output_paths import check_output_path
from dlrun.system.commit import PACKAGE
from dlrun.system.console import Screen
from dlrun.system.files import write_file_atomically
from dlrun.system.text import shorten_paths

# An installed dlrun has the scripts in the first folder, a checkout in the second.
SCRIPTS = PACKAGE / "plain"
if not SCRIPTS.is_dir():
    SCRIPTS = PACKAGE.parents[1] / "examples" / "plain"
# A line such as `EPOCHS = 30  # trainer.max_epochs` has a value, and its key in the config.
CONSTANT = re.compile(r"^([A-Z0-9_]+ = ).+  # ([a-z0-9_.]+)$", re.MULTILINE)
SEED = "seed"
# These keys need no constant. The first ones only change the facts of the file. The last ones
# change nothing of a script without their constants: its model standardises the columns or is of
# trees, and is fitted to all training rows.
NEEDLESS_KEYS = (
    *("data.task", "data.kinds", "data.ignore", "data.missing"),
    *("data.standardise", "data.validation"),
)
SAMPLE = '"--sample", action="store_true"'  # with this option a script generates its data


def find_scripts() -> dict[str, Path]:
    """Find the files of the plain scripts by experiment; some experiments have no script."""
    names = experiment_names()
    files = {name: SCRIPTS / f"{name.replace('-', '_')}.py" for name in names}
    return {name: files[name] for name in names if files[name].is_file()}


def print_plain_script(
    experiment: Annotated[
        str, opt.argument("Of the book, or on your own data.", "EXPERIMENT", find_scripts)
    ],
    words: opt.SettingWords = None,
    out: Annotated[Path | None, opt.option("Write the script into a file instead.", "FILE")] = None,
    force: opt.Replace = False,
    config: opt.Config = None,
    overrides: opt.Overrides = None,
) -> None:
    """Print an experiment as a script in plain PyTorch or scikit-learn, with your config's values.

    The script shows what the experiment computes, and needs nothing of dlrun but the book's data.
    Of your own data it reads the file, and divides the rows as dlrun does. From the same seed a
    network draws other random numbers: the two differ as two seeds do; other models are the same.

    Examples:
    dlrun script imdb-lstm
    dlrun script hitters-dense model.hidden=[100] seed=3 --out own.py
    dlrun script table-linear cars.csv data.target=price
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
    values = load_experiment_config(declaration, options)
    text = scripts[experiment].read_text(encoding="utf-8")
    if isinstance(values, UserDataExperimentConfig):
        text = write_script_of_own_data(text, declaration, values)
    else:
        text = write_script_of_book(text, declaration, values)
    if out is None:
        typer.echo(text, nl=False)
    else:
        check_output_path("--out", out, force=force)
        write_file_atomically(out, text.encode())


def write_script_of_book(script: str, experiment: Experiment[C], config: C) -> str:
    """Write the values of a config that differ from the shipped ones into a plain script."""
    changed = _changed_values(experiment, config)
    if SPLIT_SEED in changed:
        changed[SPLIT_SEED] = config.split_seed  # null stands for the run's seed
    if changed.get("data.source") == GENERATED:
        del changed["data.source"]
        script = script.replace(SAMPLE, f"{SAMPLE}, default=True")
    _check_has_constants(script, changed, experiment, f"data.source={GENERATED}")
    text = _insert_values(script, changed)
    if not changed:
        return text
    return f"# With {_describe(changed)}: other numbers than the next lines say.\n{text}"


def write_script_of_own_data(
    script: str, experiment: AnyExperiment, config: UserDataExperimentConfig
) -> str:
    """Write a config, and what dlrun finds in the user's files, into a plain script.

    Steps that the files do not need are left out. Raises ConfigError if the script would read or
    divide the rows otherwise than dlrun.
    """
    from dlrun.cli.script_facts import check_script_reads_data, find_facts  # slow: pandas

    dataset = experiment.data
    assert dataset is not None
    data = dataset.load(config.data, resolve_data_dir(None), config.split_seed, Screen(quiet=True))
    changed = _changed_values(experiment, config)
    if config.data.test is not None:
        changed["data.test"] = shorten_paths(str(config.data.test))
    command = ["dlrun", experiment.name, shorten_paths(str(config.data.path))]
    command += [format_override(key, value) for key, value in changed.items()]
    constants = _constants(script)
    values = {
        key: changed[key]
        for key in changed
        if key in constants or not key.startswith(NEEDLESS_KEYS)
    }
    # The folder that a config names may hold the training and the test part.
    paths = zip(("data.path", "data.test"), user_data_paths(config.data), strict=False)
    values |= {key: shorten_paths(str(path)) for key, path in paths}
    values[SPLIT_SEED] = config.split_seed
    if SEED not in constants:
        values.pop(SEED, None)  # it only divides the rows
    _check_has_constants(script, values, experiment)
    text = _insert_values(script, values | find_facts(data, config.data))
    text = leave_out_needless_steps(text)
    check_script_reads_data(text, data)
    return f"# The same as `{shlex.join(command)}`\n{text}"


def _changed_values(experiment: Experiment[C], config: C) -> dict[str, object]:
    """Return the values that differ from the shipped ones, without those that change no number."""
    values = config.model_dump(mode="json")
    model = getattr(config, "model", None)
    if isinstance(model, HiddenLayersConfig):
        values["model"]["dropout"] = _dropout_of_script(experiment, model)
    changed = experiment.shipped.changed_values(values)
    return {key: changed[key] for key in changed if key not in WITHOUT_EFFECT}


def _dropout_of_script(experiment: Experiment[C], model: HiddenLayersConfig) -> float | list[float]:
    """Return the dropout in the form of the shipped one: a number for each layer, or one for all.

    Raises ConfigError if the script has one number and the config several.
    """
    if isinstance(experiment.shipped.values["model.dropout"], list):
        return model.dropouts
    different = set(model.dropouts)
    if len(different) > 1:
        problem = f"the script of {experiment.name} has one dropout for all hidden layers"
        raise ConfigError(f"model.dropout: {problem}", "give one number")
    return different.pop()


def _constants(script: str) -> list[str]:
    """Return the keys of a script's constants."""
    return [line[2] for line in CONSTANT.finditer(script)]


def _check_has_constants(
    script: str, changed: Iterable[str], experiment: AnyExperiment, *more: str
) -> None:
    """Raise ConfigError for a key without a constant in the script."""
    known = [key for key in _constants(script) if not key.startswith("file.")]
    if unknown := [key for key in changed if key not in known]:
        problem = f"the script of {experiment.name} cannot change {', '.join(unknown)}"
        keys = ", ".join([*known, *more])
        raise ConfigError(problem, f"it has {keys}; `dlrun {experiment.name}` has all keys")


def _insert_values(script: str, values: Mapping[str, object]) -> str:
    def line_with_value(line: re.Match[str]) -> str:
        if line[2] not in values:
            return line[0]
        return f"{line[1]}{_write_literal(values[line[2]])}  # {line[2]}"

    return CONSTANT.sub(line_with_value, script)


def _write_literal(value: object) -> str:
    """Write a value in Python, with double quotes if no text has a quote in it."""
    text = repr(value)
    has_quotes = '"' in text or "\\'" in text
    return text if has_quotes else text.replace("'", '"')


def _describe(values: Mapping[str, object]) -> str:
    return " ".join(format_override(key, value) for key, value in values.items())
