"""The JSON Schemas of the configs: printed, shipped, named by each shipped file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from dlrun.config.json_schema import config_json_schema
from dlrun.config.yaml_loader import read_yaml_file
from dlrun.experiments import registry
from tests.conftest import NAMES, ROOT, Dlrun

CONFIGS = ROOT / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))


def shipped(name: str) -> dict[str, Any]:
    layers = registry.experiment_entry(name).layers
    return config_json_schema(registry.load_config_class(name), layers, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_printed_schema_accepts_the_shipped_values(cli: Dlrun, name: str) -> None:
    printed = json.loads(cli("config", name, "--schema").is_told(0).stdout)
    assert printed == shipped(name)
    Draft7Validator.check_schema(printed)
    Draft7Validator(printed).validate(registry.experiment_entry(name).shipped.values)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_each_file_names_a_schema_by_which_it_is_valid(file: Path) -> None:
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(.+)$", file.read_text(), re.M)
    schema = (file.parent / named).resolve()
    assert schema.parent == ROOT / "build" / "schemas"  # of `make schemas`
    if file.parent.name != "defaults":
        assert schema.stem == file.stem
    Draft7Validator(shipped(schema.stem)).validate(read_yaml_file(file).values)


def test_comments_are_descriptions_and_values_are_defaults() -> None:
    schema = shipped("imdb-dense")
    properties, sections = schema["properties"], schema["$defs"]
    file = (CONFIGS / "defaults" / "experiment.yaml").read_text(encoding="utf-8")
    assert f"# {properties['seed']['description']}\n" in file
    assert properties["seed"]["default"] == 0
    rate = sections["OptimizerConfig"]["properties"]["lr"]
    assert rate["default"] == 0.001 and "learning rate" in rate["description"]
    source = sections["ReviewsDataConfig"]["properties"]["source"]
    assert source["enum"] == ["stanford", "sample"]
    validation = sections["ReviewsDataConfig"]["properties"]["validation"]
    assert validation["description"].endswith("at most 2,000")  # of the next line
    assert "Defines" not in json.dumps(schema)  # no docstring
