"""The shipped configs, the template's and the example's: keys that they share read the same."""

import re
from collections import defaultdict
from pathlib import Path

from tests.conftest import ROOT

FILES = [
    *ROOT.glob("configs/*.yaml"),
    *ROOT.glob("src/dlrun/commands/template/src/*/configs/*.yaml"),
    *ROOT.glob("examples/*/src/*/configs/*.yaml"),
]
# What these mean depends on the experiment.
OWN = {"seed", "accelerator", "fallback", "batch_size", "model.hidden", "optimizer.lr"}
OWN |= {"data.source", "data.path", "data.test", "data.validation", "reference", "reference.book"}


def comments(file: Path) -> dict[str, str]:
    """Return the comment of each key, by dotted keys."""
    found: dict[str, str] = {}
    keys: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        code, _, comment = line.partition("# ")
        if match := re.match(r"( *)([\w ]+):", code):
            keys = [*keys[: len(match[1]) // 2], match[2]]
            found[".".join(keys)] = comment.strip()
        elif keys and code == " " * len(code) and comment:
            found[".".join(keys)] += f" {comment.strip()}"
    return found


def test_a_shared_key_has_the_same_comment_in_every_file() -> None:
    assert len(FILES) == 7
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for file in FILES:
        for key, text in comments(file).items():
            texts[key].setdefault(text, file.name)
    assert {"threads", "logger", "trainer.precision", "data.mirrors"} <= texts.keys() - OWN
    assert {key: found for key, found in texts.items() if len(found) > 1}.keys() == OWN
