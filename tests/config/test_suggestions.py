import pytest

from dlrun.config.sections import NetworkConfig, Section
from dlrun.config.validation import all_keys, allowed_values, suggest_key
from dlrun.experiments import registry


class Inner(Section):
    lr: float
    max_epochs: int


class Outer(Section):
    seed: int
    optimizer: Inner
    maximum: int


def test_all_keys_are_dotted_and_a_section_comes_before_its_keys() -> None:
    keys = ["seed", "optimizer", "optimizer.lr", "optimizer.max_epochs", "maximum"]
    assert list(all_keys(Outer)) == keys


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("epochs", "trainer.max_epochs"),
        ("lr", "optimizer.lr"),
        ("size", "batch_size"),
        ("optimiser", "optimizer"),
        ("optimiser.lr", "optimizer.lr"),
        ("optimizer.lrr", "optimizer.lr"),
        ("data.lr", "optimizer.lr"),
        ("trainer.seed", "seed"),
        ("max_epoch", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("hiden", "model.hidden"),
        ("zzzzqq", None),
    ],
)
def test_what_a_wrong_key_probably_means(wrong: str, right: str | None) -> None:
    schema = registry.config_class("imdb-dense")
    assert suggest_key(wrong.split("."), schema) == right


def test_a_sibling_comes_before_the_same_key_elsewhere() -> None:
    assert suggest_key(["optimizer", "seeds"], Outer) == "seed"
    assert suggest_key(["optimizer", "max_epoch"], Outer) == "optimizer.max_epochs"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("accelerator", ["auto", "cpu", "cuda", "mps"]),
        ("fallback", ["true", "false"]),
        ("threads", ["auto"]),
        ("optimizer.name", ["rmsprop", "adam", "adamw", "sgd"]),
        ("trainer.devices", ["auto"]),
        ("seed", []),
        ("seed.x", []),
        ("optimizer", []),
        ("nothing.x", []),
    ],
)
def test_the_values_that_a_type_lists(key: str, expected: list[str]) -> None:
    assert allowed_values(NetworkConfig, key) == expected
