"""Write and read files of weights, export networks to ONNX files, and compare them."""

import io
import json
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.config.yaml_loader import Values
from dlrun.errors import DataError, first_line
from dlrun.system.console import cut

METADATA = "dlrun"  # the name of the metadata in the file
OPSET = 17  # version of ONNX's operators: runtimes since 2022 have it

Function = Callable[[Tensor], Tensor]


def serialize_tensors(state: Mapping[str, object]) -> bytes:
    """Return tensors as the bytes of a file that torch.save would write."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def read_tensors(path: Path, content: bytes | None = None) -> Any:
    """Read tensors, numbers, text, lists and dicts from a file, onto the CPU."""
    try:
        source = path if content is None else io.BytesIO(content)
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        reason = f"it asks for {refused[1]}, which no weights need" if refused else "damaged"
        raise DataError(f"{path}: refused: {reason}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: not a file of weights: {first_line(error)}") from None


def load_weights(network: nn.Module, weights: object, path: Path) -> None:
    """Load weights that were read from a file. Raises DataError if they are of another network."""
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict):
        raise DataError(f"{path}: not a state dict (names and tensors)")
    try:
        network.load_state_dict(weights)
    except Exception as error:  # the names and tensors can be anything
        problem = cut(" ".join(str(error).split()), 300)  # torch lists every tensor
        hint = "the config must name the network that the weights were made with"
        raise DataError(f"{path}: these weights do not fit the network: {problem}", hint) from None


def write_onnx(file: Path, network: nn.Module, example: Tensor, about: Values) -> Function:
    """Write a network to an ONNX file; return a function that runs it with onnxruntime."""
    import onnx  # both are of the extra `export`
    import onnxruntime

    stream: Any = io.BytesIO()  # a file object, unknown to torch's types here
    input_name = about["input"]["name"]
    output_name = about["output"]["name"]
    sizes = enumerate(about["input"]["shape"])
    free = {axis: name for axis, name in sizes if isinstance(name, str)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer is deprecated
        torch.onnx.export(
            network,
            (example,),
            stream,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: free, output_name: {0: free[0]}},
        )
    model = onnx.load_from_string(stream.getvalue())
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about, ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = 1  # the caller may run it in several threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {input_name: inputs.numpy()})[0])


def largest_difference(
    network: Function, other: Function, batches: Iterable[Tensor]
) -> tuple[float, float]:
    """Return the largest absolute difference of two networks' outputs, and the largest output."""
    differences = []
    sizes = []
    for inputs in batches:
        with torch.inference_mode():
            expected = network(inputs)
            outputs = other(inputs)
        if expected.shape != outputs.shape:
            raise ValueError(f"outputs of shape {list(outputs.shape)}, not {list(expected.shape)}")
        differences.append((outputs - expected).abs().max())
        sizes.append(expected.abs().max())
    return float(torch.stack(differences).max()), float(torch.stack(sizes).max())
