"""One run from its config to results.json, whatever happens in between."""

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dlrun import checkpoint_file, experiments, session
from dlrun import config as configs
from dlrun.errors import DlrunError, Terminated
from dlrun.experiments.sections import Experiment
from dlrun.run_folder import RunFolder, check_name, is_finished, read_json
from dlrun.screen import Screen
from dlrun.session import Results, Session

HOW = ("accelerator", "fallback")  # how a run is done, not what: a resume may use another

log = logging.getLogger("dlrun")


@dataclass(frozen=True)
class Options:
    """What the command line says beside the config."""

    config: Sequence[Path] = ()
    overrides: Sequence[str] = ()
    runs_dir: Path | None = None
    data_dir: Path | None = None
    name: str | None = None
    summary: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    results: bool = True  # False: the caller shows them
    debug: bool = False


def resolve(name: str, files: Sequence[Path], overrides: Sequence[str]) -> Experiment:
    """The experiment's validated config. Raises ConfigError with every fault."""
    layer = configs.read_layers(name, files, overrides)
    return configs.validate(experiments.load(name).Config, layer, name)


def execute(name: str, options: Options) -> tuple[int, Path | None]:
    """Run an experiment; returns the exit code and the run's folder (None for a dry run).

    Raises whatever ended the run early, after results.json says so.
    """
    config = resolve(name, options.config, options.overrides)
    config.check()
    check_name(options.name)
    if options.dry_run:
        screen = Screen(quiet=options.quiet)
        text = config.model_dump_json(indent=2) if options.json else configs.to_yaml(config)
        screen.out.print(Text(text.rstrip()))
        into = session.runs_dir(options.runs_dir) / name
        screen.note(f"dry run: the config is valid; a run would go into {into}")
        return 0, None
    if is_worker():
        with worker_folder(name, options) as (folder, quiet):
            return run_in(folder, name, config, quiet)
    folder = RunFolder.claim(session.runs_dir(options.runs_dir), name, options.name)
    return run_in(folder, name, config, options)


def run_in(
    folder: RunFolder,
    name: str,
    config: Experiment,
    options: Options,
    resume_from: Path | None = None,
) -> tuple[int, Path]:
    """Run in a claimed folder, or go on from the checkpoint in `resume_from`."""
    screen = Screen(quiet=options.quiet, results=options.results and not options.json)
    around = Session(
        folder=folder,
        screen=screen,
        data_dir=session.data_dir(options.data_dir),
        runs_dir=session.runs_dir(options.runs_dir),
        show_summary=options.summary,
        resume_from=resume_from,
    )
    with _logging_to(folder), around.stop.listening():
        folder.remove_temporary()
        try:
            results = _run(name, config, around)
        finally:
            if options.json:  # of a run that failed or was stopped too
                print_json(folder, screen)
        _show(name, results, around, generated=config.source == "sample")
        return results.exit_code, folder.path


def is_worker() -> bool:
    """Whether this process helps another that owns the run: a further process of a DDP strategy."""
    ranks = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")
    return any(os.environ.get(rank, "0") not in ("", "0") for rank in ranks)


@contextlib.contextmanager
def worker_folder(name: str, options: Options) -> Iterator[tuple[RunFolder, Options]]:
    """For a worker: a folder that is thrown away, and options that print nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        quiet = replace(options, runs_dir=Path(scratch), quiet=True, results=False, json=False)
        yield RunFolder.claim(Path(scratch), name), quiet


def _run(name: str, config: Experiment, around: Session) -> Results:
    folder = around.folder
    started = time.perf_counter()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    head: dict[str, Any] = {
        "experiment": name,
        "run": str(folder.path),
        "started": now,
        "resumed": None,  # else when, and `seconds` are those since then
        "seed": config.seed,
        "source": config.source,
    }
    begun = {"started": now, "config": config.model_dump(mode="json")}
    stored, finished_before = config, False
    if around.resume_from is not None:
        environment = read_json(around.resume_from / "environment.json")
        head |= {"started": environment.get("started"), "resumed": now}
        stored = config.model_copy(update={key: environment["config"][key] for key in HOW})
        finished_before = is_finished(around.resume_from)
    try:
        folder.write_text("config.yaml", configs.to_yaml(stored))
        if around.resume_from is None:
            folder.write_environment(**begun)
        around.screen.note(f"run folder: {folder.path}")
        results = experiments.load(name).run(config, around)
        around.seconds["total"] = time.perf_counter() - started
        if around.resume_from is None:
            folder.write_environment(**begun, device=results.accelerator.used)
        folder.write_json(
            "results.json",
            {
                **head,
                "status": "finished",
                "data": results.data,
                "metrics": results.metrics,
                "reference": results.reference,
                "accelerator": asdict(results.accelerator),
                "seconds": around.seconds,
                "figures": results.figures,
                **results.more,
            },
        )
    except BaseException as error:
        log.error("%s", "".join(traceback.format_exception(error)))
        around.seconds["total"] = time.perf_counter() - started
        stopped = isinstance(error, KeyboardInterrupt | Terminated)
        if not finished_before:  # an extension that does not finish leaves the result as it was
            _write_ending(
                folder,
                {
                    **head,
                    "status": "interrupted" if stopped else "failed",
                    "error": str(_explained(error, folder)) or type(error).__name__,
                    "metrics": around.progress,
                    "seconds": around.seconds,
                },
            )
        if stopped and around.progress and not is_worker():
            around.screen.warn(f"stopped; go on with: dlrun resume {folder.path}")
        raise _explained(error, folder) from error
    return results


def print_json(folder: RunFolder, screen: Screen) -> None:
    """results.json on stdout."""
    with contextlib.suppress(FileNotFoundError):  # it could not be written, and the error says so
        screen.out.file.write((folder.path / "results.json").read_text(encoding="utf-8"))


def _write_ending(folder: RunFolder, results: dict[str, Any]) -> None:
    """results.json of a run that did not finish; on a full disk the older checkpoint makes room."""
    with contextlib.suppress(OSError):  # the first error is the one to report
        try:
            folder.write_json("results.json", results)
        except OSError:
            checkpoint_file.drop_previous(folder.path)
            folder.write_json("results.json", results)


def _explained(error: BaseException, folder: RunFolder) -> BaseException:
    """What the machine refused, in words; anything else as it is."""
    kept = f"what was finished before is in {folder.path}"
    if isinstance(error, OSError) and not isinstance(error, DlrunError):
        return DlrunError(f"{error.strerror or error}: {error.filename or folder.path}", kept)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("(not enough|t allocate) memory", str(error))
    ):
        return DlrunError("out of memory; a smaller batch_size needs less", kept)
    return error


def _show(name: str, results: Results, around: Session, *, generated: bool) -> None:
    """The last lines: the result, the published figures beside it, where everything is."""
    folder = around.folder.path
    table = Table(box=None, pad_edge=False)
    published = {
        edition: values
        for edition in ("book", "notebook")
        if not generated  # the book's figures say nothing about these data
        and isinstance(values := results.reference.get(edition), dict)
        and any(isinstance(value, float) for value in values.values())
    }
    for column in ("metric", name, *published):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in results.metrics.items():
        beside = [_number(values.get(metric)) for values in published.values()]
        table.add_row(metric, _number(value), *beside)
    screen = around.screen
    for part in results.shown:
        screen.show(part)
    if any(isinstance(value, float) for value in results.metrics.values()):
        screen.show(table)
    else:  # photographs: their labels stand above
        screen.show(Text(", ".join(f"{name}: {value}" for name, value in results.metrics.items())))
    lines = [("data", results.data)]
    device = results.accelerator.used
    lines.append(("time", f"{around.seconds['total']:.1f} s on {device}"))
    lines += [("figure", str(folder / figure)) for figure in results.figures]
    lines.append(("run", str(folder)))
    for label, text in lines:
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


@contextlib.contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Everything that is logged, and every warning, into the run's log.txt."""
    handler = logging.FileHandler(folder.path / "log.txt", encoding="utf-8")
    assert handler.stream is not None  # opened above
    try:  # held as long as this process lives, whatever becomes of it
        fcntl.flock(handler.stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handler.close()
        raise DlrunError(
            f"{folder.path}: a living process is still writing this run", "wait for it, or end it"
        ) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.raiseExceptions = False  # a full disk: no traceback for each line of the log
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("dlrun").setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()
