"""Define and read the plan of a sweep, which says the points to run next, searched ones too."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, PlainSerializer, PlainValidator, PrivateAttr

from dlrun.config import yaml_loader
from dlrun.config.data_sections import FOLD, keys_that_choose_rows
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import (
    ConfigLayer,
    format_settings_briefly,
    name_with_settings,
)
from dlrun.data.user_data import hash_user_data
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments.experiment import AnyExperiment, Experiment
from dlrun.experiments.registry import find_experiment
from dlrun.metrics import (
    KNOWN,
    TESTED,
    VALID,
    agreed_directions,
    describe_metric,
    without_stage,
)
from dlrun.runs import environment
from dlrun.runs.checksummed_json import FILE_MODEL, read_checksummed_json
from dlrun.runs.folder import PLAIN_NAME, PLAN, SWEEPS
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.record import SweepMembership
from dlrun.runs.run import Run
from dlrun.sweeps.place import Place
from dlrun.sweeps.search_space import SEED, AdaptiveSearch, Settings, settings_to_check_ends
from dlrun.system.extras import require_extra

FORMAT = 5
REPEATS = (SEED, FOLD)  # keys in which the runs of one config differ


def _find_if_named(value: object) -> AnyExperiment:
    """A file has the name of an experiment."""
    return value if isinstance(value, Experiment) else find_experiment(str(value))


# An experiment, of which a file has the name.
NamedExperiment = Annotated[
    AnyExperiment,
    PlainValidator(_find_if_named, json_schema_input_type=str),
    PlainSerializer(lambda experiment: experiment.name, return_type=str),
]


class SweptExperiment(BaseModel, frozen=True):
    """Holds an experiment of a sweep, the hashes of its code, and the config of all its points."""

    experiment: NamedExperiment
    code: str
    base: Settings  # the whole config that the points of the experiment share


class ExperimentAndConfig(NamedTuple):
    """Holds an experiment and one of its valid configs."""

    experiment: AnyExperiment
    config: ExperimentConfig


class SweepPoint(BaseModel, frozen=True):
    """Represents one planned run of a sweep: its number, from 1, its experiment and its values.

    settings: the values by config key.
    """

    number: int
    experiment: NamedExperiment
    settings: Settings

    @property
    def config(self) -> Settings:
        """The settings of the config are those without seed and fold."""
        return {key: value for key, value in self.settings.items() if key not in REPEATS}


class DataFile(BaseModel, frozen=True):
    """Says what a file of a sweep's data contained when the sweep was planned.

    number: its place among all files, from 1: files of several folders may have the same name.
    """

    number: int
    name: str
    digest: str

    def is_changed_in(self, files: Iterable["DataFile"]) -> bool:
        """The same file has another content among the files of today."""
        return any(
            (file.number, file.name) == (self.number, self.name) and file.digest != self.digest
            for file in files
        )


class SweepPlan(BaseModel):
    """Holds the plan of a sweep, which is the content of sweep.json.

    A plan never changes: a search makes a new plan with each config that it chooses.
    """

    model_config = FILE_MODEL
    format: int = FORMAT
    id: str
    name: Annotated[str, Field(pattern=f"^{PLAIN_NAME.pattern}$")]  # name in the folders' names
    experiments: Annotated[list[SweptExperiment], Field(min_length=1)]
    command: list[str]  # the words after `dlrun`; none if it was begun in Python
    packages: dict[str, str | None]
    keys: list[str]  # keys that vary within an experiment, except the seed and the fold
    points: tuple[SweepPoint, ...]  # all but those that a search has not chosen yet
    search: AdaptiveSearch | None = None
    choices: tuple[int, ...] = ()  # indices in `points_by_config`
    by: str = ""  # the metric that chooses the best config; empty: the first that is no loss
    data: tuple[DataFile, ...] = ()
    notes: RunNotes = Field(default_factory=RunNotes)  # with which its runs begin
    # See `config_of`.
    _configs: dict[tuple[str, str], ExperimentConfig] = PrivateAttr(default_factory=dict)

    @property
    def has_several_experiments(self) -> bool:
        return len(self.experiments) > 1

    @property
    def experiment_names(self) -> list[str]:
        return [swept.experiment.name for swept in self.experiments]

    def config_label(self, point: SweepPoint) -> str:
        """The short text is such as `lr=0.01`, after the experiment's name if there are several."""
        if self.has_several_experiments:
            return name_with_settings(point.experiment.name, point.config)
        return format_settings_briefly(point.config)

    def label(self, point: SweepPoint) -> str:
        """The short text is such as `lr=0.01 seed=3 fold=2`."""
        repeat = {key: value for key, value in point.settings.items() if key in REPEATS}
        return f"{self.config_label(point)} {format_settings_briefly(repeat)}".strip()

    @property
    def most_runs(self) -> int:
        """A search that chooses a config again makes fewer runs; no point has a higher number."""
        search = self.search
        return search.trials * len(search.repeats) if search else len(self.points)

    @property
    def expected_runs(self) -> int:
        """A config that a search has chosen again does not run again."""
        return len(self.points) + self.unchosen_runs

    @property
    def note_on_rows(self) -> str:
        """The note names the varied keys that may choose other rows; it is empty if none do."""
        found: dict[str, None] = {}
        for swept in self.experiments:
            found |= dict.fromkeys(keys_that_choose_rows(swept.experiment.config, self.keys))
        keys = list(found)
        if not keys:
            return ""
        varied = f"{', '.join(keys)} {'vary' if len(keys) > 1 else 'varies'}"
        return f"{varied}: points that test or validate on different rows are not ranked"

    @property
    def points_by_config(self) -> list[list[SweepPoint]]:
        """The points of a list differ only in their seed and fold."""
        by_config: dict[tuple[str, str], list[SweepPoint]] = {}
        for point in self.points:
            key = point.experiment.name, repr(point.config)
            by_config.setdefault(key, []).append(point)
        return list(by_config.values())

    def unfinished_points(
        self, runs: Mapping[int, Run], taken: Collection[int]
    ) -> list[SweepPoint]:
        """These points have no finished run.

        runs: the runs so far, by the points' numbers. taken: the numbers of points that are not to
        be returned.
        """
        return [
            point
            for point in self.points
            if point.number not in taken
            and not (point.number in runs and runs[point.number].is_finished)
        ]

    def check_can_run(self, place: Place) -> None:
        """Raise ConfigError if a search cannot choose the configs, or not of runs at this place."""
        if self.search is not None:
            require_extra("--sampler tpe", "optuna", "optuna")
            if not place.is_local:
                raise ConfigError("--slurm: --sampler tpe runs on this machine", "leave it out")

    @property
    def unchosen_runs(self) -> int:
        """A search has not chosen the configs of these runs yet."""
        search = self.search
        return (search.trials - len(self.choices)) * len(search.repeats) if search else 0

    def with_choice(self, settings: Settings) -> "SweepPlan":
        """The new plan has the config that a search chose next.

        Its points are added, unless the config was chosen before.
        """
        assert self.search is not None
        known = [repr(points[0].config) for points in self.points_by_config]
        if repr(settings) in known:
            choice = known.index(repr(settings))
            return self.model_copy(update={"choices": (*self.choices, choice)})
        (searched,) = self.experiments  # a search is over one experiment
        points = [(searched.experiment, settings | repeat) for repeat in self.search.repeats]
        plan = self.with_points(points)
        return plan.model_copy(update={"choices": (*self.choices, len(known))})

    def choosing_by(self, metric: str) -> "SweepPlan":
        """The best config of the new plan is chosen by this validation metric, such as `roc_auc`.

        Raises ConfigError if the metric's better direction is not known, or a search has chosen
        configs by another.
        """
        by = metric.removeprefix(VALID)
        if metric.startswith(TESTED):
            problem = f"--by {metric}: the test rows must not choose"
            raise ConfigError(problem, f"--by {without_stage(metric)} chooses by the validation")
        declared = agreed_directions(config.metrics for _, config in self.all_configs())
        if not describe_metric(by, declared).sign:
            known = ", ".join([*KNOWN, *declared])
            problem = f"--by {metric}: no metric whose better direction is known"
            raise ConfigError(problem, f"one of {known}; the key `metrics` declares others")
        if self.choices and by != self.by:
            problem = f"--by {metric}: --sampler tpe has chosen configs by another metric"
            raise ConfigError(problem, "leave it out, or start a new sweep")
        return self.model_copy(update={"by": by})

    def with_points(self, points: Iterable[tuple[AnyExperiment, Settings]]) -> "SweepPlan":
        added = [
            SweepPoint(number=number, experiment=experiment, settings=settings)
            for number, (experiment, settings) in enumerate(points, start=len(self.points) + 1)
        ]
        return self.model_copy(update={"points": (*self.points, *added)})

    def keep_config(
        self, experiment: AnyExperiment, settings: Settings, config: ExperimentConfig
    ) -> None:
        """Keep the valid config of an experiment with these settings for `config_of`."""
        self._configs[experiment.name, repr(settings)] = config

    def config_of(self, experiment: AnyExperiment, settings: Settings) -> ExperimentConfig:
        """The config of an experiment with these settings is validated only once."""
        key = experiment.name, repr(settings)
        if key not in self._configs:
            bases = {swept.experiment.name: swept.base for swept in self.experiments}
            # Errors in the config that all points share name the file of the plan.
            file = f"{SWEEPS}/{self.name}/{PLAN}"
            base = yaml_loader.config_layer_from_values(bases[experiment.name], file)
            self._configs[key] = experiment.validate(add_settings(base, settings))
        return self._configs[key]

    def all_configs(self) -> list[ExperimentAndConfig]:
        """Each point has a config; of a search, the ends of its spaces have configs, too."""
        points = [(point.experiment, point.settings) for point in self.points]
        if self.search is not None:
            (searched,) = self.experiments
            ends = settings_to_check_ends(self.search.spaces)
            points += [(searched.experiment, settings) for settings in ends]
        return [
            ExperimentAndConfig(experiment, self.config_of(experiment, settings))
            for experiment, settings in points
        ]

    def check_data_unchanged(self, folder: Path, data_dir: Path | None) -> None:
        """Raise DataError if a file of the data has changed since the sweep was planned."""
        today = hash_data_files(self.all_configs(), data_dir)
        for file in self.data:
            if file.is_changed_in(today):
                problem = f"{folder}: its runs would not be comparable: {file.name} has changed"
                raise DataError(problem, "put the data back, or start a new sweep")

    def run_options(self, point: SweepPoint, common: RunOptions) -> RunOptions:
        digits = len(str(self.most_runs))
        return replace(
            common,
            name=f"{self.name}-{point.number:0{digits}}",
            notes=self.notes,
            sweep=SweepMembership(id=self.id, name=self.name, point=point.number),
        )


def read_sweep_plan(folder: Path, *, force: bool = False) -> SweepPlan:
    """Read the plan of a sweep from its folder.

    Raises DlrunError if sweep.json is missing or damaged, or, without `force`, if code or packages
    have changed since the sweep began.
    """
    plan = read_checksummed_json(SweepPlan, folder / PLAN)
    if force:
        return plan
    changed: dict[str, None] = {}
    for swept in plan.experiments:
        package = swept.experiment.package
        changed |= dict.fromkeys(
            environment.describe_environment_changes(swept.code, plan.packages, package)
        )
    if changed:
        raise DlrunError(
            f"{folder}: its runs would not be comparable: {'; '.join(changed)}",
            "start a new sweep, or continue with --force",
        )
    return plan


def hash_data_files(
    configs: Iterable[ExperimentAndConfig], data_dir: Path | None
) -> list[DataFile]:
    """Files that this machine does not have are left out."""
    folder = resolve_data_dir(data_dir)
    paths: dict[Path, None] = {}  # in order, each once
    for experiment, config in configs:
        if experiment.data is not None:
            section = experiment.data_section(config)
            paths |= dict.fromkeys(experiment.data.paths(section, folder))
        else:
            paths |= dict.fromkeys(config.data_files(folder))
    return [
        DataFile(number=number, name=path.name, digest=hash_user_data(path, folder))
        for number, path in enumerate(paths, start=1)
        if path.exists()
    ]


def add_settings(base: ConfigLayer, settings: Settings) -> ConfigLayer:
    """Add settings by dotted keys to a config layer; error messages name them as `KEY=VALUE`."""
    layers = [
        yaml_loader.config_layer_from_setting(key, value, f"{key}={value}")
        for key, value in settings.items()
    ]
    return yaml_loader.merge_config_layers([base, *layers])
