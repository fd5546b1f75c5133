"""Train a network on the accelerator that works, evaluate it, save it."""

import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torchinfo import summary

from dlrun.accelerator import Report, run_on
from dlrun.errors import ConfigError, Terminated
from dlrun.screen import counted
from dlrun.session import Session
from dlrun.training import checkpoint, tensor_file
from dlrun.training.callbacks import EpochRecorder, require_finite
from dlrun.training.data import ArrayData
from dlrun.training.module import Classifier

if TYPE_CHECKING:
    from dlrun.experiments.sections import Network

AUTOCAST = {"bf16": torch.bfloat16, "16": torch.float16}


def fit(
    config: "Network",
    session: Session,
    build: Callable[[], nn.Module],
    data: ArrayData,
    classes: int,
    example: Tensor,
) -> tuple[dict[str, float], Report, int]:
    """Train and test a network; writes metrics.csv, weights.pt and summary.txt.

    Args:
        config: seed, optimizer, trainer, accelerator.
        session: where everything goes.
        build: makes the untrained network; called again for every attempt.
        data: the batches.
        classes: how many there are.
        example: an input of the network, for the summary.

    Returns:
        the last epoch's and the test metrics, the accelerator, the number of parameters.
    """
    parameters = write_summary(build(), example, session)
    with session.phase("data"):
        data_hash = data.fingerprint()

    def probe(device: str) -> None:
        pl.seed_everything(config.seed, verbose=False)
        training_step(Classifier(build(), config.optimizer, classes), data, device, config)

    def run(device: str) -> dict[str, float]:
        return _run(config, session, build, data, data_hash, classes, device)

    metrics, report = run_on(
        config.accelerator,
        fallback=config.fallback,
        probe=probe,
        run=run,
        warn=session.screen.warn,
    )
    return metrics, report, parameters


def training_step(module: Classifier, data: ArrayData, device: str, config: "Network") -> None:
    """One real forward, backward and optimizer step on a device; raises what fails there."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as Lightning does
    torch.use_deterministic_algorithms(config.trainer.deterministic)
    module.to(device)
    inputs, targets = data.transfer_batch_to_device(data.first_batch(), torch.device(device), 0)
    optimizer = module.configure_optimizers()
    bits, _, mixed = config.trainer.precision.partition("-")
    dtype = AUTOCAST.get(bits)
    with torch.autocast(device, dtype, enabled=mixed == "mixed" and dtype is not None):
        loss = module.loss(module(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()  # waits for the device


def _run(
    config: "Network",
    session: Session,
    build: Callable[[], nn.Module],
    data: ArrayData,
    data_hash: str,
    classes: int,
    device: str,
) -> dict[str, float]:
    start = None
    if session.resume_from is not None:
        start = checkpoint.load(session.resume_from, data_hash, session.screen)
    pl.seed_everything(config.seed, verbose=False)
    module = Classifier(build(), config.optimizer, classes)
    epochs, done = config.trainer.max_epochs, 0
    if start is not None:
        module.network.load_state_dict(start.network)
        data.first_epoch = done = start.epochs
        config.trainer.refuse_fewer_than(done)
    left = counted(epochs - done, "epoch")
    after = f" after the {done} that are done" if done else ""
    session.screen.note(f"training {left} on {device}{after}")
    with session.screen.progress("training", epochs, "epochs") as bar, session.stop.in_steps():
        recorder = EpochRecorder(
            session.folder,
            bar,
            epochs=epochs,
            seed=config.seed,
            data=data_hash,
            start=start,
            after_step=session.stop.after_step,
        )
        trainer = make_trainer(config, device, [recorder], epochs - done)
        try:
            with session.phase("fit"):
                if done < epochs:
                    _stoppable(trainer.fit, module, datamodule=data)
        finally:
            session.progress = recorder.last
    with session.phase("test"):
        _stoppable(trainer.test, module, datamodule=data, verbose=False)
        metrics = module.test_metrics.finish()
        require_finite(metrics, "test")
    weights = {name: value.cpu() for name, value in module.network.state_dict().items()}
    with session.folder.replacing("weights.pt") as path:
        path.write_bytes(tensor_file.serialized(weights))
    return recorder.last | metrics


def _stoppable(step: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Lightning's own ends after a signal become ours; it must not keep ignoring Ctrl-C either."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        step(*args, **kwargs)
    except SIGTERMException:
        raise Terminated from None
    except SystemExit:  # Lightning ends the process after Ctrl-C; the run has still to say how
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, handler)


def make_trainer(
    config: "Network", device: str, callbacks: list[pl.Callback], epochs: int
) -> pl.Trainer:
    """A quiet Trainer. Raises ConfigError where Lightning refuses the config's values."""
    quiet_lightning()
    # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset:
    # a tenth of the LSTM's time, and no part of giving the same numbers.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    section = config.trainer
    cores = os.cpu_count() or 1
    if device == "cpu" and isinstance(section.devices, int) and section.devices > cores:
        raise ConfigError(
            f"trainer.devices: {section.devices} processes on a CPU with {cores} cores",
            "on the CPU every device is a process of its own",
        )
    try:
        return pl.Trainer(
            accelerator=device,
            devices=section.devices,
            num_nodes=section.num_nodes,
            strategy=section.strategy,
            precision=section.precision,
            max_epochs=epochs,
            deterministic=section.deterministic,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(f"trainer: Lightning refuses these values: {error}") from None


def write_summary(network: nn.Module, example: Tensor, session: Session) -> int:
    """The layer-by-layer summary to summary.txt, and the number of parameters."""
    statistics = summary(
        network,
        input_data=example,
        col_names=("input_size", "output_size", "num_params"),
        col_width=18,
        verbose=0,
    )
    # torchinfo writes its own name of a million where it means the letter.
    text = str(statistics).replace("(Units.MEGABYTES)", "(M)").replace("(Units.GIGABYTES)", "(G)")
    session.folder.write_text("summary.txt", f"{text}\n")
    if session.show_summary:
        session.screen.show(text)
    return int(statistics.total_params)


def quiet_lightning() -> None:
    """Lightning's warnings go to the run's log, not to the screen; its tips nowhere."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
