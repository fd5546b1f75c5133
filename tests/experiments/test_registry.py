"""Experiments from outside: good ones, broken ones, and what the command line makes of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import Values, read_yaml_file
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.experiments.base import Experiment
from tests.conftest import ROOT, Dlrun

DEFAULTS = ROOT / "configs" / "defaults"

CONFIG = """
from dlrun.experiment import ExperimentConfig

class Config(ExperimentConfig):
    resumable = False

    words: int
"""
WORKING = """
from dlrun.experiment import AcceleratorReport, DataOrigin, Experiment, Results

class Counting(Experiment):
    name = "{name}"

    def run(self, config, context):
        context.folder.write_text("words.txt", "word " * config.words)
        report = AcceleratorReport("cpu", "cpu", None)
        return Results({{"words": float(config.words)}}, report, DataOrigin("words"))

experiment = Counting()
"""
YAML = """# Counts words.
# Examples:
# dlrun {name}

defaults: [experiment]

accelerator: cpu
words: 3
"""


def plugin(
    folder: Path,
    name: str,
    *,
    code: str = WORKING,
    config: str = CONFIG,
    values: str | None = YAML,
    module: str | None = None,
    points_to: str | None = None,
) -> None:
    """A package as pip installs it, with one experiment."""
    module = module or name.replace("-", "_")
    package = folder / module
    (package / "configs").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(config)
    (package / "experiment.py").write_text(code.format(name=name))
    if values is not None:
        (package / "configs" / f"{name}.yaml").write_text(values.replace("{name}", name))
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    point = f"{name} = {points_to or module}\n"
    (about / "entry_points.txt").write_text(f"[dlrun.experiments]\n{point}")


def shared_values(name: str) -> Values:
    return read_yaml_file(DEFAULTS / f"{name}.yaml").values


@pytest.fixture
def plugins(tmp_path: Path) -> tuple[Path, Mapping[str, str]]:
    """A folder for packages, and the environment in which they are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    there = os.environ.get("PYTHONPATH")  # of a dlrun that is tested in place of the installed one
    return folder, {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), there)))}


def test_ours_are_found_with_their_yaml_and_by_a_near_name() -> None:
    for name in registry.experiment_names():
        entry = registry.experiment_entry(name)
        assert entry.help.strip() and entry.package == "dlrun" and entry.overlays("smoke")
        assert issubclass(registry.load_config_class(name), ExperimentConfig)
        assert isinstance(registry.load_experiment(name), Experiment)
        with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
            registry.experiment_entry(f"{name}x")


def test_an_experiment_without_its_entry_point_needs_a_new_install(
    cli: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text-tree.yaml").write_text("# Trees.\n")
    monkeypatch.setattr(registry, "config_folders", lambda package: [tmp_path])
    for words in (["text-tree"], ["config", "text-tree"]):
        cli(*words).is_told(2, "text-tree.yaml", "reinstall", "pip install -e .")


CHAPTER = """
hitters-linear hitters-lasso hitters-dense mnist-dense mnist-logistic cifar100 classify-images
imdb-dense imdb-lasso imdb-lstm nyse-linear nyse-rnn nyse-dense
""".split()


def test_their_order_is_the_chapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no place in the book comes last, by name."""
    ours = [name for name in registry.experiment_names() if name in CHAPTER]
    assert registry.sort_by_place(ours) == [name for name in CHAPTER if name in ours]
    places = {"b": [10, 9, 2], "a": [10, 9, 10], "z": [], "x": "10.9", "y": [10, 9, 2, 1]}
    shipped = {name: {"reference.place": place} for name, place in places.items()}
    monkeypatch.setattr(registry, "shipped_values", shipped.__getitem__)
    assert registry.sort_by_place(places) == ["b", "y", "a", "x", "z"]


def test_a_plugin_that_needs_neither_lightning_nor_steps(
    forked: Dlrun, tmp_path: Path, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    plugin(folder, "count-words")
    done = forked("count-words", "--set", "words=4", **env).is_told(0)
    assert "4.0000" in done.stdout
    (text,) = tmp_path.glob("runs/count-words/*Z-*/words.txt")
    assert text.read_text() == "word word word word "
    assert "nothing to resume" in forked("resume", "latest", **env).stderr


def test_a_run_of_other_code_is_not_resumed_and_verify_names_it(
    forked: Dlrun, tmp_path: Path, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    resumable = CONFIG.replace("resumable = False", "resumable = True")
    plugin(folder, "count-words", config=resumable)
    code = folder / "count_words" / "experiment.py"
    forked("count-words", "--name", "done", **env).is_told(0)
    working = code.read_text()
    code.write_text(working.replace("report =", "raise ValueError('killed')\n        report ="))
    forked("count-words", "--name", "killed", **env).is_told(1, "killed")
    code.write_text(working.replace("float(", "2 * float("))
    refused = forked("resume", "killed", **env).is_told(1, "count_words ", " then, ", "--force")
    assert "torch" not in refused.stderr
    verified = forked("verify", "done", "--json", **env).is_told(1)
    (cause,) = json.loads(verified.stdout)[0]["causes"]
    assert cause["name"].startswith("code: ")
    forked("resume", "killed", "--force", **env).is_told(0, "warning: ")
    code.write_text(working)
    forked("verify", "done", **env).is_told(0)


def test_plugins_that_are_left_out_have_a_warning_each(
    forked: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    plugin(folder, "no-yaml", values=None)
    plugin(folder, "no-package", points_to="no_such_package")
    plugin(folder, "resume", module="taker")
    plugin(folder, "Bad_Name", module="bad_name")
    plugin(folder, registry.experiment_names()[0], module="aaa")
    plugin(folder, "count-words")
    done = forked("--help", **env).is_told(0)
    assert "count-words" in done.stdout and "no-yaml" not in done.stdout
    assert "Continue a run" in done.stdout
    warnings = done.stderr.replace("\n", " ").split("warning:")[1:]
    for name, reason in (
        ("no-yaml", "no-yaml.yaml"),
        ("no-package", "no package no_such_package"),
        ("resume", ""),
        ("Bad_Name", "letters, digits and hyphens"),
        (registry.experiment_names()[0], "dlrun has one of that name"),
    ):
        (warning,) = [text for text in warnings if f"'{name}'" in text]
        assert reason in warning
    assert len(warnings) == 5
    done = forked("config", registry.experiment_names()[0], **env)
    assert done.returncode == 0 and "words" not in done.stdout


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"code": "import no_such_module"}, "ModuleNotFoundError"),
        ({"code": WORKING.replace('"{name}"', '"another"')}, "calls itself 'another'"),
        ({"config": "class Config: pass"}, "Config is no ExperimentConfig"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_and_the_others_work(
    forked: Dlrun, plugins: tuple[Path, Mapping[str, str]], broken: dict[str, str], reason: str
) -> None:
    folder, env = plugins
    plugin(folder, "broken", **broken)
    done = forked("broken", **env).is_told(1)
    assert "experiment 'broken' of the package broken" in done.stderr and reason in done.stderr
    assert "Traceback" not in done.stderr
    shown = forked(
        "data", "show", "imdb", "--count", "1", "--set", "data.source=sample", **env
    ).is_told(0)
    assert ("'broken'" in shown.stderr) == ("config" in broken)


def test_values_come_from_the_defaults_that_a_plugin_names_and_its_own_win(
    forked: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    plugin(folder, "count-words")
    shown = yaml.safe_load(forked("config", "count-words", **env).is_told(0).stdout)
    assert shown == {**shared_values("experiment"), "accelerator": "cpu", "words": 3}
    plugin(folder, "too-many", values=YAML.replace("experiment]", "experiment, network]"))
    done = forked("config", "too-many", **env).is_told(2)
    assert f"{DEFAULTS / 'network.yaml'}:" in done.stderr.replace("\n", "")


@pytest.mark.parametrize("names", ["[experiment, netwrk]", "network", "[[network]]", "null"])
def test_a_plugin_that_names_unknown_defaults_is_told_the_known_ones(
    forked: Dlrun, plugins: tuple[Path, Mapping[str, str]], names: str
) -> None:
    folder, env = plugins
    plugin(folder, "count-words", values=YAML.replace("[experiment]", names))
    done = forked("count-words", "--dry-run", **env).is_told(2, "count-words.yaml:5: defaults")
    known = [file.stem for file in DEFAULTS.glob("*.yaml")] if "netwrk" in names else []
    assert all(name in done.stderr for name in known)


def test_a_users_config_names_shipped_files_and_files_beside_it(cli: Dlrun, tmp_path: Path) -> None:
    def config(*files: str) -> dict[str, Any]:
        words = [word for file in files for word in ("--config", str(tmp_path / file))]
        return dict(yaml.safe_load(cli("config", "mnist-dense", *words).is_told(0).stdout))

    def refused(text: str, *words: str) -> None:
        (tmp_path / "bad.yaml").write_text(f"seed: 1\ndefaults: {text}\n")
        options = "--config", str(tmp_path / "bad.yaml")
        cli("config", "mnist-dense", *options).is_told(2, "bad.yaml:2: defaults", *words)

    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "sgd.yaml").write_text("optimizer: {name: sgd, lr: 0.1}\nseed: 5\n")
    (tmp_path / "mine.yaml").write_text("defaults: [mnist-dense, ours/sgd.yaml]\nseed: 7\n")
    shipped = config()
    changed = {"optimizer": {"name": "sgd", "lr": 0.1}, "seed": 7}
    assert config("mine.yaml") == shipped | changed
    (tmp_path / "first.yaml").write_text("batch_size: 7\nseed: 3\n")
    assert config("first.yaml", "mine.yaml") == shipped | changed  # mnist-dense sets it again
    (tmp_path / "ours" / "loop.yaml").write_text("defaults: [../bad.yaml]\n")
    options = "--config", str(tmp_path / "bad.yaml")
    refused("[netwrk]", "did you mean 'network'")
    refused("[network.optimiser]", "no section 'optimiser'")
    refused("[ours/adam.yaml]", "no file ours/adam.yaml", str(tmp_path))
    (tmp_path / "bad.yaml").write_text("defaults: [ours/loop.yaml]\n")
    cli("config", "mnist-dense", *options).is_told(2, "loop.yaml:1: defaults", "leads back")


def test_a_check_that_raises_is_one_message(
    forked: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    check = "\n    def check(self, runs_dir):\n        raise KeyError('lost')\n"
    plugin(folder, "checks-badly", config=CONFIG + check)
    done = forked("checks-badly", **env).is_told(1)
    assert "'checks-badly'" in done.stderr and "KeyError: 'lost'" in done.stderr
    assert "Traceback" not in done.stderr and "bug in dlrun" not in done.stderr
    assert "Traceback" in forked("checks-badly", "--debug", **env).stderr
