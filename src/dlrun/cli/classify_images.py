"""`dlrun classify-images [IMAGE_OR_FOLDER ...]`."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.experiment import overrides, start

Images = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="IMAGE_OR_FOLDER", help="JPEG, PNG, WebP, GIF or BMP, or folders of them."
    ),
]


def run(
    images: Images = None,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    run_name: opt.Name = None,
    summary: opt.Summary = False,
    dry_run: opt.DryRun = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Classify photographs with a pretrained network."""
    texts = overrides(set_, accelerator, no_fallback)
    if images:
        texts.append("images=" + json_text.dumps([str(path) for path in images]))
    start(
        "classify-images",
        config=config or [],
        overrides=texts,
        runs_dir=runs_dir,
        data_dir=data_dir,
        name=run_name,
        summary=summary,
        dry_run=dry_run,
        json=json,
        quiet=quiet,
        debug=debug,
    )
