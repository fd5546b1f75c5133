"""The commands as a user meets them, run in this process."""

import json
import re

import pytest
import yaml

from dlrun.cli.command_list import COMMANDS, COMMANDS_BY_PANEL
from dlrun.system.accelerator import ACCELERATORS
from tests.conftest import NAMES, Dlrun, setting

EXPERIMENTS = "The book's experiments", "Your own data"
EVERY = [[name] for name in (*NAMES, *COMMANDS["dlrun"])]
EVERY += [[group, name] for group in ("data", "runs") for name in COMMANDS[group]]


def test_help_lists_every_command_in_groups(cli: Dlrun) -> None:
    assert cli("--version").stdout.startswith("dlrun ")
    done = cli("--help").is_told(0)
    assert "--version" in done.stdout and "<bool>" not in done.stdout
    headings = re.findall("^(\\w.+):$", done.stdout, re.M)
    assert headings == ["Options", *EXPERIMENTS, *COMMANDS_BY_PANEL]
    listed = set(re.findall("^  ([a-z][a-z0-9-]*) ", done.stdout, re.M))
    assert {words[0] for words in EVERY} <= listed


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_has_examples_and_flags_have_no_type(cli: Dlrun, words: list[str]) -> None:
    """tests/test_docs.py parses the examples."""
    done = cli(*words, "--help", COLUMNS="80").is_told(0)
    examples = re.findall(rf"^  dlrun {' '.join(words)}\b", done.stdout, re.M)
    assert "Examples:" in done.stdout and examples
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "<bool>" not in done.stdout and "..]" not in done.stdout and "[[" not in done.stdout


@pytest.mark.parametrize(
    "command", ["config imdb-dense", "imdb-dense --dry-run", "imdb-dense --dry-run --json"]
)
def test_a_printed_config_has_no_control_character(cli: Dlrun, command: str) -> None:
    odd = "é\u2028\x9b\x1b"
    done = cli(*command.split(), *setting(f"reference.source={json.dumps(odd)}"))
    assert yaml.safe_load(done.stdout)["reference"]["source"] == odd
    assert all(line.isprintable() for line in done.stdout.split("\n"))


def test_accelerators_are_listed(forked: Dlrun) -> None:
    listed = forked("accelerators").is_told(0).stdout
    assert all(device in listed for device in ("cpu", *ACCELERATORS))
