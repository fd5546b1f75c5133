"""`dlrun script`: the files of examples/plain with a config's values, and what it refuses."""

from pathlib import Path

import pytest

from dlrun.cli.script import CONSTANT, SAMPLE, find_scripts
from dlrun.experiments import registry
from tests.conftest import LAB, ROOT, Dlrun, python

CARS = f"{ROOT}/examples/own/cars.csv data.target=price"


def constants(script: str) -> dict[str, object]:
    """The values of a script by the config's keys."""
    compile(script, "script", "exec")
    return {line[2]: eval(line[0].partition(" = ")[2]) for line in CONSTANT.finditer(script)}


@pytest.mark.parametrize("name", LAB)
def test_a_script_has_the_shipped_values(cli: Dlrun, name: str) -> None:
    script = cli("script", name).is_told(0).stdout
    assert script == find_scripts()[name].read_text(encoding="utf-8")
    shipped, found = registry.shipped_config(name).values, constants(script)
    assert found and found == {key: shipped[key] for key in found}
    assert SAMPLE in script or "data.source" not in shipped


def test_a_script_has_the_values_of_the_config(cli: Dlrun, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {hidden: [7, 3], dropout: 0.25}\nbatch_size: 16")
    words = "trainer.max_epochs=4", "--set", "seed=5", "optimizer.name=rmsprop"  # the last: shipped
    changed = constants(cli("script", "hitters-dense", "--config", "mine.yaml", *words).stdout)
    expected = {
        "model.hidden": [7, 3],
        "model.dropout": [0.25, 0.25],
        "batch_size": 16,
        "trainer.max_epochs": 4,
        "seed": 5,
    }
    assert changed == constants(cli("script", "hitters-dense").stdout) | expected


@pytest.mark.parametrize("words", ["imdb-dense", f"text-dense {ROOT}/examples/own/mails.csv"])
def test_a_script_has_one_dropout_for_all_layers(cli: Dlrun, words: str) -> None:
    dropout = "model.dropout=[0.3,0.3]"
    script = cli("script", *words.split(), dropout, "model.hidden=[32,32]").is_told(0).stdout
    assert constants(script)["model.dropout"] == 0.3
    cli("script", *words.split(), "model.dropout=[0.3,0]").is_told(2, "model.dropout")


def test_the_lasso_of_the_book_is_a_script(cli: Dlrun) -> None:
    script = cli("script", "hitters-lasso", "scale=false").is_told(0).stdout
    assert constants(script)["scale"] is False


def test_a_script_says_that_its_values_differ_and_has_the_runs_seed(cli: Dlrun) -> None:
    words = "data.split_seed=null", "seed=4", "threads=1", "accelerator=cpu"  # the last: no number
    script = cli("script", "hitters-dense", *words).is_told(0).stdout
    assert constants(script)["data.split_seed"] == constants(script)["seed"] == 4
    first, _, rest = script.partition("\n")
    assert first.startswith("# ") and "seed=4" in first and "threads" not in first
    assert cli("script", "hitters-dense", "threads=1").stdout.partition("\n")[0] in rest


def test_a_script_of_own_data_has_the_values_of_the_config(cli: Dlrun) -> None:
    values = "model.max_depth=3", "model.l2_regularization=0.5", "seed=7", "data.split_seed=2"
    script = cli("script", "table-boosting", *CARS.split(), *values).is_told(0).stdout
    found = constants(script)
    assert found["model.l2_regularization"] == 0.5 and found["model.max_depth"] == 3
    assert found["seed"] == 7 and found["data.split_seed"] == 2
    assert found["file.categories"] == ["maker"] and "file.dates" not in found
    assert script.startswith("# The same as `dlrun table-boosting ")


@pytest.mark.slow
def test_a_script_runs(cli: Dlrun, tmp_path: Path) -> None:
    values = "model.hidden=[7, 3]", "model.dropout=0.25", "data.source=sample"
    words = "script", "hitters-dense", *values, "--out", "own.py"
    assert cli(*words).is_told(0).stdout == ""
    done = python(tmp_path, "own.py", "--epochs", "1", DLRUN_OFFLINE="1").is_told(0)
    assert "epoch 1" in done.stdout and "test" in done.stdout
    cli(*words).is_told(2, "own.py", "--force")
    cli(*words, "--force").is_told(0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hitters-dense optimizer.name=adam seed=1 threads=1", "change optimizer.name"),
        ("hitters-dense trainer.precision=bf16-mixed", "trainer.precision"),
        ("hitters-dense scheduler.name=cosine", "scheduler.name"),
        ("hitters-dense optimizer.weight_decay=0.1", "it has trainer.max_epochs, "),
        ("imdb-lstm data.source=nosuch", "data.source"),
        ("imdb-lstm lr=0.1", "optimizer.lr"),
        ("text-dense", "data.path: no data are named"),
        (f"table-dense {CARS} optimizer.name=adam", "cannot change optimizer.name"),
        (f"table-boosting {CARS} model.l2_regularization=-1", "model.l2_regularization"),
        ("nosuch", "no experiment 'nosuch'"),
    ],
)
def test_what_a_script_lacks_is_an_error(cli: Dlrun, words: str, said: str) -> None:
    assert cli("script", *words.split()).is_told(2, said).stdout == ""
