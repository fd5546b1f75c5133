"""Help."""

import pytest

from tests.conftest import NETWORKS, Dlrun


@pytest.mark.parametrize("words", [[], [NETWORKS[0]], ["runs", "list"], ["data"], ["resume"]])
def test_no_type_stands_beside_a_flag(dlrun: Dlrun, words: list[str]) -> None:
    done = dlrun(*words, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout and "bool" not in done.stdout
