"""JSON that is printed has no character that controls a terminal."""

import json

from dlrun.system.json_text import to_json

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b31m\u202eb"


def test_json_keeps_every_character_and_shows_none_that_controls() -> None:
    about = {"label": HOSTILE, "é😀": ["\x7f\x85\n"]}
    text = to_json(about)
    assert json.loads(text) == about
    assert "é😀" in text
    assert all(line.isprintable() for line in text.split("\n"))
