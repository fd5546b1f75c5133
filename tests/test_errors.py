from dlrun.errors import Stopped, first_line, nearest
from dlrun.stopping import SIGNALS


def test_nearest_says_nothing_where_nothing_is_near() -> None:
    assert nearest("optimiser", ["seed", "optimizer"]) == "; did you mean 'optimizer'?"
    assert nearest("xyz", ["seed", "optimizer"]) == ""
    assert nearest("xyz", []) == ""


def test_the_first_line_of_an_error_is_short_and_never_empty() -> None:
    assert first_line(ValueError("\none\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 1000))) == 200


def test_a_stop_is_no_failure_and_has_its_signals_code() -> None:
    for number, stop in SIGNALS.items():
        assert stop.exit_code == 128 + number
        assert issubclass(stop, Stopped)
        assert not issubclass(stop, Exception)
