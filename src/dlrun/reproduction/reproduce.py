"""Reproduce the lab: run its experiments with several seeds, and write a page of comparisons."""

import contextlib
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.errors import ConfigError, DlrunError, Stopped, os_error_remedy
from dlrun.experiments import registry
from dlrun.reports.page import PageContent, check_page_is_writable, write_report_page
from dlrun.reproduction.experiment_runs import (
    FIRST_LABELS,
    PublishedRow,
    ReproducedExperiment,
    prepare_reproduction,
)
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.recorded_metrics import EDITIONS, describe_direction, format_metric
from dlrun.runs.distributed import find_process_group
from dlrun.sweeps.processes import preload_fork_server
from dlrun.sweeps.search_space import MAX_POINTS, parse_seeds
from dlrun.system.console import Screen, format_text_table, pluralize, printable
from dlrun.system.files import write_file_atomically

TABLE_MARK = "<!-- dlrun reproduce"  # such a table may be overwritten
COLUMNS = {
    "what": "experiment, metric",
    "book": "book",
    "book in range": "in range?",
    "notebook": "notebook",
    "notebook in range": "in range?",
    "here": "here",
    "sd": "sd",
    "n": "n",
    "interval": "95 % of runs",
    "seconds": "seconds a run",
    "command": "command",
}
SCREEN_WIDTH = 80
BESIDE = ("what", "n", "seconds", "command")  # columns that have no room on a screen
MACHINE = {
    "processor": "processor",
    "cores": "threads",
    "computed on": "accelerator",
    "system": "platform",
    "Python": "python",
    "torch": "torch",
    "scikit-learn": "scikit-learn",
    "dlrun": "dlrun",
}
LEGEND = """\
Here: the mean over n seeds. 95 % of runs: where one more run here would lie \
(Student's t). In range? yes: the published number, as it is rounded, lies \
there too; above, below: it lies outside. With few seeds a yes says little: \
--seeds 10 says more. Seconds: the median run's, beside other runs."""
EQUAL = "Equal: a fit that depends on no seed gives the published number, rounded to its digits."
LABELS = "First labels: photographs whose most probable label is the book's."
DIFFERS = "(*): see below."


def reproduce_published_numbers(
    names: Sequence[str],
    seeds: str,
    jobs: int | None,
    out: Path,
    options: RunSettings,
    command: str,
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. A seed
    that was run before, with the same config, code, packages and data, is not run again.

    Args:
        names: the experiments; if empty, all that have published numbers.
        seeds: the seeds, written as in `--seeds` of a sweep.
        jobs: the number of parallel runs; None: as many as cores and memory allow.
        out: the file of the page; the table is written beside it, as .md.
        options: accelerator, folders, what to print.
        command: the command that continues the reproduction.

    Raises ConfigError before any run begins, DlrunError if no experiment could be run; Interrupted
    or Terminated after the current runs have ended.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    with errors_as_json(screen, wanted=options.json):
        if group := find_process_group():
            raise ConfigError(f"{group}, each of which would reproduce", f"leave {group.by} out")
        numbers = list(parse_seeds(seeds))
        if len(numbers) > MAX_POINTS:
            raise ConfigError(f"--seeds {seeds}: more than {MAX_POINTS:,}", "fewer")
        chosen = list(dict.fromkeys(names)) or registry.sort_by_place(
            filter(has_published_numbers, registry.experiment_names())
        )
        if other := [name for name in chosen if not has_published_numbers(name)]:
            raise ConfigError(f"{other[0]}: nothing is published of it", "`dlrun sweep` it")
        if out.suffix not in (".html", ".htm"):
            raise ConfigError(f"--out {out}: not a page's name", "name it FILE.html")
        check_page_is_writable(out, force=options.force)
        table, mark = out.with_suffix(".md"), TABLE_MARK.encode()
        check_page_is_writable(table, force=options.force, ours=mark)
        parts = prepare_reproduction(chosen, numbers, options, screen)
        runnable = _find_runnable(parts, screen)
        plans = [part.make_plan(screen) for part in runnable]  # every config is checked first
        preload_fork_server(part.name for part in runnable)
        try:
            for place, (part, plan) in enumerate(zip(runnable, plans, strict=True), start=1):
                runs = pluralize(len(part.seeds), "run")
                screen.note(f"[{place}/{len(runnable)}] {part.title}: {runs}")
                part.run(plan, screen, jobs)
                _write(parts, out, command)
        except (Stopped, DlrunError) as error:
            screen.warn(f"not done; continue with: {command}")
            if any(part.runs for part in parts):
                _write(parts, out, command)
            if options.json and isinstance(error, Stopped):
                _print_json(parts, out, command, "interrupted", screen)
            raise
        failed = any(part.failed for part in parts)
        if options.json:
            _print_json(parts, out, command, "failed" if failed else "finished", screen)
        else:
            _show(parts, out, run_context.resolve_data_dir(options.data_dir), screen)
    return 1 if failed or (names and len(runnable) < len(parts)) else 0


def has_published_numbers(name: str) -> bool:
    """Return whether the book or its notebook has numbers of an experiment.

    Raises ConfigError if there is no such experiment.
    """
    editions = tuple(f"reference.{edition}." for edition in EDITIONS)
    return any(key.startswith(editions) for key in registry.shipped_values(name))


def _find_runnable(
    parts: Sequence[ReproducedExperiment], screen: Screen
) -> list[ReproducedExperiment]:
    """Return the parts whose data are there; warn of the others. Raises DlrunError without any."""
    for part in parts:
        if part.missing:
            screen.warn(f"not run: {part.title}: {part.missing}")
    if runnable := [part for part in parts if not part.missing]:
        return runnable
    raise DlrunError(
        "no experiment could be run",
        "put what is missing into the data folder; `pip install --no-deps islp` brings tables and "
        "photographs; `dlrun demo` runs the lab on generated data",
    )


def _write(parts: Sequence[ReproducedExperiment], out: Path, command: str) -> None:
    """Write the page and the table of the runs. Raises DlrunError if a file cannot be written."""
    about = f"{command}, dlrun {metadata.version('dlrun')}, {datetime.now(UTC):%Y-%m-%d}"
    content = PageContent(
        [run for part in parts for run in part.runs],
        note=f"`{command}` does it again, or goes on. Machine: {_describe_machine(parts)}.",
        warnings=[note for part in parts for note in part.notes],
        findings=compare_with_simpler_experiments(parts),
        figures={name: png for part in parts for name, png in part.figures.items()},
        title="The lab, reproduced",
        with_published=True,
    )
    table = out.with_suffix(".md")
    text = format_reproduction_markdown(parts, about).encode("utf-8", "backslashreplace")
    path = out
    try:
        write_report_page(content, out)
        path = table
        write_file_atomically(table, text)
    except OSError as error:
        hint = os_error_remedy(error, "choose another place")
        raise DlrunError(f"--out {path}: {error.strerror}", hint) from None


def _machine(parts: Sequence[ReproducedExperiment]) -> dict[str, str]:
    """Describe the machine of the first run; empty without a run."""
    section = next((part.group.sections[0] for part in parts if part.runs), None)
    if section is None:
        return {}
    accelerator = section.record.accelerator
    about = section.environment() | {"accelerator": accelerator and accelerator.used}
    return {name: str(about[key]) for name, key in MACHINE.items() if about.get(key)}


def _describe_machine(parts: Sequence[ReproducedExperiment]) -> str:
    return ", ".join(f"{name} {value}" for name, value in _machine(parts).items())


def format_reproduction_markdown(parts: Sequence[ReproducedExperiment], made: str) -> str:
    """Return a Markdown table that compares the runs with the published numbers.

    `made` is the command, for a comment. The text names no folder of this machine, so that it can
    be put into a README.
    """
    titles = [*COLUMNS.values()]
    lines = [f"<!-- {_one_line(made).replace('-->', '')} -->", ""]
    lines += [_line(titles), _line("---" for _ in titles)]
    for part in parts:
        for row in part.rows:
            what = f"{part.title}, {row.metric}{' (*)' if part.not_comparable else ''}"
            texts = row.cells | {"what": what, "seconds": f"{part.seconds:.1f}"}
            cells = {key: _escaped(text) for key, text in texts.items()}
            cells["command"] = f"<code>{_escaped(part.command())}</code>"
            lines.append(_line(cells[key] for key in COLUMNS))
    notes = [describe_directions(parts), *compare_with_simpler_experiments(parts)]
    notes += [note for part in parts for note in part.notes]
    notes += [
        f"Other runs of the authors, {part.title}, {row.metric}: {row.describe_reruns()}"
        for part in parts
        for row in part.rows
        if row.reruns
    ]
    notes.append(f"Machine: {_describe_machine(parts)}")
    return "\n".join(
        [
            *lines,
            "",
            format_legend(parts),
            "",
            *(f"- {_escaped(note)}." for note in notes if note),
            "",
        ]
    )


def format_legend(parts: Sequence[ReproducedExperiment]) -> str:
    """Return what the words and marks of the comparison mean, without those that do not occur."""
    used = {
        LEGEND: True,
        EQUAL: any(part.rows and not part.stochastic for part in parts),
        LABELS: any(row.metric == FIRST_LABELS for part in parts for row in part.rows),
        DIFFERS: any(part.not_comparable for part in parts),
    }
    return textwrap.fill(" ".join(text for text, is_used in used.items() if is_used), 78)


def describe_directions(parts: Sequence[ReproducedExperiment]) -> str:
    """Return which of the compared metrics are better if they are higher, and which if lower."""
    metrics: dict[str, dict[str, None]] = {}
    for row in (row for part in parts for row in part.rows):
        if direction := describe_direction(row.metric):
            metrics.setdefault(direction, {})[row.metric] = None
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in metrics.items())


def compare_with_simpler_experiments(parts: Sequence[ReproducedExperiment]) -> list[str]:
    """Return whether each part with runs and a baseline is better than it, in words."""
    return [text for part in parts if (text := part.describe_baseline(parts))]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return text for a Markdown table cell: one line without HTML or control characters."""
    return escape(_one_line(text), quote=False).replace("|", r"\|")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _show(parts: Sequence[ReproducedExperiment], out: Path, data_dir: Path, screen: Screen) -> None:
    """Print the comparison, the experiments that were not run, and the paths of the files."""
    keys = [key for key in COLUMNS if key not in BESIDE]
    rows = [(part, row) for part in parts for row in part.rows]
    cells = [[row.metric, *_shortened(row, keys)] for _, row in rows]
    left = {0, *(place for place, key in enumerate(keys, start=1) if "in range" in key)}
    head, *lines = format_text_table(
        [["", *(COLUMNS[key] for key in keys)], *cells], left=left, gap=1
    )
    shown: list[str] = []
    for place, ((part, _), line) in enumerate(zip(rows, lines, strict=True)):
        if place == 0 or part is not rows[place - 1][0]:
            mark = " (*)" if part.not_comparable else ""
            shown.append(
                f"{part.title}{mark}, {pluralize(len(part.runs), 'run')} of {part.seconds:.1f} s"
            )
        shown.append(line)
    shown += format_legend(parts).split("\n")
    for text in (describe_directions(parts), *compare_with_simpler_experiments(parts)):
        shown += textwrap.wrap(printable(text), SCREEN_WIDTH, subsequent_indent="  ")
    shown += [printable(note) for part in parts for note in part.notes]
    if any(part.missing for part in parts):
        shown.append(f"put what is missing into {data_dir}, and run the same command")
    screen.show(Text(head, style="bold"))
    screen.show(Text("\n".join(shown)))
    screen.labelled(("page", str(out)), ("table", str(out.with_suffix(".md"))))


def _shortened(row: PublishedRow, keys: Sequence[str]) -> list[str]:
    """Return the cells of a row with few enough decimals that all fit on a screen."""
    return [
        format_metric(row.published[key]) if key in EDITIONS else row.cells[key] for key in keys
    ]


def _print_json(
    parts: Sequence[ReproducedExperiment], out: Path, command: str, status: str, screen: Screen
) -> None:
    experiments = [
        {
            "experiment": part.name,
            "variant": part.variant,
            "seeds": part.seeds,
            "not_run": part.missing or None,
            "failed": part.failed,
            "runs": [str(run.folder) for run in part.runs],
            "reserved": part.not_comparable or None,
            "seconds": part.seconds if part.runs else None,
            "command": part.command(),
            "rows": [row.as_object() for row in part.rows],
            "baseline": part.baseline_as_object(parts),
        }
        for part in parts
    ]
    about = {"status": status, "command": command, "page": str(out), "machine": _machine(parts)}
    with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
        screen.print_json(about | {"experiments": experiments})
