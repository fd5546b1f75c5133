"""Run dlrun on the tables of plan.csv as they are, and judge it beside scikit-learn.

python benchmarks/tables/compare.py --dlrun PATH/TO/python [--seeds 5] [--only TEXT] [--out FOLDER]

Writes results.csv beside this file and the results of docs/explanation/tables.md, or both into a
folder. The verdict on a table and an experiment is one of VERDICTS; a table's is the worst of both.
In each seed the reference is scored on the very rows that dlrun tests, which predictions.csv names,
and fitted to all others.
"""

import argparse
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from files import digest, find_tables, read_table, read_text
from plan import PLAN
from reference import Metrics, score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "tables.md"
RESULTS = "## Results\n"  # the heading in the page after which all is written anew
EXPERIMENTS = ("table-linear", "table-boosting")
VERDICTS = {
    "right": "it ran, and is not worse than the reference",
    "refused": "an error about a file that is no table with a header",
    "warned": "worse, or rows left out, and a warning said something",
    "stop, remedy works": "an error; the words to paste that it gives lead to a result",
    "stop": "an error without words to paste that lead to a result",
    "wrong": "worse, or rows left out, without a warning",
}
STANDARD_ERRORS = 3  # over the seeds: more is worse than the reference ...
MARGIN = 0.01  # ... if it is also more than this of R² or accuracy, or this share of the MAE
ROWS_USED = 0.95  # of the rows that have a target
TEST_SHARE = 0.2
MOST_PASTES = 3  # errors one after the other, each with a remedy
LONGEST = 400  # letters of a message
FAULT = "FAULT"  # begins an error that is no message of dlrun
LIMIT = 600  # seconds of an experiment on a file, all seeds
# Warnings about which rows test say nothing of what was made of the columns, or of rows left out.
OF_THE_SPLIT = ("in the training part too", "none of this class in the test part")
REMEDY = re.compile(r"\bdata\.\w+=[^\s;,`'\"]+")


@dataclass(frozen=True)
class Task:
    """One experiment on one file."""

    experiment: str
    table: str
    path: Path
    task: str
    target: str
    no_reference: str
    rows: int
    python: str
    seeds: int


@dataclass
class Result:
    """A row of results.csv; metrics are means over the seeds."""

    table: str
    experiment: str
    task: str
    target: str
    rows: int  # with a target, if dlrun ran
    verdict: str = "right"
    reason: str = ""
    used: float = 0.0  # of these rows
    metric: str = ""
    dlrun: float = float("nan")
    reference: float = float("nan")
    r2: float = float("nan")
    reference_r2: float = float("nan")
    warnings: int = 0
    first_warning: str = ""
    error: str = ""
    pasted: str = ""
    seconds: float = 0.0  # of a run
    reference_seconds: float = 0.0  # to fit and score
    unpaired: int = 0  # seeds whose test rows are not known: the reference divided by itself


@dataclass
class Comparison:
    """The metrics of dlrun and of the reference in each seed."""

    dlrun: list[Metrics] = field(default_factory=list)
    reference: list[Metrics] = field(default_factory=list)

    def worse(self) -> str:
        """Return by which metrics dlrun is worse, as text."""
        return ", ".join(filter(None, map(self._worse_by, self.reference[0])))

    def _worse_by(self, name: str) -> str:
        pairs = zip(self.dlrun, self.reference, strict=True)
        values = np.array(
            [
                (ours[name], best[name])
                for ours, best in pairs
                if {name} <= ours.keys() & best.keys()
            ]
        )
        if len(values) < 2:
            return ""
        ours, best = values.T
        losses = ours - best if name == "mae" else best - ours
        margin = MARGIN * (best.mean() if name == "mae" else 1)
        error = losses.std(ddof=1) / np.sqrt(len(losses))
        if losses.mean() <= max(margin, STANDARD_ERRORS * error):
            return ""
        return f"{name} {ours.mean():.4g}, reference {best.mean():.4g}"

    def mean(self, metrics: list[Metrics], name: str) -> float:
        values = [values_of_seed[name] for values_of_seed in metrics if name in values_of_seed]
        return float(np.mean(values)) if values else float("nan")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        python = str(Path(arguments.dlrun).absolute())
        tasks = read_tasks(Path(work), python, arguments.seeds, arguments.only)
        results: list[Result] = []
        with ProcessPoolExecutor(arguments.jobs) as pool:
            for result in pool.map(compare, tasks):
                print(f"{result.verdict:18} {result.experiment:14} {result.table}", flush=True)
                results.append(result)
    table = pd.DataFrame(map(asdict, results))
    seconds = time.perf_counter() - started
    lines = [
        measured(python, arguments.seeds, seconds),
        "",
        *summary(table),
        "",
        *rows_of_tables(table),
    ]
    write_csv(table, (arguments.out or HERE) / "results.csv")
    page = (arguments.out or PAGE.parent) / PAGE.name
    before = PAGE.read_text(encoding="utf-8").partition(RESULTS)[0]
    page.write_text("\n".join([before + RESULTS, *lines, ""]), encoding="utf-8")
    print("\n".join(lines[: len(VERDICTS) + 4]))


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that this script and models.py share."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--dlrun", required=True, help="the Python of the dlrun to compare")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the names of the tables to run")
    parser.add_argument("--out", type=Path, help="a folder for the results of a trial")
    return parser


def read_tasks(work: Path, python: str, seeds: int, only: str) -> list[Task]:
    """Return what plan.csv says to run; exit if a file is another than the planned one."""
    paths = find_tables(work)
    # pandas would read a table's name such as 2011, or an empty reason, as a number.
    plan = pd.read_csv(PLAN, dtype=str, keep_default_na=False)
    tasks: list[Task] = []
    for row in plan[plan["skipped"] == ""].to_dict("records"):
        name = row["table"]
        if only not in name:
            continue
        if name not in paths or digest(paths[name])[:16] != row["sha256"]:
            sys.exit(f"{name} is not the planned file: install requirements.txt")
        tasks += [
            Task(
                experiment,
                name,
                paths[name],
                row["task"],
                row["target"],
                row["no_reference"],
                int(row["rows"]),
                python,
                seeds,
            )
            for experiment in EXPERIMENTS
        ]
    return tasks


def compare(task: Task) -> Result:
    """Run dlrun and the reference, and judge."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of dlrun's process
    warnings.simplefilter("ignore")  # of scikit-learn, about the reference
    result = Result(task.table, task.experiment, task.task, task.target, task.rows)
    with tempfile.TemporaryDirectory() as folder:
        runs, error = run_dlrun(task, Path(folder))
        if error.startswith(FAULT):
            result.verdict, result.error = "stop", shorten(error)
        elif error:
            stopped(result, task, Path(folder), seed=len(runs))
        else:
            judge(result, task, runs)
    return result


def run_dlrun(task: Task, folder: Path) -> tuple[list[dict[str, object]], str]:
    """Return the runs of all seeds, or the error that ended them."""
    command = [task.python, str(HERE / "run_dlrun.py"), task.experiment, str(task.path)]
    command += [task.target, task.task, str(task.seeds), str(folder)]
    try:
        process = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"{FAULT}: more than {LIMIT} s"
    written = folder / "runs.json"
    if not written.exists():
        return [], f"{FAULT}: exit code {process.returncode}: {process.stderr[-500:]}"
    content = json.loads(written.read_text())
    return content["runs"], content["error"]


def stopped(result: Result, task: Task, folder: Path, seed: int) -> None:
    """Judge an error of a seed: does it end once the words that the command tells are pasted?"""
    result.verdict = "refused" if task.no_reference else "stop"
    result.reason = task.no_reference
    pasted: list[str] = []
    for _ in range(1 + MOST_PASTES):
        process = run_command(task, folder, seed, pasted)
        if not pasted:
            message = process.stderr.partition("error: ")[2] or process.stderr[-LONGEST:]
            result.error = shorten(message.replace(f"{task.path}", task.path.name))
        words = words_to_paste(process.stderr)
        if process.returncode == 0 or not words or words == pasted:
            break
        pasted = words
    result.pasted = " ".join(pasted)
    if pasted and process.returncode == 0 and not task.no_reference:
        result.verdict = "stop, remedy works"


def run_command(
    task: Task, folder: Path, seed: int, pasted: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, with what they pasted."""
    command = [task.python, "-m", "dlrun", task.experiment, str(task.path)]
    command += [f"data.target={task.target}", f"data.task={task.task}", f"seed={seed}", *pasted]
    command += ["--runs-dir", str(folder)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def words_to_paste(message: str) -> list[str]:
    """Return the keys with values that a message gives, such as data.ignore=["name"]."""
    words: list[str] = []
    for text in re.findall("`([^`]+)`", message):
        try:
            words += [word for word in shlex.split(text) if re.match(r"[\w.]+=", word)]
        except ValueError:  # a quote of the sentence
            continue
    return words or REMEDY.findall(message)


def judge(result: Result, task: Task, runs: list[dict[str, object]]) -> None:
    """Judge runs that ended: by rows used, and by metrics beside the reference's."""
    result.seconds = float(np.mean([run["seconds"] for run in runs]))
    messages = [text for run in runs for text in warnings_of(Path(run["folder"]))]
    result.warnings = len(set(messages))
    result.first_warning = shorten(messages[0]) if messages else ""
    if task.no_reference:
        result.reason = f"no error about a file with {task.no_reference}"
        result.verdict = "warned" if messages else "wrong"
        return
    table = read_table(read_text(task.path)).dropna(subset=[task.target])
    result.rows = len(table)
    result.used = min(rows_used(Path(run["folder"])) for run in runs) / len(table)
    comparison = Comparison()
    started = time.perf_counter()
    for run in runs:
        is_test = test_rows(Path(run["folder"]), table, task)
        if is_test is None:
            result.unpaired += 1
            is_test = np.zeros(len(table), bool)
            is_test[
                train_test_split(range(len(table)), test_size=TEST_SHARE, random_state=run["seed"])[
                    1
                ]
            ] = True
        with threadpool_limits(1):  # threads that wait for each other on busy cores take far longer
            reference = score(task.experiment, task.task, table, task.target, is_test)
        comparison.reference.append(reference)
        comparison.dlrun.append(run["metrics"])
    result.reference_seconds = (time.perf_counter() - started) / len(runs)
    result.metric = next(iter(comparison.reference[0]))
    result.dlrun = comparison.mean(comparison.dlrun, result.metric)
    result.reference = comparison.mean(comparison.reference, result.metric)
    result.r2 = comparison.mean(comparison.dlrun, "r2")
    result.reference_r2 = comparison.mean(comparison.reference, "r2")
    reasons = [comparison.worse()]
    if result.used < ROWS_USED:
        reasons.append(f"{result.used:.0%} of the rows used")
    result.reason = "; ".join(filter(None, reasons))
    if result.reason:
        result.verdict = "warned" if messages else "wrong"


def warnings_of(folder: Path) -> list[str]:
    """Return the warnings in a run's log that are not about which rows test."""
    lines = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.partition(" WARNING dlrun: ")[2] for line in lines if " WARNING " in line]
    return [text for text in texts if not any(words in text for words in OF_THE_SPLIT)]


def rows_used(folder: Path) -> int:
    """Return how many rows train, validate and test a run."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results["rows"]["used"]


def test_rows(folder: Path, table: pd.DataFrame, task: Task) -> np.ndarray | None:
    """Return a mask of the rows that a run tested; None if the lines are other rows here."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if "line" not in rows[0]:
        return None
    lines = [int(row["line"]) for row in rows]
    if not pd.Index(lines).isin(table.index).all():
        return None
    truths = [row["label" if task.task == "classification" else "target"] for row in rows]
    if not all(map(are_equal, truths, table.loc[lines, task.target])):
        return None
    return table.index.isin(lines)


def are_equal(text: str, value: object) -> bool:
    """Return whether a cell of predictions.csv is a value that pandas has read."""
    if text == str(value).strip():
        return True
    try:
        return bool(np.isclose(float(text), float(str(value)), rtol=1e-6))
    except ValueError:
        return False


def shorten(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g")


def measured(python: str, seeds: int, seconds: float) -> str:
    """Return when, with what and how long it was measured, as a sentence."""
    version = subprocess.run(
        [python, "-m", "dlrun", "--version"], capture_output=True, text=True, check=True
    )
    reference = f"scikit-learn {sklearn.__version__} for the reference"
    took = f"{seeds} seeds, {seconds / 60:.0f} minutes on {os.cpu_count()} cores"
    return f"{time.strftime('%Y-%m-%d')}, {version.stdout.splitlines()[0]}, {reference}, {took}."


def summary(table: pd.DataFrame) -> list[str]:
    """Return how many tables have each verdict, as lines of a table."""
    worst = worst_verdicts(table)
    lines = [
        "| verdict | tables | table-linear | table-boosting | what it means |",
        "|---|---|---|---|---|",
    ]
    for verdict, meaning in VERDICTS.items():
        counts = [(worst == verdict).sum()]
        for experiment in EXPERIMENTS:
            of_experiment = table[table["experiment"] == experiment]
            counts.append((of_experiment["verdict"] == verdict).sum())
        lines.append(f"| {verdict} | {' | '.join(map(str, counts))} | {meaning} |")
    return lines


def worst_verdicts(table: pd.DataFrame) -> "pd.Series[str]":
    """Return for each table the worst verdict on its experiments."""
    order = list(VERDICTS)
    return table.groupby("table")["verdict"].agg(lambda verdicts: max(verdicts, key=order.index))


def rows_of_tables(table: pd.DataFrame) -> list[str]:
    """Return a row for each table, as lines of a table."""
    worst = worst_verdicts(table)
    lines = [
        "| table | rows | target | metric | linear | reference | boosting | reference | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups = table.groupby("table", sort=False)
    return lines + [row_of_table(name, rows, worst[name]) for name, rows in groups]


def row_of_table(name: str, rows: pd.DataFrame, verdict: str) -> str:
    """Return a table's row of results.md; its numbers are R², or accuracy in a classification."""
    by_experiment = rows.set_index("experiment")
    first = by_experiment.iloc[0]
    is_regression = first["task"] == "regression"
    ours, best = ("r2", "reference_r2") if is_regression else ("dlrun", "reference")
    cells = [
        name,
        f"{rows['rows'].max():,}",
        f"`{first['target']}`",
        "R²" if is_regression else "accuracy",
    ]
    for experiment in EXPERIMENTS:
        row = by_experiment.loc[experiment]
        mark = "" if row["verdict"] in ("right", verdict) else f" ({row['verdict']})"
        cells += [shown(row[ours]) + mark, shown(row[best])]
    return f"| {' | '.join([*cells, verdict])} |"


def shown(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


if __name__ == "__main__":
    main()
