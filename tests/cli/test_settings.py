"""Settings KEY=VALUE after the name of an experiment."""

import json
import shlex
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.conftest import Dlrun, setting

DENSE = "imdb-dense"


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("config imdb-dense seed=3 optimizer.lr=0.5", "--set seed=3 --set optimizer.lr=0.5"),
        ("config text-dense 'model.hidden=[4, 5]' data.text_column=a=b", None),
        ("classify-images --dry-run model.name=efficientnet-lite0 top=5", None),
    ],
)
def test_a_setting_after_the_experiment_is_set(cli: Dlrun, words: str, same: str | None) -> None:
    """`same`: the options that say the same; None: each setting behind a --set."""
    given = shlex.split(words)
    plain = [word for word in given if "=" not in word]
    options = shlex.split(same) if same else setting(*(word for word in given if "=" in word))
    done = cli(*given).is_told(0)
    assert done.stdout == cli(*plain, *options).is_told(0).stdout
    assert yaml.safe_load(done.stdout)


@pytest.mark.parametrize(
    "words", ["config hitters-linear", "sweep hitters-linear --folds 2 --dry-run --json"]
)
def test_the_last_setting_wins_and_an_option_before_an_argument(cli: Dlrun, words: str) -> None:
    command = [*words.split(), "data.source=sample"]
    for settings in ("seed=1 seed=2", "--set seed=1 --set seed=2", "--set seed=2 seed=1"):
        values = yaml.safe_load(cli(*command, *settings.split()).is_told(0).stdout)  # or JSON
        if "experiments" in values:
            (swept,) = values["experiments"]
            values = swept["base"]
        assert values["seed"] == 2


def test_a_photograph_named_with_an_equals_sign_is_no_setting(cli: Dlrun, tmp_path: Path) -> None:
    for name in ("top=1", "sub=a.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name, "PNG")
    done = cli("classify-images", "--dry-run", "top=1", "batch_size=3", tmp_path / "sub=a.jpg")
    config = yaml.safe_load(done.stdout)
    assert config["images"] == [str(tmp_path / "top=1"), str(tmp_path / "sub=a.jpg")]
    assert (config["batch_size"], config["top"]) == (3, 3)


def test_other_commands_with_set_take_settings_too(cli: Dlrun) -> None:
    assert cli("data", "fetch", "imdb", "data.source=sample").is_told(0).stdout
    cli("resume", "nothing", "trainer.max_epochs=3").is_told(2, "no such run")


def test_a_setting_with_commas_is_a_grid_of_a_sweep(cli: Dlrun) -> None:
    words = ["optimizer.lr=0.1,0.2", "seed=0,1", "model.hidden=[4,5]", "--dry-run", "--json"]
    done = cli("sweep", DENSE, *words).is_told(0)
    points = [point["settings"] for point in json.loads(done.stdout)["points"]]
    assert points == [{"seed": seed, "optimizer.lr": lr} for lr in (0.1, 0.2) for seed in (0, 1)]
    cli("sweep", DENSE, "lr=0.1,0.2", "--dry-run").is_told(2, "'optimizer.lr'?")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (f"{DENSE} --seeds 3 batch_size=9", f"dlrun sweep {DENSE} --seeds 3 batch_size=9"),
        (f"{DENSE} learning_rate=0.1", "optimizer.lr"),
    ],
)
def test_a_likely_mistake_is_told_what_is_meant(cli: Dlrun, typed: str, meant: str) -> None:
    cli(*typed.split()).is_told(2, meant)


@pytest.mark.parametrize("name", ["imdb-lstm", "table-boosting", "classify-images"])
def test_the_schema_of_config_files_has_all_keys_and_requires_none(cli: Dlrun, name: str) -> None:
    schema = json.loads(cli("config", name, "--schema").is_told(0).stdout)
    values = yaml.safe_load(cli("config", name).is_told(0).stdout)
    assert schema["properties"].keys() == {"defaults", *values}
    assert schema["additionalProperties"] is False
    sections = [schema, *schema["$defs"].values()]
    assert not any("required" in section for section in sections)
    if name == "imdb-lstm":
        optimizer = schema["$defs"]["OptimizerConfig"]["properties"]["name"]
        assert optimizer["enum"] == ["rmsprop", "adam", "adamw", "sgd"]
