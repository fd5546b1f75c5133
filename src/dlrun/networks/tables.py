"""Train networks on tables: a dense one on rows, or a recurrent one on sequences of earlier days.

ISLP, lab 10.9.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.config.data_sections import SERIES, TradingDaysDataConfig
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.experiments import table_common
from dlrun.experiments.table_common import (
    EncodedTable,
    TableAssets,
    TablePredictor,
    column_table,
)
from dlrun.experiments.table_importance import draw_importance, save_importance
from dlrun.experiments.tables import TableNetworkConfig
from dlrun.metrics import VALID
from dlrun.networks.dense import DenseNetwork
from dlrun.networks.network_implementation import Infer, LoadedData, NetworkImplementation
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import COLUMNS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.text import format_text_table
from dlrun.tables.encoding import Matrix
from dlrun.tables.table import Table
from dlrun.training.array_batches import TensorBatches
from dlrun.training.objective import TrainingObjective, count_outputs, regression


class RecurrentNetwork(nn.Module):
    """Applies a recurrent layer to a sequence, and a linear layer to its last output.

    inputs: values of a step. hidden: units of the recurrent layer. dropout: the share of the last
    output's units that is dropped in training.
    """

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return a value (batch,) for each of the sequences (batch, steps, inputs)."""
        outputs, _ = self.rnn(sequences)
        values: Tensor = self.dense(self.dropout(outputs[:, -1])).flatten()
        return values


def count_lagged_columns(config: TableNetworkConfig) -> int:
    """Return how many columns hold the series of the days before; they are the first."""
    assert isinstance(config.data, TradingDaysDataConfig)
    return config.data.lags * len(SERIES)


class TableNetworkImplementation(NetworkImplementation[TableNetworkConfig, TableAssets]):
    """Trains a dense network on rows, or a recurrent one on sequences of earlier days."""

    assets_class = TableAssets
    group_size = 32
    eval_batch_size = 4096

    def load(
        self, config: TableNetworkConfig, data_dir: Path, screen: Screen
    ) -> LoadedData[TableAssets]:
        """Load the table; the test rows validate too, unless training rows are held out."""
        table: Table = self.load_data(config, data_dir, screen)
        parts = table_common.divide_rows(config, table, screen)
        encoded = EncodedTable.fit(config, table, parts)
        columns = column_table(encoded.assets)
        kind = np.int64 if table.labels else np.float32
        train, valid, test = (
            TensorBatches(self._inputs(config, part.X), part.targets.astype(kind))
            for part in encoded.parts.values()
        )
        return LoadedData(
            train,
            valid,
            test,
            table.origin,
            encoded.assets,
            table.describe,
            table_common.straw_man_metrics(table, screen),
            table_common.fingerprint_table(table),
            table.test.row_names,
            table_common.make_split_of_table(config, table, parts),
            table.counts,
            {COLUMNS: to_csv(columns)},
            "\n".join(format_text_table(columns, left=range(4))),
        )

    def _inputs(self, config: TableNetworkConfig, X: Matrix) -> NDArray[np.float32]:
        """Return the network's inputs: the rows, or the lags of the series as sequences.

        Each step of a sequence also has the other columns, such as the predicted day of the week.
        """
        inputs = X.astype(np.float32)
        if isinstance(config.model, HiddenLayersConfig):
            return inputs
        lagged, others = np.split(inputs, [count_lagged_columns(config)], axis=1)
        sequences = lagged.reshape(len(X), -1, len(SERIES))
        repeated = np.repeat(others[:, None], sequences.shape[1], axis=1)
        return np.concatenate([sequences, repeated], axis=2)

    def _matrix(self, config: TableNetworkConfig, inputs: Tensor) -> Matrix:
        """Return the rows (n, columns) of which `_inputs` made the network's inputs."""
        if not isinstance(config.model, HiddenLayersConfig):
            lagged, others = inputs[..., : len(SERIES)].flatten(1), inputs[:, 0, len(SERIES) :]
            inputs = torch.cat([lagged, others], dim=1)
        return inputs.double().numpy()

    def build(self, config: TableNetworkConfig, assets: TableAssets) -> nn.Module:
        """Build the untrained network."""
        model = config.model
        if not isinstance(model, HiddenLayersConfig):
            others = len(assets.encoder.names) - count_lagged_columns(config)
            return RecurrentNetwork(len(SERIES) + others, model.hidden, model.dropout)
        outputs = count_outputs(len(assets.labels)) if assets.labels else 1
        return DenseNetwork(len(assets.encoder.names), model.hidden, model.dropouts, outputs)

    def objective(self, config: TableNetworkConfig, assets: TableAssets) -> TrainingObjective:
        """Return cross-entropy and accuracy for classes, else squared error and the metric."""
        if assets.labels:
            return super().objective(config, assets)
        main_metric: Literal["mae", "r2"] = "r2" if table_common.is_trading_days(config) else "mae"
        return regression((main_metric,), centre=assets.centre, scale=assets.scale)

    def explain(
        self,
        config: TableNetworkConfig,
        run: LiveRun,
        loaded: LoadedData[TableAssets],
        infer: Infer,
    ) -> None:
        """Write how much each column of the table matters."""
        test = loaded.test
        assert isinstance(test, TensorBatches)
        save_importance(
            run,
            loaded.assets,
            lambda X: infer(torch.from_numpy(self._inputs(config, X))),
            self._matrix(config, test.inputs),
            test.targets.numpy(),
        )

    def validate_further(
        self, config: TableNetworkConfig, loaded: LoadedData[TableAssets], infer: Infer
    ) -> dict[str, float]:
        """Return the metrics that the other models of a table have of the validation rows."""
        valid = loaded.valid
        assert isinstance(valid, TensorBatches)
        outputs = infer(valid.inputs)
        metrics = loaded.assets.predictions(outputs, valid.targets.numpy(), {}).metrics
        names = table_common.metric_names_of_table(config, loaded.assets.labels)
        return {f"{VALID}{name}": metrics[name] for name in names if name in metrics}

    def predictor(self, run: Run, config: TableNetworkConfig) -> TablePredictor:
        """Return a predictor for rows of a table."""
        infer = self.inference(run, config)
        return self.assets(run).predictor(
            lambda X: infer(torch.from_numpy(self._inputs(config, X)))
        )

    def draw(self, run: Run, config: TableNetworkConfig) -> DrawnFigures:
        """Draw the learning curves, NYSE's test period, and how much each column matters."""
        title = self.title(run)
        figures = super().draw(run, config)
        if table_common.STRAW_MAN in run.record.metrics:
            figures |= table_common.draw_predicted_and_true(run, title=title)
        return figures | draw_importance(run, title=title)
