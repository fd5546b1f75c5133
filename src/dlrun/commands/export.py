"""Write a run's network as one file for other programs, checked before it gets its name."""

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from dlrun.errors import ConfigError, DlrunError, first_line
from dlrun.experiments.base import ExportedNetwork
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.files import replace_atomically
from dlrun.system.output_file import check_output_path
from dlrun.system.signals import Stop

Format = Literal["onnx", "torch"]

BATCHES = (1, 7, 300)  # that the file is checked on
TRACED = 2  # rows


def export(
    run: str,
    *,
    format_: Format,
    out: Path,
    tolerance: float,
    force: bool,
    runs_dir: Path | None,
    quiet: bool,
) -> None:
    """Write a run's network into a file.

    Args:
        run: which one.
        format_: of the file.
        out: the file.
        tolerance: largest accepted difference between the file's outputs and the network's,
            relative to the largest output.
        force: replace an existing file.
        runs_dir: folder of the runs.
        quiet: print no progress.

    Raises ConfigError: no such run, a file that is there (but for `force`), a package that is
    missing. DlrunError: the run has no network yet, or the file's outputs differ too much.
    """
    screen = Screen(quiet=quiet)
    _check(format_, out, force=force)
    opened = Run.open(run, runs_dir)
    with Stop().listening():
        screen.note(f"reading the network of {opened.folder}")
        exported = opened.exported()
        about = _about(opened, exported)
        content = _content(opened, exported, format_, about)
        with replace_atomically(out) as file:
            file.write_bytes(content)
            difference, largest = _compared(opened, exported, format_, file, screen)
            if not difference <= tolerance * largest:  # also NaN
                raise DlrunError(
                    f"{opened.folder}: outputs of the {format_} file differ from the network's by "
                    f"up to {difference:.2g}; the largest output is {largest:.3g}, so --tolerance "
                    f"{tolerance:g} allows {tolerance * largest:.2g}",
                    "nothing was written; a larger --tolerance accepts the file",
                )
            check_output_path("--out", out, force=force)  # somebody may have written it meanwhile
    _show(out, len(content), format_, about, difference, largest, screen)


def _check(format_: Format, out: Path, *, force: bool) -> None:
    """Raises ConfigError where the file could not be written."""
    for package in ("onnx", "onnxruntime") if format_ == "onnx" else ():
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"--format onnx needs the package {package}",
                "pip install 'dlrun[export]' brings it",
            )
    check_output_path("--out", out, force=force)


def _about(run: Run, exported: ExportedNetwork) -> dict[str, Any]:
    """The file's metadata: what a program needs to use the network, and whose it is."""
    example, labels = exported.inputs(TRACED), exported.about.get("labels")
    free = _free(exported)
    output: dict[str, Any] = {"name": "logits" if labels else "outputs"}
    if labels:
        two = f"one per row, of {labels[-1]!r}: above 0 it is that, else {labels[0]!r}"
        output["meaning"] = two if len(labels) == 2 else "one per row and label, in their order"
    return {
        "dlrun": metadata.version("dlrun"),
        "experiment": run.record.experiment,
        "run": run.name,
        "input": {
            "name": exported.input,
            "dtype": str(example.dtype).removeprefix("torch."),
            "shape": [*free, *example.shape[len(free) :]],
        },
        "output": output,
        **exported.about,
    }


def _free(exported: ExportedNetwork) -> list[str]:
    """The names of the dimensions that may be of any size."""
    return ["batch", "length"] if exported.any_length else ["batch"]


def _content(run: Run, exported: ExportedNetwork, format_: Format, about: dict[str, Any]) -> bytes:
    from dlrun.networks import export_formats  # slow: torch

    example, text = exported.inputs(TRACED), json.dumps(about, ensure_ascii=False)
    names = exported.input, about["output"]["name"]
    try:
        if format_ == "torch":
            return export_formats.to_torch(exported.network, example, text)
        return export_formats.to_onnx(exported.network, example, names, _free(exported), text)
    except Exception as error:  # somebody's network may do what no file can hold
        raise DlrunError(
            f"{run.folder}: its network cannot be written as {format_}: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def _compared(
    run: Run, exported: ExportedNetwork, format_: Format, file: Path, screen: Screen
) -> tuple[float, float]:
    """Return the largest difference between the file's and the network's outputs, and the largest
    output, over all batches. Raises DlrunError if the shapes differ.
    """
    import torch

    from dlrun.networks import export_formats

    network = run.network()
    from_file = (export_formats.from_torch if format_ == "torch" else export_formats.from_onnx)(
        file
    )
    differences, sizes = [], []
    with torch.inference_mode():
        for rows in BATCHES:
            screen.note(f"comparing the file with the network: {rows} of a batch")
            inputs = exported.inputs(rows)
            given = (
                [inputs, inputs[:, -(inputs.shape[1] // 2 + 1) :]]
                if exported.any_length
                else [inputs]
            )
            for one in given:
                expected, got = network(one), from_file(one)
                if expected.shape != got.shape:
                    raise DlrunError(
                        f"{run.folder}: outputs of the {format_} file have the shape "
                        f"{list(got.shape)}, the network's {list(expected.shape)}",
                        "nothing was written",
                    )
                differences.append((got - expected).abs().max())
                sizes.append(expected.abs().max())
    return float(torch.stack(differences).max()), float(torch.stack(sizes).max())


def _show(
    out: Path,
    size: int,
    format_: Format,
    about: dict[str, Any],
    difference: float,
    largest: float,
    screen: Screen,
) -> None:
    given, batches = about["input"], ", ".join(map(str, BATCHES))
    shape = " x ".join(map(str, given["shape"]))
    check = f"at most {difference:.1e} from the network's outputs (up to {largest:.3g})"
    for label, text in (
        ("input", f"{given['name']}: {given['dtype']}, {shape}"),
        ("output", about["output"]["name"]),
        ("check", f"{check} for batches of {batches}"),
        ("file", f"{out} ({format_}, {size / 1e6:.1f} MB)"),
    ):
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))
