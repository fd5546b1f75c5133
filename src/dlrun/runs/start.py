"""The life of a run: check it, claim or lock its folder, run its experiment, record its end."""

import contextlib
import hashlib
import importlib
import logging
import shlex
import shutil
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.validation import config_to_yaml, read_and_merge_layers, validate_layer
from dlrun.config.yaml_loader import ConfigLayer, dump_yaml, flatten_keys
from dlrun.data.download import is_offline
from dlrun.errors import ConfigError, DataError, DlrunError, Stopped, explain_failure, first_line
from dlrun.experiments import comparable_with_published as published
from dlrun.experiments import registry
from dlrun.experiments.base import AnyExperiment
from dlrun.experiments.comparable_with_published import PROCESSES
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run
from dlrun.run_context import Results, RunContext, RunSettings, print_results_json
from dlrun.run_folder import checkpoint, environment, external_loggers, recorded_metrics
from dlrun.run_folder.find import find_run, repair_latest_link
from dlrun.run_folder.folder import (
    CONFIG,
    ENVIRONMENT,
    LOG,
    METRICS,
    RESULTS,
    RunFolder,
    check_run_name,
    check_runs_folder_writable,
)
from dlrun.run_folder.progress_recorder import ProgressRecorder
from dlrun.run_folder.record import (
    FORMAT,
    RunEnvironment,
    RunNotes,
    RunRecord,
    Status,
    change_notes,
    checksummed_json,
    write_run_record,
)
from dlrun.runs import distributed
from dlrun.runs.distributed import is_helper_process, set_devices_from_launcher
from dlrun.system import accelerator, files, resources
from dlrun.system.console import Screen, pluralize, to_json
from dlrun.system.signals import StopRequest
from dlrun.system.workarounds import scipy_signal_on_use

log = logging.getLogger("dlrun")
TORCH_MEMORY = 10**9  # bytes of address space; with fewer, torch aborts or hangs at its import


def load_experiment_config(name: str, settings: RunSettings) -> ExperimentConfig:
    """Read and validate the config of an experiment. Raises ConfigError with every error."""
    return validate_config(name, merge_experiment_config(name, settings))


def merge_experiment_config(name: str, settings: RunSettings) -> ConfigLayer:
    """Merge an experiment's default config with the user's; raise ConfigError if one is invalid."""
    shipped = registry.experiment_entry(name).shipped
    return read_and_merge_layers(
        name, [shipped, *settings.config, *settings.overrides, *settings.values]
    )


def validate_config(name: str, layer: ConfigLayer, *, resumed: bool = False) -> ExperimentConfig:
    """Validate the merged config of an experiment. Raises ConfigError with every error."""
    config: ExperimentConfig = validate_layer(registry.load_config_class(name), layer, name)
    return set_devices_from_launcher(config, resumed=resumed)


def run_experiment(name: str, settings: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run)."""
    screen = settings.console()
    config = load_experiment_config(name, settings)
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    check_runs_folder_writable(runs_dir)
    check_run_can_start(name, config, settings)
    if settings.dry_run:
        print_dry_run(config, runs_dir / name, screen, json=settings.json)
        return 0, None
    experiment = _load_experiment_to_run(name, config)
    check_callbacks_and_loggers(config)
    return _run_in_new_folder(experiment, config, settings)


def _run_in_new_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    settings: RunSettings,
    begins_with: Run | None = None,
) -> tuple[int, Path]:
    """Run an experiment in a new folder, and return the exit code and the folder.

    begins_with: the earlier run whose last checkpoint it continues.
    """
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    if is_helper_process():  # it reads the checkpoint where it is
        path = begins_with.folder if begins_with else runs_dir / experiment.name
        new = new_record(experiment.name, config, settings)
        record = begins_with.record if begins_with else new
        folder = RunFolder(path, writes=False)
        return RunRecorder(experiment, config, folder, settings, record).execute(), path
    folder = RunFolder.claim(runs_dir, experiment.name, settings.name)
    processes = distributed.count_processes_to_start(config)
    if processes > 1:
        group = distributed.ProcessGroup("dlrun", processes, processes)
        config = set_devices_from_launcher(config, group)
    record = new_record(experiment.name, config, settings, begins_with)
    try:
        with folder.locked():
            if processes == 1:
                recorder = RunRecorder(experiment, config, folder, settings, record, begins_with)
                return recorder.execute(), folder.path
            write_first_files(folder, record, settings, begins_with)
        launched = replace(settings, overrides=())  # the record has them
        return distributed.launch_training_processes(processes, folder.path, launched), folder.path
    except DlrunError:
        if begins_with is not None and not (folder.path / METRICS).exists():
            # It was refused, as if its data have changed: nothing is there to be resumed.
            shutil.rmtree(folder.path)
            repair_latest_link(runs_dir, experiment.name)
        raise


def resume_run(run: str, settings: RunSettings) -> int:
    """Continue a run, and return the exit code; find_run explains the names.

    A run that has not finished continues in its own folder; with more epochs than it was to have,
    in a new one. The overrides in the settings can change only a few other keys.
    """
    screen, runs_dir = settings.console(), run_context.resolve_runs_dir(settings.runs_dir)
    folder = RunFolder(find_run(run, runs_dir), writes=not is_helper_process())
    is_final = Run.in_folder(folder.path).record.status == "finished"  # nothing is written to it
    with contextlib.nullcontext() if is_final else folder.locked():
        opened = Run.in_folder(folder.path)  # another process may have finished it
        config = _resumed_config(opened, settings)
        needs_new_run = config.total_steps != opened.config.total_steps
        if opened.record.status == "finished" and not needs_new_run:
            more = opened.resume_command
            hint = f"; {more} continues it in a new run" if more else ""
            screen.note(f"{folder.path}: finished, there is nothing to resume{hint}")
            if settings.json:
                print_results_json(folder.path, screen)
            return 0
        if opened.record.status != "waiting" or needs_new_run:
            _check_can_continue(opened, config, settings)
        if not needs_new_run:
            experiment = _load_experiment_to_run(opened.record.experiment, config)
            processes = distributed.count_processes_to_start(config)
            if processes == 1:
                return RunRecorder(experiment, config, folder, settings, opened.record).execute()
    if not needs_new_run:
        return distributed.launch_training_processes(processes, folder.path, settings)
    if not checkpoint.checkpoint_files(folder.path):
        hint = f"`dlrun resume {shlex.quote(str(folder.path))}` starts it as it was"
        raise DlrunError(f"{folder.path}: no finished epoch to continue from", hint)
    for problem in checkpoint.find_damaged_checkpoints(folder.path, opened.record.id):
        screen.warn(problem)
    check_runs_folder_writable(runs_dir)
    check_run_can_start(opened.record.experiment, config, settings)
    experiment = _load_experiment_to_run(opened.record.experiment, config)
    return _run_in_new_folder(experiment, config, settings, opened)[0]


def check_run_can_start(
    name: str, config: ExperimentConfig, settings: RunSettings, *, here: bool = True
) -> None:
    """Check what can be checked before a run gets its folder; raise DlrunError if it would fail.

    `here`: the run will use this machine's memory and accelerators. Raises FileNotFoundError if the
    working folder, which a run records, was removed.
    """
    Path.cwd()
    check_run_name(settings.name)
    settings.notes()
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    external_loggers.check_loggers_installed(config)
    limit = resources.address_space_limit() or TORCH_MEMORY
    if here and isinstance(config, LightningConfig) and limit < TORCH_MEMORY:
        allowed, needed = (f"{size // 10**6:,} MB" for size in (limit, TORCH_MEMORY))
        problem = f"memory is short: this process may use {allowed}, and torch needs {needed}"
        raise DlrunError(problem, "a higher `ulimit -v` allows more")
    try:
        config.check(runs_dir)
        if dataset := registry.experiment_dataset(name):
            dataset.check(config.data_section)
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        problem = f"its check raised {type(error).__name__}: {first_line(error)}"
        hint = f"a bug in {registry.experiment_entry(name).package}; --debug shows the traceback"
        raise DlrunError(f"experiment {name!r}: {problem}", hint) from error
    if is_offline():
        download_missing_data(name, config, settings, Screen())  # raises if anything is missing
    if here and not config.fallback:
        accelerator.require_accelerator(config.accelerator)


def check_callbacks_and_loggers(config: ExperimentConfig) -> None:
    """Import the callbacks and loggers in a config; raise ConfigError if one is wrong."""
    external_loggers.check_lightning_loggers(config)
    if isinstance(config, LightningConfig) and config.trainer.callbacks:
        from dlrun.training.fit import make_callbacks

        make_callbacks(config)


def download_missing_data(
    name: str, config: ExperimentConfig, settings: RunSettings, screen: Screen
) -> None:
    """Download the published files that a run needs, if any is missing; raise DownloadError."""
    if dataset := registry.experiment_dataset(name):
        section, data_dir = config.data_section, run_context.resolve_data_dir(settings.data_dir)
        if not all(path.exists() for _, path in dataset.files(section, data_dir)):
            dataset.download(section, data_dir, screen)


def print_dry_run(config: ExperimentConfig, place: Path, screen: Screen, *, json: bool) -> None:
    """Print the validated config and the folder in which a run would be stored."""
    text = to_json(config.model_dump(mode="json")) if json else config_to_yaml(config)
    screen.rows(text.rstrip().split("\n"))  # with whole paths
    screen.note(f"dry run: the config is valid; a run's folder would be in {place}")


def _load_experiment_to_run(name: str, config: ExperimentConfig) -> AnyExperiment:
    """Import an experiment, and Lightning if the run trains with it, before the run begins."""
    if isinstance(config, LightningConfig):
        with scipy_signal_on_use():
            importlib.import_module("dlrun.training.fit")
    return registry.load_experiment(name)


def _resumed_config(run: Run, settings: RunSettings) -> ExperimentConfig:
    """Return the config of a run that is resumed. Raises ConfigError if a key must not change."""
    name, again = run.record.experiment, f"`{run.repeat_command}` starts another run"
    schema = registry.load_config_class(name)
    if not schema.resumable:
        raise DlrunError(f"{run.folder}: {name} has nothing to resume", again)
    layer = read_and_merge_layers(name, [ConfigLayer(run.record.config), *settings.overrides])
    config = validate_config(name, layer, resumed=True)
    then = flatten_keys(run.config.model_dump(mode="json"))
    now = flatten_keys(config.model_dump(mode="json"))
    changed = {key for key in then | now if then.get(key) != now.get(key)}
    allowed = schema.changeable_by_resume(run.settings) | RUNTIME_KEYS  # how it is done, how long
    if refused := changed - allowed - PROCESSES:
        problem = f"{', '.join(sorted(refused))}: changed since the run began"
        if EPOCHS in refused and EPOCHS in schema.changeable_keys:
            problem += f"; the schedule of the learning rate depends on {EPOCHS}"
        known = ", ".join(sorted(allowed & now.keys() - PROCESSES))
        raise ConfigError(f"{problem}; a resume can only change {known}", again)
    return config


def _check_can_continue(run: Run, config: ExperimentConfig, settings: RunSettings) -> None:
    """Raise DlrunError if a run cannot continue, or would get other numbers than undisturbed."""
    path, record, again = run.folder, run.record, f"`{run.repeat_command}` starts another run"
    finished = record.steps or 0
    if not finished:  # killed, perhaps before its first step
        with contextlib.suppress(DataError):  # a resume writes metrics.csv anew
            finished = len(run.rows)
    if config.total_steps is not None and config.total_steps < finished:
        problem = f"{pluralize(config.total_steps, 'epoch')} requested, but {finished:,} are"
        raise ConfigError(f"{problem} finished", "a run cannot have fewer than it has trained")
    external_loggers.check_loggers_installed(config)
    if record.stopped_epoch:
        problem = f"{path}: the training stopped early, after epoch {record.stopped_epoch}"
        raise ConfigError(f"{problem}: it has no more epochs", again)
    changes = []
    # Another number of processes adds up a batch's gradients in another order, which rounds
    # differently; their distribution over nodes makes no difference.
    if run.config.world != config.world:
        then, now = run.config.world or "auto", config.world or "auto"
        changes.append(f"processes: {then} then, {now} now")
    package, begun = registry.experiment_entry(record.experiment).package, run.environment
    changes += environment.describe_environment_changes(begun.code, begun.packages, package)
    if changes:
        problem = f"{path}: a resumed run would get other numbers: {'; '.join(changes)}"
        if not settings.force:
            raise DlrunError(problem, f"{again}; --force resumes this one all the same")
        if not is_helper_process():
            settings.console().warn(problem)
    if record.steps and not checkpoint.checkpoint_files(path):
        remove = f"`dlrun runs rm {shlex.quote(str(path))}`: then the sweep runs the point again"
        raise DlrunError(f"{path}: its checkpoints are missing", remove if record.sweep else again)


def new_record(
    experiment: str, config: ExperimentConfig, settings: RunSettings, begins_with: Run | None = None
) -> RunRecord:
    """Return the record of a run that waits to begin.

    begins_with: the earlier run whose last checkpoint it continues, with as many threads.
    """
    record = RunRecord(
        format=FORMAT,
        id=uuid.uuid4().hex,
        experiment=experiment,
        status="waiting",
        seed=config.seed,
        source=config.source,
        sweep=settings.sweep,
        config=config.model_dump(mode="json"),
    )
    record.files[CONFIG] = hashlib.sha256(_config_file(record)).hexdigest()
    if begins_with is None:
        return record
    same = {"threads": begins_with.record.threads, "steps": begins_with.record.steps}
    return record.model_copy(update=same | {"continues": begins_with.name})


def write_first_files(
    folder: RunFolder, record: RunRecord, settings: RunSettings, begins_with: Run | None = None
) -> None:
    """Write the first files of a new run: environment.json, results.json, notes, config.yaml.

    begins_with: the earlier run whose last checkpoint is copied; DataError if all are damaged.
    """
    about = environment.describe_environment(registry.experiment_entry(record.experiment).package)
    folder.write_text(ENVIRONMENT, checksummed_json(RunEnvironment.model_validate(about)))
    write_run_record(folder, record)
    if (folder.path / CONFIG).exists():
        return
    if begins_with is not None:
        checkpoint.copy_checkpoint(begins_with.folder, begins_with.record.id, folder, record.id)
    if (notes := settings.notes()) != RunNotes():
        change_notes(folder.path, lambda _: notes)
    # Last: a folder with a config.yaml is a run, and has the others.
    folder.write(CONFIG, _config_file(record))


def _config_file(record: RunRecord) -> bytes:
    return dump_yaml(record.config).encode("utf-8", "backslashreplace")


class RunRecorder:
    """Runs one experiment in its own folder, and writes the record of the run.

    record: that of a run that waits, or of one that is resumed. begins_with: the earlier run whose
    last checkpoint a new run continues.
    """

    def __init__(
        self,
        experiment: AnyExperiment,
        config: ExperimentConfig,
        folder: RunFolder,
        settings: RunSettings,
        record: RunRecord,
        begins_with: Run | None = None,
    ) -> None:
        self.experiment, self.config, self.folder = experiment, config, folder
        self.settings, self.begins_with = settings, begins_with
        self.is_resumed = record.status != "waiting"
        self.record = record.model_copy(
            update={
                "status": "running",
                "run": str(folder.path),
                "resumed" if self.is_resumed else "started": _now(),
                "threads": record.threads or _choose_threads(config, settings),
                "config": config.model_dump(mode="json"),
            }
        )
        screen = settings.console() if folder.writes else Screen(quiet=True, results=False)
        stop, resumed = StopRequest(), self.record if self.is_resumed else None
        self.loggers = external_loggers.ExperimentLoggers(config, experiment.name, folder, screen)
        seconds = dict(record.seconds)  # of the earlier parts
        self._started = time.perf_counter() - seconds.pop("total", 0.0)
        self.context = RunContext(
            folder,
            screen,
            stop,
            ProgressRecorder(folder, screen, stop, record.id, resumed, self.loggers),
            data_dir=run_context.resolve_data_dir(settings.data_dir),
            runs_dir=run_context.resolve_runs_dir(settings.runs_dir),
            threads=self.record.threads or 1,
            show_summary=settings.summary,
            seconds=seconds,
        )

    def execute(self) -> int:
        """Run the experiment, record how it ends, and return the exit code.

        Raises the exception that ended the run early, after writing the record.
        """
        folder, context, screen = self.folder, self.context, self.context.screen
        with _logging_to(folder), context.stop.listening():
            try:
                if folder.writes:
                    self._begin()
                results = self.experiment.run(self.config, context)
                if folder.writes:
                    self._finish(results)
            except BaseException as error:
                shown = self._end_early(error)
                if self.settings.json and folder.writes:
                    print_results_json(folder.path, screen, shown)
                if shown is error:
                    raise
                raise shown from error
            if folder.writes:
                if self.settings.json:
                    print_results_json(folder.path, screen)
                try:
                    self._show(results)
                except OSError as error:  # a closed terminal or pipe, a full disk behind stdout
                    why = f"the result is not shown ({error.strerror})"
                    screen.warn(f"{why}: see {folder.path / RESULTS}")
        return results.exit_code

    def _begin(self) -> None:
        """Write the first files of a new run; a stop signal waits: a resume needs all of them."""
        with self.context.stop.in_steps(lambda: None):
            self.folder.remove_temporary_files()
            self.context.screen.note(f"run folder: {self.folder.path}")
            if earlier := self.begins_with:
                after = f"after epoch {earlier.record.steps}; {earlier.name} stays as it is"
                self.context.screen.note(f"a new run, which continues {earlier.name} {after}")
            if not self.is_resumed:
                write_first_files(self.folder, self.record, self.settings, self.begins_with)
        self.context.stop.after_step()

    def _finish(self, results: Results) -> None:
        folder, context = self.folder, self.context
        name, config, rows = self.experiment.name, self.config, context.steps.rows
        if taken := results.extra.keys() & RunRecord.model_fields.keys():
            raise DlrunError(f"an experiment's results cannot be named {', '.join(sorted(taken))}")
        changes = {
            "ended": _now(),
            "steps": len(rows) or None,
            "data": results.origin.text,
            "data_digest": context.steps.data,
            "metrics": _as_numbers(results.metrics),
            "test_rows": results.test_rows,
            **published.compare_with_published(name, config, results),
            "stopped_epoch": results.stopped_epoch,
            "weights_epoch": results.weights_epoch,
            "best_epoch": recorded_metrics.best_epoch(rows, on_test=config.validates_on_test),
            "classes": results.classes,
            "accelerator": results.accelerator,
            "processes": results.processes,
            "error": None,
            **results.extra,
        }
        for file, content in context.kept.items():
            folder.write(file, content)
        changes["files"] = self._digests()  # the figures are drawn from these files
        with context.phase("figures"):
            figures = self._draw(self.record.model_copy(update=changes))
        context.seconds["total"] = time.perf_counter() - self._started
        for file, content in figures.items():
            folder.write(file, content)
        changes["figures"] = list(figures)
        changes["files"] = self._digests()
        folder.sync_tables()
        context.stop.ignore_signals()
        self._save("finished", seconds=context.seconds, **changes)

    def _digests(self) -> dict[str, str]:
        names = {ENVIRONMENT, *self.folder.written} - {RESULTS, CONFIG}
        digests = {name: files.file_digest(self.folder.path / name) for name in sorted(names)}
        return self.record.files | digests

    def _save(self, status: Status, **changes: object) -> None:
        record = self.record.model_copy(update={"status": status, **changes})
        write_run_record(self.folder, record)
        self.record = record
        if status in ("finished", "failed", "interrupted"):
            self.loggers.end(record.metrics, status)

    def _draw(self, record: RunRecord) -> dict[str, bytes]:
        """Return the run's figures as PNG files by name; only warn if drawing fails.

        A first stop signal waits: Python drops an exception that is raised while matplotlib removes
        an object that nobody needs.
        """
        from dlrun.plots import figure_to_png  # slow: matplotlib

        stop, screen, figures = self.context.stop, self.context.screen, dict[str, bytes]()
        notice = "stopping once the figures are drawn; a second signal stops at once"
        with stop.in_steps(lambda: screen.note(notice)):
            try:
                drawn = self.experiment.draw(Run(self.folder.path, record), self.config)
                figures = {name: figure_to_png(figure) for name, figure in drawn.items()}
            except (Exception, SystemExit) as error:  # a font, a backend: the result is not lost
                if (cause := stop.cause_of(error)) is not error:
                    raise cause from error
                log.exception("the figures")
                screen.warn(f"the figures could not be drawn: {first_line(error)}")
        stop.after_step()
        return figures

    def _show(self, results: Results) -> None:
        record, folder, screen = self.record, self.folder.path, self.context.screen
        for part in results.shown:
            screen.show(part)
        if any(isinstance(value, float) for value in record.metrics.values()):
            screen.show(recorded_metrics.metrics_table(record))
        else:  # photographs: their labels were printed above
            counts = ", ".join(f"{name}: {value}" for name, value in record.metrics.items())
            screen.show(counts)
        lines = [("data", record.data), *recorded_metrics.remarks_on_metrics(record)]
        lines.append(("time", f"{record.seconds.get('total', 0):.1f} s{record.computed_on}"))
        lines += [("figure", str(folder / figure)) for figure in record.figures]
        screen.labelled(*lines, ("run", str(folder)))

    def _end_early(self, error: BaseException) -> BaseException:
        """Write the record of a run that ended early, and return the error to show to the user.

        On a full disk the older checkpoint is removed to make room.
        """
        context, steps = self.context, self.context.steps
        context.stop.ignore_signals()
        error = context.stop.cause_of(error)
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        log.error("%s", "".join(traceback.format_exception(error)))
        package = registry.experiment_entry(self.experiment.name).package
        shown = explain_failure(error, self.folder.path, package)
        if not self.folder.writes:  # the process that writes the run reports a signal
            return SystemExit(error.exit_code) if isinstance(error, Stopped) else shown
        if self.is_resumed and not steps.begun:
            return shown  # a resume that was refused changes nothing
        context.seconds["total"] = time.perf_counter() - self._started
        changes: dict[str, object] = {
            "ended": _now(),
            "error": str(shown) or type(shown).__name__,
            "steps": len(steps.rows) or self.record.steps,
            "seconds": context.seconds,
            "metrics": recorded_metrics.newest_metrics(steps.rows),
        }
        status: Status = "interrupted" if stopped else "failed"
        with contextlib.suppress(OSError):  # the first error is the one to report
            try:
                self._save(status, **changes)
            except OSError:
                checkpoint.remove_previous_checkpoint(self.folder)
                self._save(status, **changes)
            self.folder.sync_tables()
        resumable = self.config.resumable and not self.settings.temporary
        if stopped and resumable and not self.record.sweep:  # a sweep prints its own message
            before = "" if steps.rows else " before the first step was finished"
            context.screen.warn(f"stopped{before}; continue with: dlrun resume {self.folder.path}")
        return shown


@contextlib.contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Write log messages and warnings to the run's log.txt during a block."""
    handler: logging.Handler = logging.NullHandler()
    if folder.writes:
        path = folder.path / LOG
        files.check_regular_file(path)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, level, raising = logging.getLogger(), log.level, logging.raiseExceptions
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # on a full disk: no traceback for each line of the log
    captured = getattr(warnings.showwarning, "__module__", "") == "logging"  # by the caller
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(captured)
        logging.raiseExceptions = raising
        log.setLevel(level)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # NFS says only now that lines could not be written
            handler.close()


def _as_numbers(metrics: Mapping[str, object]) -> dict[str, int | float | None]:
    numbers: dict[str, int | float | None] = {}
    for name, value in metrics.items():
        plain = value.item() if hasattr(value, "item") else value
        if not (plain is None or isinstance(plain, int | float)):
            raise DlrunError(f"the metric {name!r} is not a number: {value!r}")
        numbers[str(name)] = plain
    return numbers


def _choose_threads(config: ExperimentConfig, settings: RunSettings) -> int:
    nodes = config.trainer.num_nodes if isinstance(config, LightningConfig) else 1
    limits = [most for most in (config.max_threads, settings.max_threads) if most is not None]
    most, processes = min(limits, default=None), (config.world or 1) // nodes
    return resources.choose_thread_count(config.threads, most, processes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
