"""The files for a forge, an editor and a reader name only targets that the Makefile has."""

import re
from pathlib import Path

import pytest

from dlrun.experiments import registry
from tests.conftest import ROOT

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
OTHERS = [ROOT / ".pre-commit-config.yaml", ROOT / ".devcontainer" / "devcontainer.json"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])
TARGET = re.compile(r"\bmake (?:[A-Z]+=\S+ )*([a-z][a-z-]*)")


@pytest.mark.parametrize("file", [*WORKFLOWS, *OTHERS, *PAGES], ids=lambda file: file.name)
def test_make_has_the_targets_that_are_named(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = {*re.findall(r"^([a-z-]+):", makefile, re.M), *registry.experiment_names()}
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        text = " ".join(re.findall(r"```sh\n.*?```|`[^`\n]+`", text, re.DOTALL))
    named = {*TARGET.findall(text)}
    for values in re.findall(r"^ *target: \[(.+)\]", text, re.M):  # of a workflow's matrix
        named |= {*values.split(", ")}
    assert named <= known
    assert named or file.suffix == ".md"


def test_a_workflow_only_calls_make() -> None:
    assert len(WORKFLOWS) > 1
    for workflow in WORKFLOWS:
        commands = re.findall(r"- run: (.*)", workflow.read_text(encoding="utf-8"))
        assert commands and all(command.startswith("make ") for command in commands)
