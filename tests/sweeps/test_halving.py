"""Successive halving, from its first rung to its last."""

from pathlib import Path

import pandas as pd
import pytest

from dlrun.experiments import registry
from tests.conftest import Dlrun, overlaid, setting
from tests.experiments.test_resume import outcome
from tests.sweeps.use import named, runs, words


@pytest.mark.slow
def test_the_best_by_validation_go_on(forked: Dlrun, tmp_path: Path) -> None:
    """Judged by pandas from the runs' own tables; who came through is as trained at one go."""
    rates = [0.0001, 0.001, 0.01, 0.1]
    grid = ["--grid", f"optimizer.lr={','.join(map(str, rates))}", "--seeds", "2"]
    sets = setting("trainer.max_epochs=4", "batch_size=50", "predictions=false")
    halving = ["--halving", "--eta", "2", "--name", "s", *sets]
    done = forked(*words(*grid, *halving, experiment="imdb-dense"))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("rung")]
    assert said == [
        "rung 1: 4 configs to 1 epoch",
        "rung 2: 2 configs to 2 epochs",
        "rung 3: 1 config to 4 epochs",
    ]
    found = runs(tmp_path, "imdb-dense")
    living = dict(enumerate(rates))
    for epochs, keep in ((1, 2), (2, 1)):
        scores = {
            place: sum(
                pd.read_csv(found[2 * place + seed + 1] / "metrics.csv")["valid_accuracy"][
                    epochs - 1
                ]
                for seed in (0, 1)
            )
            for place in living
        }
        best = sorted(scores, key=lambda place: -scores[place])[:keep]
        living = {place: rates[place] for place in best}
    lengths = [len(pd.read_csv(run / "metrics.csv")) for run in found.values()]
    assert sorted(lengths) == [1, 1, 1, 1, 2, 2, 4, 4]
    (winner,) = living
    assert lengths[2 * winner : 2 * winner + 2] == [4, 4]
    assert f"best   lr={rates[winner]}" in done.stdout.replace("e-05", "")
    smoke = overlaid("imdb-dense", *registry.experiment_entry("imdb-dense").overlays("smoke"))
    alone = setting("seed=1", f"optimizer.lr={rates[winner]}")
    assert forked(*smoke, *sets, *alone, "--name", "alone").returncode == 0
    (run,) = named(tmp_path, "alone", "imdb-dense")
    assert outcome(run) == outcome(found[2 * winner + 2])
