"""One run from its config to results.json, whatever happens in between."""

import contextlib
import logging
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.table import Table
from rich.text import Text

from dlrun import config as configs
from dlrun import experiments, session
from dlrun.errors import DlrunError, Terminated
from dlrun.experiments.sections import Experiment
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen
from dlrun.session import Results, Session

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
    if options.dry_run:
        screen = Screen(quiet=options.quiet)
        screen.out.print(Text(configs.to_yaml(config).rstrip()))
        into = session.runs_dir(options.runs_dir) / name
        screen.note(f"dry run: the config is valid; a run would go into {into}")
        return 0, None
    if _is_worker():
        with tempfile.TemporaryDirectory() as scratch:
            return _execute(
                name,
                config,
                replace(options, runs_dir=Path(scratch), quiet=True, results=False, json=False),
            )
    return _execute(name, config, options)


def _execute(name: str, config: Experiment, options: Options) -> tuple[int, Path | None]:
    screen = Screen(quiet=options.quiet, results=options.results and not options.json)
    runs_dir = session.runs_dir(options.runs_dir)
    folder = RunFolder.claim(runs_dir, name, options.name)
    with _logging_to(folder), _terminable():
        around = Session(
            folder=folder,
            screen=screen,
            data_dir=session.data_dir(options.data_dir),
            runs_dir=runs_dir,
            show_summary=options.summary,
        )
        results = _run(name, config, around)
        _show(name, results, around)
        if options.json:
            screen.out.file.write((folder.path / "results.json").read_text(encoding="utf-8"))
        return results.exit_code, folder.path


def _is_worker() -> bool:
    """Whether this process helps another that owns the run: a further process of a DDP strategy."""
    ranks = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")
    return any(os.environ.get(rank, "0") not in ("", "0") for rank in ranks)


def _run(name: str, config: Experiment, around: Session) -> Results:
    folder = around.folder
    started = time.perf_counter()
    head: dict[str, Any] = {
        "experiment": name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "source": getattr(getattr(config, "data", None), "source", None),
    }
    try:
        folder.write_text("config.yaml", configs.to_yaml(config))
        folder.write_environment()
        around.screen.note(f"run folder: {folder.path}")
        results = experiments.load(name).run(config, around)
        around.seconds["total"] = time.perf_counter() - started
        folder.write_environment(device=results.accelerator.used)
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
        interrupted = isinstance(error, KeyboardInterrupt | Terminated)
        log.error("%s", "".join(traceback.format_exception(error)))
        around.seconds["total"] = time.perf_counter() - started
        with contextlib.suppress(OSError):  # a full disk: the first error is the one to report
            folder.write_json(
                "results.json",
                {
                    **head,
                    "status": "interrupted" if interrupted else "failed",
                    "error": str(error) or type(error).__name__,
                    "metrics": {},
                    "seconds": around.seconds,
                },
            )
        if isinstance(error, OSError) and not isinstance(error, DlrunError):
            raise DlrunError(
                f"{error.strerror or error}: {error.filename or folder.path}",
                f"what was finished before is in {folder.path}",
            ) from error
        raise
    return results


def _show(name: str, results: Results, around: Session) -> None:
    """The last lines: the result, the published figures beside it, where everything is."""
    folder = around.folder.path
    table = Table(box=None, pad_edge=False)
    published = {
        edition: values
        for edition in ("book", "notebook")
        if isinstance(values := results.reference.get(edition), dict)
        and any(isinstance(value, float) for value in values.values())
    }
    for column in ("metric", name, *published):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in results.metrics.items():
        beside = [_number(values.get(metric)) for values in published.values()]
        table.add_row(metric, _number(value), *beside)
    screen = around.screen
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
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
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


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run in order, as Ctrl-C does."""

    def terminate(signum: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
