"""What a user should know of their data, a line for each kind."""


class Oddities:
    """Of each kind of oddity the first place, and how many there are."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, place: object, count: int = 1) -> None:
        """One more of a kind, or several; `place` is the first one's file, or file and line."""
        self._first.setdefault(what, str(place))
        self._counts[what] = self._counts.get(what, 0) + count

    def lines(self) -> list[str]:
        """A warning for each kind."""
        return [
            f"{place}: {what}" + (f" (and {more:,} more)" if more else "")
            for what, place in self._first.items()
            for more in [self._counts[what] - 1]
        ]
