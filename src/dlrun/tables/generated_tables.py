"""Generate rows like those of the tables Hitters and NYSE, for runs without a download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dlrun.config.data_sections import (
    DATE,
    IS_TRAIN,
    SERIES,
    WEEKDAY,
    DataConfig,
    TradingDaysDataConfig,
)
from dlrun.data.datasets_and_sources import ReadContext
from dlrun.tables.read_table import ReadTable

SAMPLE_ROWS = 300
PLAYER_COLUMNS = "AtBat Hits HmRun Runs RBI Walks Years CAtBat CHits CHmRun CRuns CRBI CWalks"
PLAYER_NUMBERS = f"{PLAYER_COLUMNS} PutOuts Assists Errors Salary".split()
# The categories of generated rows in turn; one that stands twice is twice as frequent.
PLAYER_WORDS = {"League": "A N", "Division": "E W W", "NewLeague": "A N N N A"}
FIRST_DAY = "1962-12-03"  # a Monday, with which NYSE.csv begins, too
DAY_WORDS = {WEEKDAY: "mon tues wed thur fri", IS_TRAIN: "TRUE TRUE FALSE"}


def generate_rows(context: ReadContext[DataConfig]) -> list[ReadTable]:
    """Generate rows like those of the table Hitters or of the table NYSE.

    The last of the numbers is predictable, and the categories follow each other in turn.
    """
    names: Sequence[str] = PLAYER_NUMBERS
    words = PLAYER_WORDS
    if isinstance(context.config, TradingDaysDataConfig):
        names = SERIES
        words = DAY_WORDS
    values = np.random.default_rng(context.seed).normal(0, 1, (SAMPLE_ROWS, len(names)))
    values[:, -1] += values[:, :3].sum(1)
    for row in range(1, SAMPLE_ROWS):  # as on trading days, a row tells something of the next
        values[row] += values[row - 1] / 2
    cells = {
        name: [f"{number:.6f}" for number in column]
        for name, column in zip(names, values.T, strict=True)
    }
    for name, text in words.items():
        levels = text.split()
        cells[name] = [levels[row % len(levels)] for row in range(SAMPLE_ROWS)]
    if isinstance(context.config, TradingDaysDataConfig):
        cells[DATE] = list(pd.bdate_range(FIRST_DAY, periods=SAMPLE_ROWS).strftime("%Y-%m-%d"))
    numbers = np.arange(1, SAMPLE_ROWS + 1)
    return [ReadTable(Path("generated row"), pd.DataFrame(cells), numbers, [])]
