"""Experiments from outside: good ones, broken ones, and what the command line makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import read_yaml_file
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.experiments.shipped_config import ShippedConfig
from tests.conftest import ROOT, Dlrun
from tests.experiments.plugins import CONFIG, WORKING, YAML, Plugins, plugin

DEFAULTS = ROOT / "configs" / "defaults"

RAISING_CHECK = """
    def check(self):
        raise KeyError('lost')
"""
WITH_CHECK = CONFIG.replace("    words: int\n", f"    words: int\n{RAISING_CHECK}")


def test_ours_are_found_with_their_yaml_and_by_a_near_name() -> None:
    for name in registry.experiment_names():
        experiment = registry.find_experiment(name)
        shipped = experiment.shipped
        assert shipped.help.strip() and shipped.package == "dlrun" and shipped.overlays("smoke")
        assert (experiment.name, experiment.package) == (name, "dlrun")
        assert issubclass(experiment.config, ExperimentConfig)
        assert experiment.load_implementation().experiment is experiment
        with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
            registry.shipped_config(f"{name}x")


CHAPTER = """
hitters-linear hitters-lasso hitters-dense mnist-dense mnist-logistic cifar100 classify-images
imdb-dense imdb-lasso imdb-lstm nyse-linear nyse-rnn nyse-dense
""".split()


def test_their_order_is_the_chapters() -> None:
    assert registry.experiments_with_published_numbers() == CHAPTER


def test_an_experiment_without_a_place_in_the_book_comes_last(tmp_path: Path) -> None:
    places = {"b": "[10, 9, 2]", "a": "[10, 9, 10]", "z": "null", "y": "[10, 9, 2, 1]"}
    for name, place in places.items():
        (tmp_path / f"{name}.yaml").write_text(f"reference: {{place: {place}}}\n")
    shipped = [ShippedConfig(name, "own", tmp_path) for name in places]
    ordered = sorted(shipped, key=lambda one: one.place_in_book)
    assert [one.name for one in ordered] == ["b", "y", "a", "z"]


def test_a_plugin_needs_no_lightning_or_steps(
    forked: Dlrun, tmp_path: Path, plugins: Plugins
) -> None:
    folder, env = plugins
    plugin(folder, "count-words")
    done = forked("count-words", "--set", "words=4", **env).is_told(0)
    assert "4.0000" in done.stdout
    (text,) = tmp_path.glob("runs/count-words/*Z-*/words.txt")
    assert text.read_text() == "word word word word "
    assert "nothing to resume" in forked("resume", "latest", **env).stderr


def test_other_code_is_not_resumed_and_verify_names_it(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    resumable = CONFIG.replace("resumable=False", "resumable=True")
    plugin(folder, "count-words", config=resumable)
    code = folder / "count_words" / "implementation.py"
    forked("count-words", "--name", "done", **env).is_told(0)
    working = code.read_text()
    code.write_text(working.replace("report =", "raise ValueError('killed')\n        report ="))
    forked("count-words", "--name", "killed", **env).is_told(1, "killed")
    code.write_text(working.replace("float(", "2 * float("))
    forked("resume", "killed", **env).is_told(1, "count_words ", " then, ", "--force")
    verified = forked("verify", "done", "--json", **env).is_told(1)
    assert json.loads(verified.stdout)[0]["causes"] == ["code"]
    forked("resume", "killed", "--force", **env).is_told(0, "warning: ")


RESUME_CHANGES_WORDS = """
    words: int

    @property
    def keys_to_resume(self):
        return super().keys_to_resume | {"words"}
"""


@pytest.mark.parametrize("may_change", [True, False])
def test_a_config_class_says_what_a_resume_may_change(
    forked: Dlrun, plugins: Plugins, may_change: bool
) -> None:
    folder, env = plugins
    config = CONFIG.replace("resumable=False", "resumable=True")
    if may_change:
        config = config.replace("    words: int\n", RESUME_CHANGES_WORDS)
    failing = WORKING.replace("report =", "1 / (config.words - 3)\n        report =")
    plugin(folder, "count-words", config=config, code=failing)
    forked("count-words", **env).is_told(1, "ZeroDivisionError")
    exit_code = 0 if may_change else 2
    forked("resume", "latest", "words=4", **env).is_told(exit_code)


OURS = registry.experiment_names()[0]
LEFT_OUT: dict[str, tuple[str, dict[str, Any]]] = {
    "no-yaml": ("no-yaml.yaml", {"values": None}),
    "no-package": ("no package no_such_package", {"points_to": "no_such_package"}),
    "resume": ("", {"module": "taker"}),
    OURS: ("dlrun has one of that name", {"module": "aaa"}),
}


def test_a_plugin_that_is_left_out_has_a_warning(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    plugin(folder, "count-words", values=f"{YAML}reference: of its own\n")
    for name, (_, options) in LEFT_OUT.items():
        plugin(folder, name, **options)
    done = forked("--help", **env).is_told(0)
    assert "count-words" in done.stdout.partition("Experiments of other packages:")[2]
    assert "no-yaml" not in done.stdout
    assert "Continue a run" in done.stdout
    warnings = done.stderr.replace("\n", " ").split("warning:")[1:]
    for name, (reason, _) in LEFT_OUT.items():
        (warning,) = [text for text in warnings if f"'{name}'" in text]
        assert reason in warning
    assert len(warnings) == len(LEFT_OUT)
    assert "words" not in forked("config", OURS, **env).is_told(0).stdout


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"code": "import no_such_module"}, "ModuleNotFoundError"),
        ({"config": CONFIG.replace("(ExperimentConfig)", "")}, "is no ExperimentConfig"),
        ({"config": "EXPERIMENT = 3"}, "is no Experiment"),
        ({"config": CONFIG.replace("{name}", "another")}, "declares 'another'"),
        ({"code": "class Counting: pass"}, "is no Implementation"),
        ({"points_to": "broken"}, "is no Experiment"),
        ({"config": CONFIG.replace("    stochastic=False,\n", "")}, "stochastic"),
        ({"config": WITH_CHECK}, "KeyError: 'lost'"),
        ({"code": WORKING.replace("float(config.words)", '"abc"')}, "is not a number"),
        ({"code": WORKING.replace("float(config.words)", "1 / 0")}, "ZeroDivisionError"),
        ({"code": WORKING.replace("float(config.words)", "exit(0)")}, "SystemExit"),
    ],
)
def test_a_bug_of_a_plugin_names_it(
    forked: Dlrun, plugins: Plugins, broken: dict[str, str], reason: str
) -> None:
    folder, env = plugins
    plugin(folder, "broken", **broken)
    forked("broken", **env).is_told(1, "broken", reason)
    if "config" in broken:  # the others work
        shown = forked("data", "fetch", "imdb", "data.source=sample", **env).is_told(0)
        assert ("'broken'" in shown.stderr) == ("KeyError" not in reason)


def test_the_traceback_of_a_plugins_bug_is_shown_on_demand(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    plugin(folder, "broken", config=WITH_CHECK)
    assert "Traceback" in forked("broken", "--debug", **env).stderr


def test_a_metric_may_have_any_name_and_kind_of_number(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    code = WORKING.replace("float(config.words)", 'numpy.int64(5), "[/b]": 0.5')
    plugin(folder, "odd", code=f"import numpy\n{code}")
    assert "[/b]" in forked("odd", **env).is_told(0).stdout


def test_a_plugins_own_values_win_over_the_defaults_it_names(
    forked: Dlrun, plugins: Plugins
) -> None:
    folder, env = plugins
    plugin(folder, "count-words")
    shown = yaml.safe_load(forked("config", "count-words", **env).is_told(0).stdout)
    shared = read_yaml_file(DEFAULTS / "experiment.yaml").values
    assert shown == {**shared, "accelerator": "cpu", "words": 3}
    plugin(folder, "too-many", values=YAML.replace("experiment]", "experiment, network]"))
    done = forked("config", "too-many", **env).is_told(2)
    assert f"{DEFAULTS / 'network.yaml'}:" in done.stderr.replace("\n", "")


@pytest.mark.parametrize("names", ["[experiment, netwrk]", "network"])
def test_unknown_defaults_of_a_plugin(forked: Dlrun, plugins: Plugins, names: str) -> None:
    folder, env = plugins
    plugin(folder, "count-words", values=YAML.replace("[experiment]", names))
    done = forked("count-words", "--dry-run", **env).is_told(2, "count-words.yaml:5: defaults")
    known = [file.stem for file in DEFAULTS.glob("*.yaml")] if "netwrk" in names else []
    assert all(name in done.stderr for name in known)


def test_a_users_config_names_shipped_files_and_files_beside_it(cli: Dlrun, tmp_path: Path) -> None:
    def config(*files: str) -> dict[str, Any]:
        words = [word for file in files for word in ("--config", str(tmp_path / file))]
        return dict(yaml.safe_load(cli("config", "mnist-dense", *words).is_told(0).stdout))

    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "sgd.yaml").write_text("optimizer: {name: sgd, lr: 0.1}\nseed: 5\n")
    (tmp_path / "mine.yaml").write_text("defaults: [mnist-dense, ours/sgd.yaml]\nseed: 7\n")
    shipped = config()
    changed = {"optimizer": shipped["optimizer"] | {"name": "sgd", "lr": 0.1}, "seed": 7}
    assert config("mine.yaml") == shipped | changed
    (tmp_path / "first.yaml").write_text("batch_size: 7\nseed: 3\n")
    assert config("first.yaml", "mine.yaml") == shipped | changed  # mnist-dense sets it again
    (tmp_path / "ours" / "loop.yaml").write_text("defaults: [../bad.yaml]\n")
    for defaults, told in (
        ("[netwrk]", "did you mean 'network'"),
        ("[ours/adam.yaml]", "no file ours/adam.yaml"),
        ("[ours/loop.yaml]", "leads back"),
    ):
        (tmp_path / "bad.yaml").write_text(f"defaults: {defaults}\n")
        cli("config", "mnist-dense", "--config", "bad.yaml").is_told(2, ".yaml:1: defaults", told)
