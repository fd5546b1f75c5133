"""Run experiments and sweeps, and open runs, from Python or a notebook."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar, cast, overload

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import (
    config_layers_from_settings,
    flatten_keys,
)
from dlrun.errors import ConfigError, DataError, DlrunError, with_short_errors  # noqa: F401
from dlrun.experiments import saved_runs
from dlrun.experiments.arguments import config_layer_of_arguments
from dlrun.experiments.experiment import AnyExperiment
from dlrun.experiments.registry import find_experiment, find_experiments, shipped_config
from dlrun.experiments.resuming import resume_command, resume_run
from dlrun.experiments.running import run_experiment
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run as SavedRun
from dlrun.runs.run import ScannedRun, UnreadableRun, scan_runs
from dlrun.sweeps.place import ThisMachine
from dlrun.sweeps.planner import ChosenExperiment
from dlrun.sweeps.results import SweepResults as ResultsOfSweep
from dlrun.sweeps.search_space import Sampler, SearchSpace, parse_seeds, parse_space
from dlrun.sweeps.sweep import start_sweep
from dlrun.sweeps.sweep_runs import SweepState
from dlrun.system.console import Screen
from dlrun.system.files import write_file_atomically
from dlrun.system.json_text import json_default
from dlrun.system.text import pluralize

if TYPE_CHECKING:
    import pandas as pd

    from dlrun.experiments.experiment import Network
    from dlrun.experiments.predictors import ByWord, Input, Prediction, Predictor
    from dlrun.runs.predictions_csv import Predictions

PathLike = str | Path
FRAMES = "frames"  # the folder in that of all runs, with the DataFrames that were run
T = TypeVar("T")
# Signals, logging and torch's flags are the process's: one run at a time may change them.
_RUNNING = threading.RLock()


class Run(SavedRun):
    """Represents a saved run by its folder and its record (results.json).

    folder: its path. record: the fields of results.json.
    """

    @cached_property
    def experiment(self) -> "AnyExperiment":
        """Return the run's experiment; raise ConfigError if it is not installed."""
        return saved_runs.experiment_of(self)

    @cached_property
    def config(self) -> ExperimentConfig:
        """Return the config of the run; raise ConfigError if its experiment has other keys now."""
        config: ExperimentConfig = saved_runs.config_of(self.experiment, self)
        return config

    def changed_settings(self) -> dict[str, object]:
        """Return the dotted keys that differ from the shipped config, with the run's values."""
        return saved_runs.changed_settings(self)

    @property
    def resume_command(self) -> str | None:
        """Return the command that continues the run, or None.

        A finished run continues in a new run.
        """
        return resume_command(self)

    def network(self) -> "Network":
        """Return the network in eval mode on the CPU; raise DlrunError if the run trained none."""
        return saved_runs.network_of(self)

    @cached_property
    def predictor(self) -> "Predictor":
        """Return the predictor for new inputs; raise DlrunError if the run cannot predict."""
        return saved_runs.predictor_of(self)

    @overload
    def predict(self, inputs: "pd.DataFrame") -> "pd.DataFrame": ...

    @overload
    def predict(self, inputs: "Input | Iterable[Input]") -> "list[Prediction]": ...

    def predict(
        self, inputs: "Input | Iterable[Input] | pd.DataFrame"
    ) -> "list[Prediction] | pd.DataFrame":
        """Return predictions for texts, for files (a Path) of texts or images, or for table rows.

        A row is a mapping from columns to values. Of a pandas DataFrame the result is a DataFrame
        with the same index: `predicted`, of classes also `probability` and of up to 20 classes
        `probability of CLASS` for each, and `error` if a row has one. The prediction of an image or
        a row may be an error. Raises DlrunError if the run cannot predict, or not this input.
        """
        from dlrun.experiments.predictors import (  # slow, as Pillow is
            describe_unknown_levels,
            predict,
            predict_frame,
        )

        column = self.settings.get("data.text_column", "text")
        predictor = self.predictor
        predictions: list[Prediction] | pd.DataFrame
        if is_frame(inputs):
            predictions = predict_frame(predictor, inputs, column)
        else:
            predictions = predict(predictor, cast("Input | Iterable[Input]", inputs), column)
        for warning in describe_unknown_levels(predictor):
            Screen().warn(warning)
        return predictions

    def by_word(self, text: PathLike) -> "ByWord":
        """Return what each word of a text, or of a text's file (a Path), does to its prediction.

        Raises DlrunError if the run reads no texts.
        """
        from dlrun.experiments.predictors import predict_by_word  # slow, as Pillow is

        return predict_by_word(self.predictor, text)

    def test(self, data_dir: Path | None = None, screen: Screen | None = None) -> "Predictions":
        """Predict the test set again on the CPU; raise DlrunError if it cannot be predicted."""
        return saved_runs.test_again(self, data_dir, screen)

    def draw(self) -> DrawnFigures:
        """Return the figures by their file names, drawn again from the run's files."""
        return saved_runs.draw_again(self)

    def _repr_html_(self) -> str:
        """A notebook shows the metrics of the run beside the book's, and its curves."""
        from dlrun.reports.notebook import run_as_html  # slow, as jinja2 is

        return run_as_html(self)


def is_frame(value: object) -> "TypeGuard[pd.DataFrame]":
    """Return whether a value is a pandas DataFrame, without an import of pandas."""
    return hasattr(value, "to_dict") and hasattr(value, "columns")


class SweepResults(ResultsOfSweep):
    """Holds the configs of a sweep with their runs, the best config last; writes and shows them.

    rows: a dict for each config and metric, as in table.csv. best: the best config, which has
    `settings` and `runs`; None if no config is chosen.
    """

    @property
    def runs(self) -> list[Run]:
        """Return the runs of the sweep, in the order in which they were planned."""
        return [Run.of(run) for run in super().runs]

    def _repr_html_(self) -> str:
        """A notebook shows the configs, the verdict on the best, and a dot for each run."""
        from dlrun.sweeps.results_page import results_as_html

        return results_as_html(self)


@with_short_errors
def run(
    experiment: str,
    *inputs: "PathLike | pd.DataFrame",
    target: str | None = None,
    keep_data: bool = True,
    config: PathLike | Sequence[PathLike] = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    name: str | None = None,
    note: str = "",
    tags: str | Sequence[str] = (),
    quiet: bool = False,
    **values: object,
) -> Run:
    """Run an experiment and return its run; restore all settings of the process afterwards.

    Example: `dlrun.run("imdb-dense", seed=3, optimizer={"lr": 0.002}).metrics`

    Args:
        experiment: as on the command line, such as "imdb-dense".
        inputs: what follows it there, such as "mails.csv" after "text-dense"; or a pandas
            DataFrame of your own data, whose index is not read.
        target: the column to predict, as `data={"target": ...}`.
        keep_data: keep a DataFrame as a CSV file in `frames/` of runs_dir, named by its digest,
            from which the run is resumed, verified and tested again; otherwise only the digest.
        config: YAML files over the defaults; a later file overrides an earlier one.
        runs_dir: the folder of all runs; by default DLRUN_RUNS_DIR, or `runs`.
        data_dir: the folder of the data; by default DLRUN_DATA_DIR, or `data`.
        name: the suffix of the run's folder.
        note: why the run is done; `dlrun runs note` changes it.
        tags: words to find the run by; `dlrun runs tag` changes them.
        quiet: show no progress.
        values: keys of the config, which override files: `seed=3`, `optimizer={"lr": 0.002}`.

    Raises ConfigError, DataError or another DlrunError; KeyboardInterrupt if the kernel is
    interrupted, at the end of an epoch or lasso penalty, from which `dlrun.resume` continues.
    """
    declaration = find_experiment(experiment)
    values = _kinds_of_frames(declaration, inputs) | values | _target_key(target)
    with _frames_as_files(inputs, runs_dir, keep=keep_data) as paths:
        options = _settings(declaration, paths, config, tags, values, runs_dir, data_dir, quiet)
        options = replace(options, name=name, notes=options.notes.changed(note))
        with _RUNNING:
            _, folder = run_experiment(declaration, options)
    assert folder is not None  # no dry run
    return Run.open(folder)


@with_short_errors
def resume(
    run: PathLike | Run = "latest",
    *,
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    force: bool = False,
    quiet: bool = False,
    **values: object,
) -> Run:
    """Continue a run that was stopped, or a finished one with more epochs in a new run.

    Example: `dlrun.resume("imdb-lstm/latest", trainer={"max_epochs": 40})`

    Args:
        run: a run, or what `dlrun.open` takes.
        runs_dir, quiet: as of `dlrun.run`.
        data_dir: the folder of the data; by default the one that the run was told, if it exists.
        force: resume even if code or packages have changed since the run began.
        values: keys of the config that a resume may change, such as the number of epochs.

    Raises the same as `dlrun.run`.
    """
    options = _settings(None, (), (), (), values, runs_dir, data_dir, quiet)
    options = replace(options, force=force)
    with _RUNNING:
        name = run.folder if isinstance(run, Run) else run
        _, folder = resume_run(str(name), options)
    return Run.open(folder)


@with_short_errors
def sweep(
    experiment: str | Sequence[str],
    *inputs: "PathLike | pd.DataFrame",
    target: str | None = None,
    keep_data: bool = True,
    grid: Mapping[str, Sequence[object]] | None = None,
    seeds: int | str | Sequence[int] | None = None,
    folds: int | None = None,
    space: Mapping[str, str] | None = None,
    trials: int | None = None,
    sampler: Sampler | None = None,
    by: str | None = None,
    jobs: int | None = None,
    config: PathLike | Sequence[PathLike] = (),
    runs_dir: PathLike | None = None,
    data_dir: PathLike | None = None,
    name: str | None = None,
    note: str = "",
    tags: str | Sequence[str] = (),
    quiet: bool = False,
    **values: object,
) -> SweepResults:
    """Run experiments for several seeds and config values in parallel; return their results.

    Example: `dlrun.sweep("imdb-dense", grid={"optimizer.lr": [0.001, 0.002]}, seeds=5).best`

    Args:
        grid: the values of each key that varies, by dotted keys; all combinations are run.
        seeds: how many (5 means 0 to 4), which (`[0, 3, 7]`), or a text such as "0-4".
        folds: into how many parts a cross-validation divides the rows.
        space: from which values are drawn: `{"optimizer.lr": "log:1e-4..1e-2"}`.
        trials: how often values are drawn.
        sampler: "random" or "tpe" (Optuna).
        by: the validation metric that chooses the best config, such as "roc_auc"; by default the
            first that is no loss.
        jobs: how many runs at once; by default as many as cores and memory allow.
        name: the sweep's name.
        values: keys of the config that all runs share; each experiment must have them.
        experiment: a name, or several names, as in `["table-linear", "table-boosting"]`.
        inputs, target, keep_data: as of `dlrun.run`.
        config, runs_dir, data_dir, note, tags, quiet: as of `dlrun.run`.

    A run that fails ends no other: it is in `failed` of the results. Raises the same as `dlrun.run`
    if the sweep cannot begin; KeyboardInterrupt, after which `dlrun sweep --resume` continues it.
    """
    if isinstance(seeds, int | str):
        seeds = parse_seeds(str(seeds))
    search = SearchSpace(
        seeds=seeds,
        grid={key: _plain(list(values_of_key)) for key, values_of_key in (grid or {}).items()},
        spaces=[parse_space(f"{key}={text}") for key, text in (space or {}).items()],
        trials=trials,
        sampler=sampler,
        folds=folds,
        by=by,
    )
    names = [experiment] if isinstance(experiment, str) else list(experiment)
    declarations = find_experiments(names)
    kinds: dict[str, object] = {}
    for declaration in declarations:
        kinds |= _kinds_of_frames(declaration, inputs)
    values = kinds | values | _target_key(target)
    with _frames_as_files(inputs, runs_dir, keep=keep_data) as paths:
        options = _settings(None, (), config, tags, values, runs_dir, data_dir, quiet)
        options = replace(options, name=name, notes=options.notes.changed(note))
        chosen = [
            ChosenExperiment(
                declaration, config_layer_of_arguments(declaration, list(map(str, paths)))
            )
            for declaration in declarations
        ]
        with _RUNNING:
            _, results = start_sweep(chosen, options, search, ThisMachine(jobs))
    assert results is not None  # no dry run, no jobs of SLURM
    state = results.state
    opened = {number: Run.of(run) for number, run in state.runs.items()}
    return SweepResults(results.sweep, SweepState(dict(opened), state.failed))


@with_short_errors
def open(run: PathLike = "latest", *, runs_dir: PathLike | None = None) -> Run:
    """Open a run by its folder, name or suffix, by "latest", or by "EXPERIMENT/latest".

    Example: `dlrun.open("imdb-dense/latest").metrics`

    Raises ConfigError if there is no such run, DataError if its record or config is damaged.
    """
    return Run.open(run, _path(runs_dir))


@with_short_errors
def list_runs(
    experiment: str | None = None,
    *,
    state: str | None = None,
    tag: str | None = None,
    runs_dir: PathLike | None = None,
) -> list[Run]:
    """Return the runs, or those of an experiment, in a state or with a tag, the newest first.

    Example: `[run.record.metrics["test_accuracy"] for run in dlrun.list_runs(state="finished")]`

    Runs that cannot be read are left out with a warning: `list_unreadable_runs` returns them.
    Raises ConfigError for an unknown experiment without runs.
    """
    scanned = _scan_runs(experiment, runs_dir)
    known = [Run.of(run) for run in scanned if isinstance(run, SavedRun)]
    if left_out := len(scanned) - len(known):
        unreadable = f"{pluralize(left_out, 'run')} that cannot be read"
        Screen().warn(f"left out: {unreadable}; `dlrun.list_unreadable_runs` says why")
    if tag is not None:
        known = [run for run in known if tag in run.notes.tags]
    return [run for run in known if state in (None, run.state)]


@with_short_errors
def list_unreadable_runs(
    experiment: str | None = None, *, runs_dir: PathLike | None = None
) -> list[UnreadableRun]:
    """Return the runs, or those of an experiment, that cannot be read, the newest first.

    Example: `[run.folder for run in dlrun.list_unreadable_runs() if run.state == "damaged"]`

    Raises ConfigError for an unknown experiment without runs.
    """
    scanned = _scan_runs(experiment, runs_dir)
    return [run for run in scanned if isinstance(run, UnreadableRun)]


def _scan_runs(experiment: str | None, runs_dir: PathLike | None) -> list[ScannedRun]:
    """Open the runs of one or all experiments; raise ConfigError if the experiment is unknown."""
    scanned = list(scan_runs(resolve_runs_dir(_path(runs_dir)), experiment))
    if experiment is not None and not scanned:
        shipped_config(experiment)
    return scanned


def _target_key(target: str | None) -> dict[str, object]:
    return {} if target is None else {"data.target": target}


def _kinds_of_frames(
    experiment: AnyExperiment, inputs: "Sequence[PathLike | pd.DataFrame]"
) -> dict[str, object]:
    """Declare the categories of numbers in DataFrames, whose type their CSV files would lose."""
    section = experiment.config.model_fields.get("data")
    if section is None or "kinds" not in getattr(section.annotation, "model_fields", {}):
        return {}
    categories = [
        str(name)
        for frame in filter(is_frame, inputs)
        for name, dtype in frame.dtypes.items()
        if dtype == "category" and dtype.categories.dtype.kind in "iuf"
    ]
    return {"data.kinds": dict.fromkeys(categories, "category")} if categories else {}


@contextlib.contextmanager
def _frames_as_files(
    inputs: "Sequence[PathLike | pd.DataFrame]", runs_dir: PathLike | None, *, keep: bool
) -> Iterator[list[PathLike]]:
    """Give the files of inputs to a `with` block; a DataFrame becomes a CSV file.

    keep: whether the file stays. It is in `frames/` of runs_dir, named by its digest, so that runs
    of equal frames have equal configs.
    """
    folder = resolve_runs_dir(_path(runs_dir)).absolute() / FRAMES
    with contextlib.ExitStack() as stack:
        paths: list[PathLike] = []
        for value in inputs:
            if is_frame(value):
                content = value.to_csv(index=False).encode("utf-8", "surrogatepass")
                path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.csv"
                if not path.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    if not keep:
                        stack.callback(path.unlink, missing_ok=True)
                    write_file_atomically(path, content)
                paths.append(path)
            else:
                paths.append(cast("PathLike", value))
        yield paths


def _settings(
    experiment: AnyExperiment | None,
    inputs: Sequence[PathLike],
    config: PathLike | Sequence[PathLike],
    tags: str | Sequence[str],
    values: Mapping[str, object],
    runs_dir: PathLike | None,
    data_dir: PathLike | None,
    quiet: bool,
) -> RunOptions:
    layers = config_layers_from_settings(flatten_keys(_plain(values)))
    if experiment is not None:
        layers = [*layers, config_layer_of_arguments(experiment, [str(path) for path in inputs])]
    return RunOptions(
        config=[Path(config)] if isinstance(config, str | Path) else list(map(Path, config)),
        values=layers,
        runs_dir=_path(runs_dir),
        data_dir=_path(data_dir),
        notes=RunNotes().changed(add=[tags] if isinstance(tags, str) else tags),
        quiet=quiet,
        screen=Screen(quiet=quiet, shows_results=False),
    )


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _plain(values: T) -> T:
    """Values of numpy and paths become those of YAML; NaN stays NaN, which no key takes."""
    try:
        plain: T = json.loads(json.dumps(values, default=json_default))
    except (TypeError, ValueError, RecursionError) as error:  # such as a list in itself
        raise ConfigError(f"not values of a config: {error}") from None
    return plain
