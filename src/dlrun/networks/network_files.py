"""Read and write files of networks: weights (no code is run), ONNX and TorchScript.

The latter two are traced: torch.export would fix the length of what an LSTM reads.
"""

import io
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.errors import DataError, first_line

METADATA = "dlrun"  # the metadata's name in an ONNX or TorchScript file
OPSET = 17  # of ONNX: runtimes since 2022 have it

Function = Callable[[Tensor], Tensor]
_jit: Any = torch.jit  # has no types


def serialize_tensors(state: Mapping[str, object]) -> memoryview:
    """Return the bytes that torch.save writes for tensors."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getbuffer()


def parse_tensors(content: bytes, path: Path) -> Any:
    """Read tensors, numbers, text, lists and dicts from a file's bytes, onto the CPU.

    Raises DataError for anything else.
    """
    return _load(io.BytesIO(content), path)


def read_tensors(path: Path) -> Any:
    """Read tensors, numbers, text, lists and dicts from a file, onto the CPU."""
    return _load(path, path)


def _load(source: Path | io.BytesIO, path: Path) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        reason = f"it asks for {refused[1]}, which no weights need" if refused else "damaged"
        raise DataError(f"{path}: refused: {reason}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: not a file of weights: {first_line(error)}") from None


def export_onnx(
    network: nn.Module, example: Tensor, names: tuple[str, str], free: Sequence[str], about: str
) -> bytes:
    """Return a network, in eval mode on the CPU, as the bytes of a checked ONNX file.

    `names` are those of the input and the output, `free` those of the input's first dimensions,
    which may be of any size; `about` becomes the metadata.
    """
    import onnx  # of the extra `export`

    stream: Any = io.BytesIO()  # which torch's types do not know here
    input_name, output_name = names
    with _tracing():
        torch.onnx.export(
            network,
            (example,),
            stream,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: dict(enumerate(free)), output_name: {0: free[0]}},
        )
    model = onnx.load_from_string(stream.getvalue())
    onnx.helper.set_model_props(model, {METADATA: about})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def load_onnx(path: Path) -> Function:
    """Return the function that an ONNX file computes, by onnxruntime on the CPU."""
    import onnxruntime  # of the extra `export`

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])


def export_torchscript(network: nn.Module, example: Tensor, about: str) -> bytes:
    """Return a network as the bytes of a TorchScript file."""
    stream = io.BytesIO()
    with _tracing():
        traced = _jit.trace(network, (example,), check_trace=False)
        _jit.save(traced, stream, _extra_files={METADATA: about})
    return stream.getvalue()


def load_torchscript(path: Path) -> Function:
    """Return the function that a TorchScript file computes, by torch on the CPU."""
    with _tracing():
        loaded: Function = _jit.load(path, map_location="cpu")
    return loaded


@contextmanager
def _tracing() -> Iterator[None]:
    """Compute no gradients, and silence the warnings that torch's tracer is deprecated."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
