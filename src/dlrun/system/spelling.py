"""Find the known name that a misspelt one probably stands for."""

import difflib
from collections.abc import Iterable

SIMILARITY = 0.75  # of a name that is suggested; `note` and `notebook` have 0.67


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """None means that no known name is similar to the misspelt one."""
    similar = difflib.get_close_matches(name, list(names), 1, SIMILARITY)
    return similar[0] if similar else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The text `; did you mean 'x'?` ends a sentence; it is empty if no known name is similar."""
    similar = closest_name(name, names)
    return f"; did you mean {similar!r}?" if similar else ""


def sort_by_similarity(name: str, names: Iterable[str]) -> list[str]:
    """The known names that are the most similar to a misspelt one come first."""
    lower = name.lower()

    def similarity(known: str) -> float:
        return difflib.SequenceMatcher(None, lower, known.lower()).ratio()

    return sorted(sorted(names), key=similarity, reverse=True)
