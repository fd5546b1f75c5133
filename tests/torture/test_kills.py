"""A run that is killed or stopped at any moment, and resumed, ends as one that never was."""

import random
import signal
from pathlib import Path

import pytest

from tests.child import Fault
from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import SMALL, run, start, wait_until
from tests.torture.conftest import (
    PHOTOGRAPHS,
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    go_on,
)

MOMENTS = [(experiment, signal.SIGKILL) for experiment in SMALL]
MOMENTS += [(PHOTOGRAPHS, signal.SIGTERM), (PHOTOGRAPHS, signal.SIGINT)]
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize(("experiment", "number"), MOMENTS)
def test_signals_at_random_moments_change_no_bit_of_the_outcome(
    tmp_path: Path,
    experiment: str,
    number: int,
    torture: bool,
    tally: Tally,
    undisturbed: Reference,
) -> None:
    wanted = (200 if experiment == NETWORK else 40) if torture else 2
    whole, moments = undisturbed(experiment), random.Random(f"{experiment} {number}")
    signals = chains = 0
    while signals < wanted:
        lab, chains = tmp_path / str(chains), chains + 1
        arguments = whole.arguments
        while True:
            child = start(lab, *arguments)
            if number != signal.SIGKILL:  # others once dlrun has begun
                wait_until(lambda: child.output("operations") != "", child)  # noqa: B023
            ended = child.end(moments.uniform(0, whole.seconds), number)
            if ended.returncode != CODES[number]:
                break
            signals += 1
            assert_nothing_is_half_written(lab, whole)
            arguments = go_on(lab, whole)
        assert_as_undisturbed(lab, whole, ended)
    name = signal.Signals(number).name
    tally(f"{experiment}: {name} at random moments, resumed to the same bits", signals)


@pytest.mark.parametrize("experiment", [*EXAMPLES, PHOTOGRAPHS])
def test_a_kill_before_each_file_operation_changes_no_bit_of_the_outcome(
    tmp_path: Path, experiment: str, torture: bool, tally: Tally, undisturbed: Reference
) -> None:
    whole = undisturbed(experiment)
    every = range(1, whole.operations + 1)
    moments = every if torture else random.Random(0).sample(every, 4)
    for at in moments:
        lab = tmp_path / str(at)
        ended = run(lab, *whole.arguments, fault=Fault(at))
        assert ended.returncode == -signal.SIGKILL, at
        assert_nothing_is_half_written(lab, whole)
        assert_as_undisturbed(lab, whole, run(lab, *go_on(lab, whole)))
    tally(f"{experiment}: kills before each file operation, resumed to the same bits", len(moments))
