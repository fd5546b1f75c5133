"""Lists that have to agree, where no type can say so: what is left out of one fails here.

The optimizers, schedules and loggers that a config may name are Literals, and mypy checks that the
`match` that makes each has all of them.
"""

import inspect
import linecache
import pkgutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from dlrun.api import Run
from dlrun.cli.command_list import COMMANDS, COMMANDS_BY_PANEL, GROUPS, ListedCommand
from dlrun.cli.experiment import make_experiment_command
from dlrun.cli.reproduce import reproduce
from dlrun.cli.resume import resume
from dlrun.cli.runs_list import SHOWN
from dlrun.cli.runs_rm import ENDED, Removable
from dlrun.cli.sweep import sweep
from dlrun.cli.verify import KEYS_THAT_MAY_DIFFER
from dlrun.config.network_sections import (
    SCHEDULES_OVER_ALL_EPOCHS,
    LossConfig,
    OptimizerName,
    ScheduleName,
    SchedulerConfig,
)
from dlrun.config.sections import LoggerName, PublishedMetrics
from dlrun.config.validation import FOREIGN_NAMES
from dlrun.config.yaml_loader import flatten_keys
from dlrun.data.photographs import FORMATS, SUFFIXES
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.comparable_with_published import NEUTRAL
from dlrun.metrics import KNOWN
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.groups import group_runs
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import RunOptions
from dlrun.runs.predictions_csv import PredictedClasses, PredictedValues
from dlrun.runs.published import EDITIONS
from dlrun.runs.record import Status
from dlrun.runs.run import OTHER_VERSION
from dlrun.runs.run_tables import GROUP_COLUMNS, RUN_COLUMNS, run_row
from dlrun.runs.states import RunState
from dlrun.sweeps.results_output import RESULT_COLUMNS
from dlrun.training.learning_rate import LearningRateSchedule
from dlrun.training.objective import classification, regression
from dlrun.training.optimizers import make_optimizer
from tests.cli.run_folders import a_whole_run
from tests.conftest import ROOT
from tests.training.optimizers import optimizer_config

NAMES = registry.experiment_names()
# Which values of each key of the section `loss` have an effect.
EFFECTIVE: dict[str, Any] = {"label_smoothing": 0.3, "class_weights": "balanced"}
NO_LOSS_OPTION: dict[str, Any] = {"label_smoothing": 0.0, "class_weights": None}


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_each_optimizer_of_a_config_trains(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(optimizer_config(name), [weight])
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_which_schedules_depend_on_the_number_of_epochs(name: str) -> None:
    """Such a run cannot be resumed with more epochs."""
    unset = {"warmup_epochs": 1, "gamma": None, "patience": None}
    settings = unset | {"step_size": 2 if name == "step" else None}
    config = SchedulerConfig.model_validate(settings | {"name": name})

    def rates(epochs: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
        schedule = LearningRateSchedule(config, optimizer, epochs)
        found = []
        for epoch in range(5):
            schedule.set_warmup_rate(epoch)
            found.append(schedule.lr)
            optimizer.step()
            schedule.step_scheduler(epoch, 1.0)
        return found

    assert (rates(5) != rates(50)) == (name in SCHEDULES_OVER_ALL_EPOCHS)


@pytest.mark.parametrize("key", LossConfig.model_fields)
@pytest.mark.parametrize("classes", [2, 3])
def test_each_key_of_the_loss_has_an_effect(key: str, classes: int) -> None:
    make = classification(classes).make_training_loss
    assert make is not None
    targets = torch.tensor([0, 1, 1, 1])
    logits = torch.tensor([[0.3, -1, 2], [1, 0.5, -2], [0.1, 0.2, 0.3], [1, 2, 3]])
    outputs = logits[:, 0] if classes == 2 else logits

    def loss(**options: Any) -> float:
        config = LossConfig.model_validate(NO_LOSS_OPTION | options)
        return float(make(config, targets)(outputs, targets))

    assert loss() != loss(**{key: EFFECTIVE[key]})


def test_the_direction_of_each_metric_that_dlrun_computes_is_known() -> None:
    values = np.array([1.0, 2.0])
    classes = np.array([0, 1])
    predictions = (
        PredictedValues(values, values[::-1]),
        PredictedClasses(classes, classes[::-1], values / 2, ["a", "b"]),
    )
    computed = [prediction.metrics for prediction in predictions]
    objectives = (classification(2), classification(3), regression(("mae", "r2")))
    computed += [objective.metrics for objective in objectives]
    names = {name for metrics in computed for name in metrics}
    assert names <= KNOWN.keys()
    assert all(KNOWN[name].sign for name in KNOWN)


# Fields of RunOptions that dlrun sets by itself.
SET_BY_CODE = {"values", "temporary", "max_threads", "screen", "sweep"}
RUNNING_COMMANDS = [
    (make_experiment_command("imdb-dense"), {"force"}),
    (sweep, {"summary"}),
    (resume, {"config", "name", "note", "tags", "dry_run"}),
    (reproduce, {"config", "name", "note", "tags", "summary", "dry_run"}),
]


@pytest.mark.parametrize(("command", "without"), RUNNING_COMMANDS)
def test_the_settings_of_a_run_are_options_of_the_commands_that_run(
    command: Callable[..., int], without: set[str]
) -> None:
    """Ruff's ARG001 says which option a command does not use."""
    options = inspect.signature(command).parameters.keys()
    settings = RunOptions.__dataclass_fields__.keys() - SET_BY_CODE - {"notes"}
    settings |= RunNotes.model_fields.keys() - {"format"}
    assert settings - options == without
    assert options >= {"accelerator", "no_fallback"}


EVERY_COMMAND = [command for commands in COMMANDS.values() for command in commands.values()]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.function)
def test_the_list_of_commands_has_the_first_sentence_of_each(command: ListedCommand) -> None:
    help_text = inspect.getdoc(pkgutil.resolve_name(f"dlrun.cli.{command.function}"))
    assert help_text is not None
    assert command.summary == help_text.partition("\n\n")[0].replace("\n", " ")


def test_each_command_has_a_place_in_the_help() -> None:
    placed = [name for names in COMMANDS_BY_PANEL.values() for name in names]
    assert sorted(placed) == sorted([*COMMANDS["dlrun"], *GROUPS])
    assert COMMANDS.keys() == {"dlrun", *GROUPS}


def test_each_shipped_yaml_file_is_declared() -> None:
    assert {file.stem for file in (ROOT / "configs").glob("*.yaml")} == {*registry.DECLARATIONS}


def test_the_keys_of_which_code_knows_something_are_keys_of_configs() -> None:
    keys = {key for name in NAMES for key in flatten_keys(registry.shipped_config(name).values)}
    keys |= {f"data.{key}" for key in ("archive", "path", "test")}
    known = set(NEUTRAL | KEYS_THAT_MAY_DIFFER)
    for name in NAMES:
        experiment = registry.find_experiment(name)
        small = RunOptions(config=experiment.shipped.overlays("smoke"))
        known |= load_experiment_config(experiment, small).keys_to_resume
        known |= experiment.neutral_keys
    assert known <= keys
    assert {*FOREIGN_NAMES.values()} <= {name for key in keys for name in key.split(".")}


SOURCE = ("data", "source")
ON_PUBLISHED_DATA = [n for n in NAMES if SOURCE in registry.shipped_config(n).layer.origins]


@pytest.mark.parametrize("name", ON_PUBLISHED_DATA)
def test_each_source_of_data_is_named_where_a_user_looks_for_it(name: str) -> None:
    """`tests/test_docs.py` compares the page of the config keys with the comments."""
    dataset = registry.find_experiment(name).data
    assert dataset is not None
    file, _, line = registry.shipped_config(name).layer.origins[SOURCE].rpartition(":")
    comment = linecache.getline(file, int(line)).partition("#")[2]
    choices = {choice.split()[0] for choice in comment.split("|")}
    assert choices == {source.name for source in dataset.sources}
    page = (ROOT / "data" / "README.md").read_text().split("\n")
    for source in dataset.sources:
        is_first = source == dataset.sources[0]
        folder = dataset.name if is_first else f"{dataset.name}/{source.name}"
        for published in source.files:
            rows = [row for row in page if f"`{published.name}`" in row]
            assert any(row.endswith(f"| `{folder}/` |") for row in rows)


def test_the_states_of_runs() -> None:
    recorded = {*get_args(Status)}
    assert {*RunState} == recorded | {"killed", "damaged", OTHER_VERSION}
    assert {*Removable} == {*RunState} - {"running", OTHER_VERSION}
    assert {*Removable} - {"waiting", "damaged"} == ENDED


def test_the_editions_of_the_published_numbers() -> None:
    assert {*EDITIONS} == PublishedMetrics.model_fields.keys() - {"measured"}


def test_each_column_of_a_table_has_cells(tmp_path: Path) -> None:
    run = Run.in_folder(a_whole_run(tmp_path / "imdb-dense" / "20260101T000000Z-a"))
    columns = {column.name for column in RUN_COLUMNS}
    assert run_row(run, RunNotes(), {}).keys() == columns and columns >= {*SHOWN}
    (group,) = group_runs([run])
    cells = MetricComparisonRow.of_group(group, group.spreads["test_loss"]).as_object().keys()
    assert {column.name for column in GROUP_COLUMNS} <= cells
    of_config = {"seconds", "difference", "interval_of_difference", "is_best"}  # of a sweep's
    assert {*RESULT_COLUMNS} - of_config <= cells


def test_each_logger_has_an_extra_that_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {*get_args(LoggerName)} <= project["optional-dependencies"].keys()


def test_the_endings_of_photographs_are_those_of_their_formats() -> None:
    formats = {suffix: Image.registered_extensions()[suffix] for suffix in SUFFIXES}
    assert {*formats.values()} == {*FORMATS}
