import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dlrun.config.schema import Section
from dlrun.config.validation import read_layers, to_yaml, validate
from dlrun.config.yaml_loader import layer_from_values
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import load_config
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"
NAMES = [entry.name for entry in registry.entries() if entry.package == "dlrun"]
DENSE = registry.entry("imdb-dense").defaults
OVERLAYS = sorted([*CONFIGS.glob("smoke/*.yaml"), *CONFIGS.glob("demo/*.yaml")])


def dense(*overrides: str, files: tuple[Path, ...] = ()) -> Any:
    return load_config("imdb-dense", RunSettings(config=files, overrides=overrides))


def faults(*overrides: str, files: tuple[Path, ...] = (), name: str = "imdb-dense") -> list[str]:
    """The lines of the message, one for each fault."""
    with pytest.raises(ConfigError) as caught:
        load_config(name, RunSettings(config=files, overrides=overrides))
    assert caught.value.exit_code == 2
    assert caught.value.hint == f"`dlrun config {name}` prints every key with its default"
    head, *lines = caught.value.message.split("\n")
    if not lines:
        return [head]
    assert head == f"{len(lines)} faults in the config:"
    return [line.strip() for line in lines]


def problem(override: str, name: str = "imdb-dense") -> str:
    """What is said about one `--set` text, behind the text itself."""
    (fault,) = faults(override, name=name)
    assert fault.startswith(f"--set {override}: ")
    return fault.removeprefix(f"--set {override}: ")


def test_every_folder_holds_configs() -> None:
    lab = {"cifar100", "classify-images", "imdb-dense", "imdb-lasso", "imdb-lstm"}
    assert lab <= set(NAMES)
    for kind in ("smoke", "demo"):
        assert [path for path in OVERLAYS if path.parent.name == kind], kind
    assert {path.stem for path in OVERLAYS if path.parent.name == "smoke"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_default_is_valid_and_frozen(name: str) -> None:
    config = load_config(name, RunSettings())
    assert isinstance(config, registry.config_class(name))
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_shipped_overlay_is_valid_and_changes_something(overlay: Path) -> None:
    assert load_config(overlay.stem, RunSettings(config=[overlay])) != load_config(
        overlay.stem, RunSettings()
    )


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_shipped_overlay_keeps_the_network(overlay: Path) -> None:
    small = load_config(overlay.stem, RunSettings(config=[overlay]))
    full = load_config(overlay.stem, RunSettings())
    if overlay.stem != "classify-images":
        assert getattr(small, "model", None) == getattr(full, "model", None)
        assert small.source == "sample" or overlay.parent.name == "demo"


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_yaml_repeats_the_config(name: str, tmp_path: Path) -> None:
    config = load_config(name, RunSettings(overrides=["seed=7"]))
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(name, RunSettings(config=[file])) == config


def test_the_resolved_yaml_repeats_awkward_values(tmp_path: Path) -> None:
    config = dense(
        "reference.source='1e5'",
        "optimizer.lr=1e-7",
        "trainer.devices=[0, 3]",
        "data.archive='~/Sch\u00f6n: #1.tar.gz'",
        "data.mirrors=['010', 'no', '', \"a'b\"]",
    )
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert dense(files=(file,)) == config
    assert config.reference.source == "1e5"


def test_layers_in_order_the_later_wins(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("seed: 1\nbatch_size: 8\noptimizer: {lr: 0.5}\n")
    two.write_text("seed: 2\n")
    config = dense("batch_size=9", "batch_size=10", files=(one, two))
    assert (config.seed, config.batch_size, config.optimizer.lr) == (2, 10, 0.5)
    assert config.optimizer.name == "rmsprop"


def test_all_faults_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "seed: -1\n"
        "batch_size: big\n"
        "optimizer:\n"
        "  name: adm\n"
        "  lr: 0\n"
        "trianer: {max_epochs: 3}\n"
        "data:\n"
        "  validation: 1.5\n"
        "model: {hidden: [16, 0]}\n"
    )
    assert sorted(faults("fallback=no", files=(file,))) == sorted(
        [
            f"{file}:1: seed: expected a value greater than or equal to 0, got -1",
            f"{file}:2: batch_size: expected a whole number, got 'big'",
            f"{file}:4: optimizer.name: expected 'rmsprop', 'adam', 'adamw' or 'sgd', got 'adm'"
            "; did you mean 'adam'?",
            f"{file}:5: optimizer.lr: expected a value greater than 0, got 0",
            f"{file}:6: trianer: unknown key; did you mean 'trainer'?",
            f"{file}:8: data.validation: expected a whole number or a value less than 1, got 1.5",
            f"{file}:9: model.hidden.1: expected a value greater than or equal to 1, got 0",
            "--set fallback=no: fallback: expected true or false, got 'no'",
        ]
    )


def test_a_fault_of_a_default_that_an_overlay_left_names_the_default(tmp_path: Path) -> None:
    schema = registry.config_class("imdb-dense")
    layer = read_layers("imdb-dense", [DENSE])
    layer.values["trainer"]["max_epochs"] = 0
    with pytest.raises(ConfigError, match=r"configs/imdb-dense\.yaml:\d+: trainer\.max_epochs"):
        validate(schema, layer, "imdb-dense")


def test_faults_of_every_source_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\n")
    missing = tmp_path / "missing.yaml"
    assert faults("seed", "=1", files=(broken, missing)) == [
        f"{broken}:2: not valid YAML: expected ',' or ']', but got '<stream end>'",
        f"{missing}: no such config file",
        "--set seed: expected KEY=VALUE, such as seed=3",
        "--set =1: expected KEY=VALUE, such as seed=3",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimzer={lr: 1}", "optimzer: unknown key; did you mean 'optimizer'?"),
        ("optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean 'lr'?"),
        ("lr=1", "lr: unknown key; did you mean 'optimizer.lr'?"),
        ("max_epochs=1", "max_epochs: unknown key; did you mean 'trainer.max_epochs'?"),
        ("data.lr=1", "data.lr: unknown key; did you mean 'optimizer.lr'?"),
        ("zzzzqq=1", "zzzzqq: unknown key"),
        ("SEED=1", "SEED: unknown key"),
        ("optimizer.name=SGDD", "expected 'rmsprop', 'adam', 'adamw' or 'sgd', got 'SGDD'"),
    ],
)
def test_did_you_mean(override: str, expected: str) -> None:
    assert expected in problem(override)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=true", "seed: expected a whole number, got True"),
        ("seed='1'", "seed: expected a whole number, got '1'"),
        ("seed=1.0", "seed: expected a whole number, got 1.0"),
        ("seed=", "seed: expected a whole number, got nothing"),
        ("seed=4294967296", "seed: expected a value less than 4294967296, got 4294967296"),
        ("seed=[1]", "seed: expected a whole number, got [1]"),
        ("seed.sub=1", "seed: expected a whole number, got {'sub': 1}"),
        ("fallback=1", "fallback: expected true or false, got 1"),
        ("optimizer=5", "optimizer: expected 'key: value' lines, got 5"),
        ("optimizer.lr=.nan", "optimizer.lr: expected a finite number, got nan"),
        ("optimizer.lr=1e400", "optimizer.lr: expected a finite number, got inf"),
        ("optimizer.lr=-1e-3", "optimizer.lr: expected a value greater than 0, got -0.001"),
        ("model.hidden=[]", "model.hidden: expected"),
        ("data.archive=5", "data.archive: expected a path, got 5"),
        ("data.archive=~nobody-here/x", "data.archive: there is no home folder for ~nobody-here/x"),
        ("data.mirrors=x", "data.mirrors: expected a list, got 'x'"),
        ("data.mirrors=[5]", "data.mirrors.0: expected a text, got 5"),
        ("reference.book={a: x}", "reference.book.a: expected a number, got 'x'"),
        ("trainer={max_epochs: x}", "trainer.max_epochs: expected a whole number, got 'x'"),
    ],
)
def test_wrong_types_and_values(override: str, expected: str) -> None:
    assert problem(override).startswith(expected)


def test_numbers_beyond_every_float_are_refused() -> None:
    assert ": optimizer.lr: expected a number, got 1111" in faults(f"optimizer.lr={'1' * 400}")[0]


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("[0, 2]", [0, 2]), ("auto", "auto")])
def test_each_member_of_a_union_is_accepted(text: str, value: object) -> None:
    assert dense(f"trainer.devices={text}").trainer.devices == value


@pytest.mark.parametrize(
    ("text", "got"), [("x", "'x'"), ("1.5", "1.5"), ("{a: 1}", "{'a': 1}"), ("null", "nothing")]
)
def test_one_fault_names_what_every_member_of_a_union_expects(text: str, got: str) -> None:
    assert problem(f"trainer.devices={text}") == (
        f"trainer.devices: expected a whole number or a list or 'auto', got {got}"
    )


def test_an_item_in_a_union_is_named_by_its_key_and_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("trainer:\n  devices:\n    - 0\n    - -1\n")
    assert faults(files=(file,)) == [
        f"{file}:2: trainer.devices: expected a whole number or 'auto', got [0, -1]",
        f"{file}:4: trainer.devices.1: expected a value greater than or equal to 0, got -1",
    ]


def test_a_missing_key_is_named_under_its_section() -> None:
    class Inner(Section):
        there: int
        wanted: int

    class Outer(Section):
        inner: Inner
        top: int

    layer = read_layers("imdb-dense", [layer_from_values({"inner": {"there": 1}}, "some.yaml:4")])
    with pytest.raises(ConfigError) as caught:
        validate(Outer, layer, "imdb-dense")
    assert caught.value.message.split("\n")[1:] == [
        "  some.yaml:4: inner.wanted: this key must be given",
        "  defaults: top: this key must be given",
    ]


def test_long_values_are_cut_in_a_fault() -> None:
    (fault,) = faults(f"seed={'x' * 500}")
    assert fault.endswith("xxx...")


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dense("data.archive=~/a.tar.gz").data.archive == tmp_path / "a.tar.gz"
    assert dense("data.archive=b/../a.tar.gz").data.archive == Path.cwd() / "a.tar.gz"
    assert dense("data.archive=null").data.archive is None


def test_a_whole_number_is_a_number() -> None:
    learning_rate = dense("optimizer.lr=1").optimizer.lr
    assert learning_rate == 1.0 and math.isfinite(learning_rate)


def test_an_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no experiment 'imdb-dens'; did you mean 'imdb-dense'"):
        load_config("imdb-dens", RunSettings())


def test_a_layer_of_values_comes_last_and_names_its_origin() -> None:
    values = [layer_from_values({"seed": 3, "optimizer": {"lr": -1}}, "run(...)")]
    options = RunSettings(overrides=["seed=2", "optimizer.lr=0.5"], values=values)
    with pytest.raises(ConfigError, match=r"^run\(\.\.\.\): optimizer\.lr: expected .*, got -1$"):
        load_config("imdb-dense", options)
    options = RunSettings(overrides=["seed=2"], values=[layer_from_values({"seed": 3}, "run(...)")])
    assert load_config("imdb-dense", options).seed == 3
