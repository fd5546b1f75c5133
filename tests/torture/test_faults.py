"""What the machine can refuse: one message, the finished epochs stay, the run can be resumed."""

import errno
import random
from pathlib import Path

import pytest

from dlrun.runs.run import Run
from tests.child import Fault
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.harness import begun_run, run
from tests.torture.conftest import (
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    go_on,
)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("experiment", EXAMPLES)
def test_a_disk_that_is_full_at_an_operation_is_one_message_and_can_be_resumed(
    tmp_path: Path, experiment: str, lasting: bool, torture: bool, undisturbed: Reference
) -> None:
    whole = undisturbed(experiment)
    every = range(1, whole.operations + 1)
    moments = every if torture else random.Random(experiment).sample(every, 3)
    for at in moments:
        lab = tmp_path / str(at)
        ended = run(lab, *whole.arguments, fault=Fault(at, errno.ENOSPC, lasting))
        assert ended.returncode in (0, 1, 2), (at, ended)
        ended.is_told(ended.returncode)
        begun = begun_run(lab, experiment)
        if begun is None:
            assert ended.returncode != 0
            continue
        assert_nothing_is_half_written(lab, whole)
        state = Run.open(begun).state
        # If nothing can be written any more, the record cannot say that the run failed.
        assert state == ("failed" if ended.returncode else "finished") or (
            lasting and state == "killed"
        )
        ended = run(lab, *go_on(lab, whole))
        assert_as_undisturbed(lab, whole, ended, figures=False)  # one that failed is a warning
