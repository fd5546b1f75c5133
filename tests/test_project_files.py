"""The files for a forge, an editor and a citation: that they can be read, and name what exists."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlrun.experiments import registry
from tests.conftest import ROOT

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
FORMS = sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))
HOOKS, CITATION = ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"
EDITOR = ROOT / ".devcontainer" / "devcontainer.json"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])
TARGET = re.compile(r"\bmake (?:[A-Z]+=\S+ )*([a-z][a-z-]*)")


def read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)


def steps(workflow: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each step that runs a command, with its job."""
    jobs = read(workflow)["jobs"].values()
    return [(job, step) for job in jobs for step in job["steps"] if "run" in step]


def commands(file: Path) -> list[str]:
    """The commands in a file; of a workflow, for each value of the matrix."""
    if file.suffix == ".md":
        blocks = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", file.read_text(encoding="utf-8"), re.S)
        return [one for pair in blocks for one in pair]
    if file in WORKFLOWS:
        found = []
        for job, step in steps(file):
            targets = job.get("strategy", {}).get("matrix", {}).get("target", [""])
            found += [step["run"].replace("${{ matrix.target }}", one) for one in targets]
        return found
    return [file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", [*WORKFLOWS, HOOKS, EDITOR, *PAGES], ids=lambda file: file.name)
def test_make_has_the_targets_that_are_named(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = {*re.findall(r"^([a-z-]+):", makefile, re.M), *registry.experiment_names()}
    named = [target for command in commands(file) for target in TARGET.findall(command)]
    assert {*named} <= known
    assert named or file.suffix == ".md"


def test_a_workflow_only_calls_make() -> None:
    assert len(WORKFLOWS) > 1
    for workflow in WORKFLOWS:
        assert all(step["run"].startswith("make ") for _, step in steps(workflow))


def test_forms_ask_something() -> None:
    forms = [read(form) for form in FORMS if form.stem != "config"]
    assert len(forms) > 1
    for form in forms:
        asked = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert form["name"] and form["description"] and len({*asked}) == len(asked) > 1


def test_the_citation_names_the_book() -> None:
    citation = read(CITATION)
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    (book,) = citation["references"]
    assert book["type"] == "book" and len(book["authors"]) == 5
