"""The scripts that `dlrun script` prints for own data predict what dlrun predicts.

`test_plain.py` holds the loops of their networks and dlrun's together.
"""

import ast
import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dlrun
from dlrun.cli.script import CONSTANT, find_scripts
from dlrun.config.yaml_loader import format_override
from dlrun.data.labelled_texts import generate_reviews
from dlrun.experiments import registry
from tests.conftest import ROOT, Dlrun

EXAMPLES = ROOT / "examples" / "own"
# Functions of these names do in each script what its model needs.
OF_ONE_SCRIPT = ("main", "fit", "predict", "train_epoch")

# Each model's largest difference of a prediction, as a share where the value is above 1.
BOUNDS = {"table-linear": 1e-9, "table-lasso": 1e-9, "table-boosting": 1e-9}
QUICK = {"table-lasso": {"path.values": 6, "path.smallest": 0.1}}
WORDS = "the a car boat house with garden roof old new painted rusty large small in on".split()


def messy_rows(count: int = 300) -> pd.DataFrame:
    """A table as people have them: gaps, words, dates, and a target that depends on some."""
    random = np.random.default_rng(3)
    size = random.normal(50, 12, count).round(2)
    town = random.choice(["Zürich", "Genève", "Biel", "Bern"], count, p=[0.4, 0.3, 0.2, 0.1])
    has_lift = random.random(count) < 0.5
    days = random.integers(0, 2000, count)
    sold = pd.Timestamp("2019-03-05") + pd.to_timedelta(days, "D")
    texts = [" ".join(random.choice(WORDS, 9)) for _ in range(count)]
    price = 3 * size + 20 * has_lift + 30 * (town == "Bern") + days / 50
    price = price + 10 * np.array(["rusty" in text for text in texts]) + random.normal(0, 5, count)
    rows = pd.DataFrame(
        {
            "nr": [f"h{number:04}" for number in range(count)],
            "size": size.astype(str),
            "rent": [f"${1000 + value:,.2f}" for value in 20 * size],
            "town": town,
            "lift": np.where(has_lift, "Yes", "no"),
            "sold": sold.strftime("%d.%m.%Y"),
            "remark": texts,
            "owner": random.choice([f"o{number}" for number in range(30)], count),
            "same": "x",
            "price": price.round(3).astype(str),
        }
    )
    for column, gap in {"size": "?", "town": "n/a", "lift": "", "sold": "-", "price": "NA"}.items():
        rows.loc[random.random(count) < 0.05, column] = gap
    rows.loc[random.random(count) < 0.05, "remark"] = ""
    rows["town"] = rows["town"].where(random.random(count) < 0.9, rows["town"] + " ")
    rows["class"] = np.where(
        price > np.quantile(price, 0.7), "10", np.where(price > 200, "9", "no")
    )
    return rows


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = messy_rows()
    rows.to_csv(tmp_path / "messy.csv", sep=";", encoding="cp1252", index=False)
    rows[:200].to_csv(tmp_path / "first.csv", index=False)
    rows[200:].to_csv(tmp_path / "second.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLRUN_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("DLRUN_DATA_DIR", str(tmp_path / "data"))


def printed_script(cli: Dlrun, experiment: str, **values: object) -> str:
    words = [format_override(key, value) for key, value in values.items()]
    return cli("script", experiment, *words).is_told(0).stdout


def run_script(script: str) -> str:
    """Run a script, which writes its predictions into own.csv; return what it prints."""
    module = ModuleType("script")
    exec(script, vars(module))
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", ["script", "--predictions", "own.csv"])
        module.main()
    return said.getvalue()


def predictions_of_script(script: str) -> pd.DataFrame:
    """What a script predicts for the test rows."""
    run_script(script)
    return pd.read_csv("own.csv", dtype={"label": str})


def predictions_of_run(experiment: str, **values: object) -> pd.DataFrame:
    run = dlrun.run(experiment, quiet=True, accelerator="cpu", threads=1, figures=False, **values)
    return pd.read_csv(run.folder / "predictions.csv", dtype={"label": str})


def largest_difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """By what the predicted values or probabilities differ, as a share where they are above 1."""
    assert len(ours) == len(theirs)
    if "label" in ours:
        assert ours["label"].tolist() == theirs["label"].tolist()
        assert ours["predicted"].astype(str).tolist() == theirs["predicted"].astype(str).tolist()
        return float((ours["probability"] - theirs["probability"]).abs().max())
    assert np.allclose(ours["target"], theirs["target"], rtol=1e-12)
    differences = (ours["predicted"] - theirs["predicted"]).abs()
    return float((differences / theirs["predicted"].abs().clip(lower=1)).max())


MESSY = {"data.path": "messy.csv", "data.target": "price", "data.ignore": ["nr", "class"]}
CLASSES = {"data.path": "messy.csv", "data.target": "class", "data.task": "classification"}
TWO = {"data.path": "messy.csv", "data.target": "lift", "data.task": "classification"}
FILES = {"data.path": "first.csv", "data.test": "second.csv", "data.target": "price"}
TABLES: dict[str, dict[str, Any]] = {
    "values": MESSY,
    "rows with gaps dropped": MESSY | {"data.missing": "drop", "data.id": "nr"},
    "classes": CLASSES,
    "two classes": TWO | {"data.kinds": {"nr": "text"}},
    "groups": MESSY | {"data.group": "owner"},
    "time": MESSY | {"data.time": "sold"},
    "time that no model reads": MESSY | {"data.time": "sold", "data.ignore": ["sold"]},
    "a fold": MESSY | {"data.fold": 2, "data.folds": 5, "seed": 4},
    "a fold of classes": CLASSES | {"data.fold": 1, "data.folds": 3},
    "a fold of groups": MESSY | {"data.group": "owner", "data.fold": 1, "data.folds": 4},
    "a test file": FILES | {"data.split_seed": 3},
    "standardised": MESSY | {"data.standardise": True, "data.test_share": 0.3},
    "declared kinds": MESSY | {"data.kinds": {"size": "category", "town": "text"}},
    "test files by time": FILES | {"data.time": "sold"},
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.parametrize("experiment", BOUNDS)
def test_a_script_predicts_what_dlrun_predicts(cli: Dlrun, experiment: str, case: str) -> None:
    values = TABLES[case] | QUICK.get(experiment, {})
    script = printed_script(cli, experiment, **values)
    difference = largest_difference(
        predictions_of_script(script), predictions_of_run(experiment, **values)
    )
    print(f"{experiment} {case}: {difference:.1e}")
    assert difference <= BOUNDS[experiment]


FORMS = [
    "comment.csv",
    "named_rows.csv",
    "blanks.txt",
    "units.csv",
    "zones.csv",
    "table.parquet",
    "table.xlsx",
]


def write_forms() -> None:
    """The table of `messy_rows` as several programs write it."""
    rows = messy_rows(120).drop(columns=["nr", "class", "same"])
    Path("comment.csv").write_text("# by us\n# in 2020\n" + rows.to_csv(index=False, sep="\t"))
    rows.to_csv("named_rows.csv", encoding="utf-16")
    numbers = rows[["size", "owner", "price"]].replace({"size": {"?": "NA"}})
    lines = numbers.to_csv(sep=" ", index=False).splitlines()
    named = [f"r{number} {line}" for number, line in enumerate(lines[1:])]
    Path("blanks.txt").write_text("\n".join([lines[0], *named]) + "\n")  # as R writes it
    shares = [price if price == "NA" else f"{price} %" for price in rows["price"]]
    rows.assign(price=shares).to_csv("units.csv", index=False)
    dates = pd.to_datetime(rows["sold"], format="%d.%m.%Y", errors="coerce")
    hours = pd.to_timedelta(np.arange(len(rows)) % 24, "h")
    times = (dates + hours).dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")
    rows.assign(sold=times).to_csv("zones.csv", index=False)
    typed = rows.assign(sold=dates, size=pd.to_numeric(rows["size"], "coerce"))
    typed = typed.assign(lift=typed["lift"].map({"Yes": True, "no": False}).astype("boolean"))
    typed = typed.assign(price=pd.to_numeric(rows["price"], "coerce"))
    typed.astype({"town": "category"}).to_parquet("table.parquet")
    typed.to_excel("table.xlsx", index=False)


@pytest.mark.parametrize("file", FORMS)
def test_a_script_reads_what_dlrun_reads(cli: Dlrun, file: str) -> None:
    write_forms()
    values = {"data.path": file, "data.target": "price"}
    ours = predictions_of_script(printed_script(cli, "table-linear", **values))
    assert largest_difference(ours, predictions_of_run("table-linear", **values)) < 1e-9


def test_a_file_that_pandas_reads_otherwise_is_an_error(cli: Dlrun) -> None:
    lines = [
        f"{place},{number},{number * 3}\n" for number, place in enumerate(["Zürich", "Bern"] * 20)
    ]
    content = "".join(lines)
    Path("mixed.csv").write_bytes(b"town,x,y\n" + content.encode() + content.encode("cp1252"))
    cli("script", "table-linear", "mixed.csv", "data.target=y").is_told(2, "mixed.csv", "UTF-8")


def test_a_script_has_only_the_steps_that_the_file_needs(cli: Dlrun) -> None:
    for experiment in ("table-linear", "table-lasso", "table-boosting", "table-dense"):
        plain = printed_script(
            cli, experiment, **FILES | {"data.path": f"{EXAMPLES}/cars.csv", "data.test": None}
        )
        messy = printed_script(cli, experiment, **MESSY)
        assert "to_datetime" not in plain and "GAPS" not in plain and "GroupKFold" not in plain
        assert "to_datetime" in messy and "GAPS" in messy and "CountVectorizer" in messy
        assert "file.classes" not in messy and "data.group" not in messy
        assert len(plain.splitlines()) < len(messy.splitlines())


def test_scripts_of_own_data_have_the_shipped_values() -> None:
    for name, file in find_scripts().items():
        shipped = registry.shipped_config(name).values
        if "data.path" not in shipped:
            continue
        script = file.read_text(encoding="utf-8")
        assert "import dlrun" not in script and "from dlrun" not in script
        for line in CONSTANT.finditer(script):
            is_of_file = line[2].startswith("file.") or line[2] in ("data.path", "data.target")
            if not is_of_file and line[2] != "data.split_seed":
                assert ast.literal_eval(line[0].partition(" = ")[2]) == shipped[line[2]], line[2]


def test_functions_of_one_name_are_the_same_in_all_scripts_of_own_tables_or_texts() -> None:
    for kind in ("table", "text"):
        functions: dict[str, set[str]] = {}
        for file in (ROOT / "examples" / "plain").glob(f"{kind}_*.py"):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.name not in OF_ONE_SCRIPT:
                    functions.setdefault(node.name, set()).add(ast.unparse(node))
        assert len(functions) > 5
        assert [name for name, texts in functions.items() if len(texts) > 1] == []


def write_texts(count: int = 400) -> None:
    """Texts of three classes as a table, and as folders, once with a training and a test part."""
    texts, labels = generate_reviews(count, seed=2)
    classes = ["good" if label else "bad" for label in labels]
    for number in range(0, count, 3):
        texts[number], classes[number] = texts[number][:50], "kurz"
    pd.DataFrame({"mail": texts, "kind": classes}).to_csv("mails.csv", sep=";", index=False)
    for number, (text, name) in enumerate(zip(texts, classes, strict=True)):
        for folder in ("all", "parts/test" if number % 4 == 0 else "parts/train"):
            place = Path(folder, name, f"{number % 3}")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.txt").write_text(text)


TEXTS: dict[str, dict[str, Any]] = {
    "a table": {"data.path": "mails.csv", "data.text_column": "mail", "data.label_column": "kind"},
    "folders": {"data.path": "all", "data.num_words": 60, "seed": 3},
    "two parts": {"data.path": "parts", "data.validation": 50},
    "a fold": {"data.path": "all", "data.folds": 4, "data.fold": 2},
}


@pytest.mark.parametrize("case", TEXTS)
def test_the_lasso_of_texts_predicts_what_dlrun_predicts(cli: Dlrun, case: str) -> None:
    """Both solvers stop near the solution: classes are equal, and probabilities nearly so."""
    write_texts()
    values = TEXTS[case] | {"path.values": 8, "path.smallest": 0.1, "tolerance": 1e-8}
    ours = predictions_of_script(printed_script(cli, "text-lasso", **values))
    theirs = predictions_of_run("text-lasso", **values)
    assert largest_difference(ours, theirs) < 1e-3


NETWORKS: dict[str, dict[str, Any]] = {
    "table-dense": CLASSES | {"data.ignore": ["nr"], "trainer.max_epochs": 20},
    "text-dense": TEXTS["folders"] | {"trainer.max_epochs": 60, "batch_size": 64},
    "text-lstm": TEXTS["a table"]
    | {"data.max_length": 80, "batch_size": 32, "trainer.max_epochs": 6},
    "image-cnn": {
        "data.path": "photos",
        "data.test_share": 0.5,
        "trainer.max_epochs": 6,
        "model.channels": [8, 8, 8],
        "batch_size": 8,
    },
}


def write_photos() -> None:
    """Noisy images of three colours: upright or not, transparent, large, of one byte a pixel."""
    random = np.random.default_rng(5)
    for place, colour in enumerate(("blue", "green", "red")):
        folder = Path("photos", colour)
        folder.mkdir(parents=True)
        for number in range(16):
            pixels = random.integers(0, 120, (60, 40 + number, 3), np.uint8)
            pixels[..., 2 - place] += 120
            image = Image.fromarray(pixels)
            image.save(folder / f"{number}.png")
            if number == 1:
                exif = Image.Exif()
                exif[0x0112] = 6
                image.resize((700, 500)).save(folder / "large.jpg", exif=exif)
            if number == 2:
                image.putalpha(100)
                image.save(folder / "glass.webp")
            if number == 3:
                image.quantize(16).save(folder / "small.gif")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", NETWORKS)
def test_a_network_of_several_classes_is_as_good_as_dlruns(cli: Dlrun, experiment: str) -> None:
    """Beside two seeds of dlrun, with the same test rows."""
    write_texts()
    write_photos()
    values = NETWORKS[experiment] | {"data.split_seed": 3}
    said = run_script(printed_script(cli, experiment, **values))
    (accuracy,) = map(float, re.findall(r"^test accuracy (\S+)$", said, re.MULTILINE))
    theirs = [predictions_of_run(experiment, **values | {"seed": seed}) for seed in (0, 1)]
    accuracies = [(rows["label"] == rows["predicted"].astype(str)).mean() for rows in theirs]
    print(f"{experiment}: {accuracy}, dlrun {accuracies}")
    assert pd.read_csv("own.csv")["label"].astype(str).tolist() == theirs[0]["label"].tolist()
    assert min(accuracies) - 0.1 < accuracy < max(accuracies) + 0.1
    assert accuracy > 0.5
