from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dlrun.config.validation import config_to_yaml
from dlrun.config.yaml_loader import config_layer_from_values, parse_set_overrides
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions
from tests.conftest import NAMES, NETWORKS, ROOT, Patch

CONFIGS = ROOT / "configs"
OVERLAYS = sorted([*CONFIGS.glob("smoke/*.yaml"), *CONFIGS.glob("demo/*.yaml")])


def dense(*overrides: str, files: tuple[Path, ...] = ()) -> Any:
    return load_experiment_config(
        find_experiment("imdb-dense"),
        RunOptions(config=files, values=parse_set_overrides(overrides)),
    )


def problems(*overrides: str, files: tuple[Path, ...] = (), name: str = "imdb-dense") -> list[str]:
    """Return the sentences of the error, without what stands before the origin of each."""
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(
            find_experiment(name), RunOptions(config=files, values=parse_set_overrides(overrides))
        )
    assert caught.value.exit_code == 2
    assert f"dlrun config {name}" in caught.value.hint
    assert all(problem in caught.value.message for problem in caught.value.problems)
    return caught.value.problems


def problem(override: str) -> str:
    """Return what is said about one `--set` text, behind the text itself."""
    (said,) = problems(override)
    assert said.startswith(f"{override}: ")
    return said.removeprefix(f"{override}: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_default_is_frozen_and_repeated_by_its_yaml(name: str, tmp_path: Path) -> None:
    config = load_experiment_config(
        find_experiment(name), RunOptions(values=parse_set_overrides(["seed=7"]))
    )
    assert isinstance(config, registry.find_experiment(name).config)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
    file = tmp_path / "config.yaml"
    file.write_text(config_to_yaml(config), encoding="utf-8")
    assert load_experiment_config(find_experiment(name), RunOptions(config=[file])) == config


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_shipped_overlay_is_valid_and_keeps_the_network(overlay: Path) -> None:
    small = load_experiment_config(find_experiment(overlay.stem), RunOptions(config=[overlay]))
    full = load_experiment_config(find_experiment(overlay.stem), RunOptions())
    assert small != full
    if overlay.stem in NETWORKS:
        assert getattr(small, "model", None) == getattr(full, "model", None)
    if overlay.stem != "classify-images":
        assert small.source in ("sample", None) or overlay.parent.name == "demo"


def test_layers_in_order_the_later_wins(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("seed: 1\nbatch_size: 8\noptimizer: {lr: 0.5}\n")
    two.write_text("seed: 2\n")
    config = dense("batch_size=9", "batch_size=10", files=(one, two))
    assert (config.seed, config.batch_size, config.optimizer.lr) == (2, 10, 0.5)
    assert config.optimizer.name == "rmsprop"
    values = [config_layer_from_values({"seed": 3, "optimizer": {"lr": -1}}, "run(...)")]
    given = parse_set_overrides(["seed=2", "optimizer.lr=0.5"])
    options = RunOptions(values=[*given, *values])
    with pytest.raises(ConfigError, match=r"^run\(\.\.\.\): optimizer\.lr: expected .*, got -1$"):
        load_experiment_config(find_experiment("imdb-dense"), options)


def test_all_errors_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "seed: -1\nbatch_size: big\noptimizer:\n  name: adm\n  lr: 0\n"
        "trianer: {max_epochs: 3}\ndata:\n  validation: 1.5\nmodel: {hidden: [16, 0]}\n"
    )
    found = problems("fallback=no", files=(file,))
    expected = {
        f"{file}:1: seed: ": "got -1",
        f"{file}:2: batch_size: ": "got 'big'",
        f"{file}:4: optimizer.name: ": "did you mean 'adam'?",
        f"{file}:5: optimizer.lr: ": "got 0",
        f"{file}:6: trianer: ": "did you mean 'trainer'?",
        f"{file}:8: data.validation: ": "got 1.5",
        f"{file}:9: model.hidden.1: ": "got 0",
        "fallback=no: fallback: ": "got 'no'",
    }
    assert len(found) == len(expected)
    for (where, what), said in zip(sorted(expected.items()), sorted(found), strict=True):
        assert said.startswith(where) and said.endswith(what)


def test_keys_that_do_not_fit_together_are_named_with_the_origin_of_one() -> None:
    (said,) = problems("data.fold=3", "data.split_seed=1", name="hitters-lasso")
    assert said.startswith("data.fold=3: data.fold: ") and "dlrun sweep --folds N" in said


def test_a_value_for_a_list_gets_the_spelling_of_a_list() -> None:
    assert problem("model.hidden=100").endswith("did you mean 'model.hidden=[100]'?")


def test_paths_become_absolute(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dense("data.archive=~/a.tar.gz").data.archive == tmp_path / "a.tar.gz"
    assert dense("data.archive=b/../a.tar.gz").data.archive == Path.cwd() / "a.tar.gz"
    assert dense("data.archive=null").data.archive is None


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epochs", "trainer.max_epochs"),
        ("lr", "optimizer.lr"),
        ("weight_decay", "optimizer.weight_decay"),
        ("trainer.momentun", "optimizer.momentum"),
        ("zzzzqq", None),
    ],
)
def test_the_key_that_an_unknown_one_stands_for(wrong: str, right: str | None) -> None:
    suggested = f"did you mean {right!r}?" if right else "seed, "
    assert suggested in problem(f"{wrong}=1")


def test_a_value_stands_for_no_section_elsewhere() -> None:
    assert "did you mean" not in problem("data.optimizer=1")
    assert "did you mean 'optimizer'?" in problem("data.optimizer={lr: 1}")


def test_a_key_that_is_null_has_the_default_of_torch() -> None:
    assert dense().optimizer.arguments == {"lr": 0.001}
    section = dense("optimizer={name: sgd, momentum: 0.9}").optimizer
    assert section.arguments == {"lr": 0.001, "momentum": 0.9}


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("optimizer={name: adam, momentum: 0.9}", "momentum", "only rmsprop and sgd"),
        ("optimizer={name: sgd, momentum: 1.0}", "momentum", "1.0"),
        ("optimizer={name: sgd, nesterov: true}", "nesterov", "unknown key"),
        ("optimizer={name: sgdd}", "name", "did you mean 'sgd'?"),
        ("scheduler={name: cosine, warmup_epochs: 30}", "warmup_epochs", "30"),
        ("scheduler={name: step}", "name", "step needs step_size"),
        ("scheduler={name: none, gamma: 0.5}", "gamma", "only step and plateau"),
        ("scheduler={name: plateau, step_size: 3}", "step_size", "only step"),
        ("scheduler={name: cosine, patience: 3}", "patience", "only plateau"),
        ("metrics={mae: higher}", "", "mae"),  # it is dlrun's own
        ("metrics={test_ece: higher}", "", "ece"),  # it is of every stage
    ],
)
def test_a_value_that_does_not_fit_is_named(override: str, key: str, said: str) -> None:
    found, section = problem(override), override.partition("=")[0]
    assert found.startswith(f"{section}.{key}: " if key else section) and said in found


def test_a_dotted_key_in_a_file_has_its_spelling(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("optimizer.lr: 0.1\n")
    (said,) = problems(files=(file,))
    assert said.endswith("write optimizer: {lr: ...}")
