"""`dlrun export`: write a run's network as ONNX, checked."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dlrun.commands import options as opt
from dlrun.config.yaml_loader import Values
from dlrun.errors import DlrunError, first_line
from dlrun.experiments.base import Network, NetworkToExport
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.folder import check_output_path
from dlrun.system.console import Screen
from dlrun.system.extras import require_extra
from dlrun.system.files import replace_atomically
from dlrun.system.signals import StopRequest

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZES = (1, 7, 300)  # numbers of rows with which the file is checked
TOLERANCE = 1e-4  # largest difference from the network's outputs, relative to the largest output


def export_network(
    run: opt.Run,
    out: Annotated[Path, opt.option("The network's file.", "FILE")],
    force: opt.Replace = False,
    runs_dir: opt.RunsDir = None,
    quiet: opt.Quiet = False,
) -> None:
    """Write a run's network as an ONNX file, which needs no dlrun to be used.

    Its metadata holds vocabulary, labels and preprocessing. It is compared with the network before
    it is saved under its name.

    Examples:
    dlrun export imdb-lstm/latest --out reviews.onnx
    """
    screen = Screen(quiet=quiet)
    require_extra("dlrun export", "export", "onnx", "onnxruntime")
    opened = Run.open(run, runs_dir)
    check_output_path("--out", out, force=force, inputs=opened.sources())
    with StopRequest().listening(), replace_atomically(out) as file:
        import torch  # slow

        from dlrun.networks import files

        torch.manual_seed(0)  # the inputs of the check are random
        network = opened.network()
        exported = opened.exported()
        try:
            with torch.no_grad():
                about = _metadata(opened, exported, network)
            written = files.write_onnx(file, exported.network, exported.inputs(2), about)
            difference, largest = files.largest_difference(network, written, _batches(exported))
        except OSError:  # such as a full disk
            raise
        except Exception as error:  # a network may use operations that ONNX lacks
            why = f"its network cannot be written as ONNX: {first_line(error)}"
            raise DlrunError(f"{opened.folder}: {why}") from error
        if not difference <= TOLERANCE * largest:  # also if it is NaN
            problem = f"{opened.folder}: outputs of the ONNX file differ from the network's"
            raise DlrunError(f"{problem} by up to {difference:.2g}, of up to {largest:.3g}")
    shape = " x ".join(map(str, about["input"]["shape"]))
    screen.labelled(
        ("input", f"{exported.input}: {about['input']['dtype']}, {shape}"),
        ("check", f"at most {difference:.1e} from the network's outputs (up to {largest:.3g})"),
        ("file", f"{out} ({out.stat().st_size / 1e6:.1f} MB)"),
    )


def _metadata(run: Run, exported: NetworkToExport, network: Network) -> Values:
    example = exported.inputs(2)
    labels = exported.about.get("labels")
    free = ["batch", "length"] if exported.any_length else ["batch"]  # dimensions of any size
    shape = [*free, *example.shape[len(free) :]]
    dtype = str(example.dtype).removeprefix("torch.")
    output: Values = {"name": exported.output if labels else "outputs"}
    columns = network(example).shape[1:]
    if labels and columns == (len(labels),):
        output["meaning"] = "one per row and label, in their order"
    elif labels and not columns and output["name"] == "logits":
        output["meaning"] = f"one per row: above 0 for {labels[-1]!r}"
    return {
        "dlrun": metadata.version("dlrun"),
        "experiment": run.record.experiment,
        "run": run.name,
        "input": {"name": exported.input, "dtype": dtype, "shape": shape},
        "output": output,
        **exported.about,
    }


def _batches(exported: NetworkToExport) -> "Iterator[Tensor]":
    """Yield batches of several sizes, and of several lengths if the length may vary."""
    for rows in BATCH_SIZES:
        batch = exported.inputs(rows)
        yield batch
        if exported.any_length:
            yield batch[:, -(batch.shape[1] // 2 + 1) :]
