"""Text for a terminal is aligned as it is shown."""

from dlrun.system.text import format_text_table


def test_a_table_is_aligned_by_what_a_terminal_shows() -> None:
    rows = [["key", "n", "text"], ["世界", "10", "a"], ["b", "5", "longer"]]
    lines = ["key    n  text", "世界  10  a", "b      5  longer"]
    assert format_text_table(rows, left=(0, 2)) == lines
    assert format_text_table([["a", "b"], ["cc", ""]], gap=1) == ["a  b", "cc"]
    assert format_text_table([]) == []
