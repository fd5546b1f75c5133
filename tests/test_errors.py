from dlrun.errors import Stopped, did_you_mean, first_line
from dlrun.system.signals import SIGNALS


def test_nearest_says_nothing_where_nothing_is_near() -> None:
    assert did_you_mean("optimiser", ["seed", "optimizer"]) == "; did you mean 'optimizer'?"
    assert did_you_mean("xyz", ["seed", "optimizer"]) == ""
    assert did_you_mean("xyz", []) == ""


def test_the_first_line_of_an_error_is_short_and_never_empty() -> None:
    assert first_line(ValueError("\none\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 1000))) == 200


def test_a_stop_is_no_failure_and_has_its_signals_code() -> None:
    for number, stop in SIGNALS.items():
        assert stop.exit_code == 128 + number
        assert issubclass(stop, Stopped)
        assert not issubclass(stop, Exception)
