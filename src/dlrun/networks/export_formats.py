"""A network as one file that needs no code of ours: ONNX, or TorchScript; and used from it again.

Both are traced: torch.export would fix the length of what an LSTM reads.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

ABOUT = "dlrun"  # the metadata's name in either file
OPSET = 17  # of ONNX: runtimes since 2022 have it

Function = Callable[[Tensor], Tensor]


def to_onnx(
    network: nn.Module, example: Tensor, names: tuple[str, str], free: Sequence[str], about: str
) -> bytes:
    """A network as an ONNX file's content, checked by onnx itself.

    Args:
        network: in eval mode, on the CPU.
        example: an input (batch, ...).
        names: of the input and the output.
        free: names of the input's first dimensions, which may be of any size.
        about: text for the metadata.
    """
    import onnx  # of the extra `export`

    stream: Any = io.BytesIO()  # which torch's types do not know here
    given, found = names
    with _tracing():
        torch.onnx.export(
            network,
            (example,),
            stream,
            dynamo=False,
            opset_version=OPSET,
            input_names=[given],
            output_names=[found],
            dynamic_axes={given: dict(enumerate(free)), found: {0: free[0]}},
        )
    model = onnx.load_from_string(stream.getvalue())
    onnx.helper.set_model_props(model, {ABOUT: about})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def from_onnx(path: Path) -> Function:
    """What the file computes, by onnxruntime on the CPU."""
    import onnxruntime  # of the extra `export`

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda inputs: torch.from_numpy(session.run(None, {given.name: inputs.numpy()})[0])


def to_torch(network: nn.Module, example: Tensor, about: str) -> bytes:
    """A network as a TorchScript file's content."""
    stream = io.BytesIO()
    with _tracing():
        traced: Any = torch.jit.trace(network, (example,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, stream, _extra_files={ABOUT: about})
    return stream.getvalue()


def from_torch(path: Path) -> Function:
    """What the file computes, by torch on the CPU."""
    with _tracing():
        loaded: Function = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


@contextmanager
def _tracing() -> "Iterator[None]":
    """Tracing warns of what the check of the file answers, and that it is to be replaced."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
