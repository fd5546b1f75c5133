"""A run as a notebook shows it: a small table and its first figure."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from dlrun.run_folder.record import Record
from dlrun.runs.console_summary import beside_it, format_metric, notes, with_baseline


def table_and_figure(
    record: Record,
    metrics: Mapping[str, float | None],
    state: str,
    folder: Path,
    figures: list[Path],
) -> str:
    """HTML that needs nothing from outside."""
    beside = beside_it(record)
    header = "".join(f"<th>{html.escape(name)}</th>" for name in ("", record.experiment, *beside))
    rows = ""
    for metric, value in with_baseline(record, metrics).items():
        cells = [
            format_metric(value),
            *(format_metric(values.get(metric)) for values in beside.values()),
        ]
        rows += f"<tr><th>{html.escape(metric)}</th>"
        rows += "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    about = f"{state}; {record.data}" if record.data else state
    about += "".join(f"; {label}: {text}" for label, text in notes(record))
    image = ""
    if figures and figures[0].is_file():
        data = base64.b64encode(figures[0].read_bytes()).decode()
        source = f"data:image/png;base64,{data}"
        image = f'<img alt="{figures[0].name}" style="max-width:100%" src="{source}">'
    return (
        f"<div><code>{html.escape(str(folder))}</code><br>{html.escape(about)}"
        f"<table><tr>{header}</tr>{rows}</table>{image}</div>"
    )
