"""Fix what is predicted in each table, by rules alone: python benchmarks/tables/plan.py

Writes plan.csv. Nobody chose a table or a target by hand, and no result of dlrun is read here.
"""

import tempfile
from pathlib import Path

import pandas as pd
from files import UnreadableError, digest, find_tables, read_table, read_text

PLAN = Path(__file__).with_name("plan.csv")
FEWEST_ROWS = 30
MORE_THAN_CLASSES = 10  # different numbers make a regression
MOST_CLASSES = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        rows = [plan(name, path) for name, path in find_tables(Path(work)).items()]
    table = pd.DataFrame(rows)
    table.to_csv(PLAN, index=False)
    compared = table[table["skipped"] == ""]
    print(f"{len(table)} files, {len(compared)} to compare")
    print(compared["task"].value_counts().to_string())
    print(table[["table", "skipped", "no_reference"]][table["skipped"] != ""].to_string())


def plan(name: str, path: Path) -> dict[str, object]:
    """Return a file's row of plan.csv: its target and task, or why there are none.

    skipped: why the file is not run. no_reference: why scikit-learn has no table to fit; then the
    target is the last name of the first line, and the only right answer is an error or a warning.
    """
    text = read_text(path)
    row: dict[str, object] = {
        "table": name,
        "sha256": digest(path)[:16],
        "rows": len(text.records) - 1,
        "columns": len(text.header),
        "task": "regression",
        "target": text.header[-1],
        "skipped": "",
        "no_reference": "",
    }
    if len(text.records) - 1 < FEWEST_ROWS:
        return row | {"skipped": f"fewer than {FEWEST_ROWS} rows"}
    if len(text.header) < 2:
        return row | {"skipped": "one column"}
    try:
        table = read_table(text)
    except UnreadableError as error:
        return row | {"no_reference": str(error)}
    if table.shape[1] < 2:
        return row | {"skipped": "one column besides the names of the rows"}
    for column in reversed(table.columns):
        if task := task_of(table[column]):
            return row | {"task": task, "target": column}
    return row | {"skipped": "no column is a target by the rules"}


def task_of(column: pd.Series) -> str | None:
    """Return how a column can be predicted: the last column that can be is the target.

    Numbers of more than 10 different values are a regression; 2 to 20 different words, and 2 to 10
    different numbers, are classes.
    """
    values = column.dropna()
    different = values.nunique()
    if len(values) < FEWEST_ROWS:
        return None
    if pd.api.types.is_numeric_dtype(values) and different > MORE_THAN_CLASSES:
        return "regression"
    return "classification" if 2 <= different <= MOST_CLASSES else None


if __name__ == "__main__":
    main()
