"""How many processes a run has, where its environment says so."""

import pytest

from dlrun.errors import ConfigError
from dlrun.runs.execute import resolve
from dlrun.runs.options import Options
from dlrun.runs.ranks import as_started, is_helper

TWO = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


def started(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("sets", [[], ["trainer.devices=2"], ["trainer.devices=auto"]])
def test_torchrun_says_devices_and_nodes(monkeypatch: pytest.MonkeyPatch, sets: list[str]) -> None:
    started(monkeypatch, **TWO)
    config = resolve("imdb-dense", Options(overrides=sets))
    assert config.world == 4
    trainer = config.model_dump()["trainer"]
    assert (trainer["devices"], trainer["num_nodes"], trainer["strategy"]) == (2, 2, "ddp")


@pytest.mark.parametrize(
    ("name", "sets", "words"),
    [
        ("imdb-dense", ["trainer.devices=3"], "3 devices .* torchrun started 2 of 4 processes"),
        ("imdb-dense", ["trainer.num_nodes=4"], "4 nodes"),
        ("imdb-lasso", [], "runs in one"),
    ],
)
def test_another_number_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, name: str, sets: list[str], words: str
) -> None:
    started(monkeypatch, **TWO)
    with pytest.raises(ConfigError, match=words):
        resolve(name, Options(overrides=sets))


def test_nodes_that_nobody_started_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Options(overrides=["trainer.num_nodes=2"])
    with pytest.raises(ConfigError, match="which of them this is"):
        resolve("imdb-dense", nodes)
    started(monkeypatch, NODE_RANK="0")
    assert resolve("imdb-dense", nodes).world == 2
    assert not is_helper(resolve("imdb-dense", nodes))
    started(monkeypatch, NODE_RANK="1")
    assert is_helper(resolve("imdb-dense", nodes))


def test_a_run_that_is_resumed_takes_what_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve("imdb-dense", Options(overrides=["trainer.devices=3"]))
    started(monkeypatch, **TWO)
    assert as_started(config, whatever_it_says=True).world == 4
