"""On paper: what 8, 64 and 1,000 accelerators would make of an epoch; none was measured.

The steps, the bytes of a gradient and one process's seconds are those that processes.py measured
(`python benchmarks/ring.py results/processes-*.json`), the links and the accelerator are assumed.

A ring sums S bytes of N processes in 2 (N - 1) messages of S / N bytes each, and no way sends less
(Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002): 2 (N - 1) (latency + S / (N bandwidth)).
Nothing is hidden behind the backward pass: DDP sends in buckets of 25 MB, and all here have one.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Link(NamedTuple):
    """Between neighbours in the ring; seconds and bytes per second."""

    name: str
    latency: float
    bandwidth: float


INSIDE = Link("inside a node", 5e-6, 200e9)
BETWEEN = Link("between nodes", 10e-6, 25e9)
PLACES = [(8, INSIDE), (64, BETWEEN), (1_000, BETWEEN)]
FASTER = [10, 100]  # times one core of the machine that was measured
FULL = {"cifar100": 40_000 / 2_400}  # the rows of its training data for each that was measured


def ring(processes: int, size: float, link: Link) -> float:
    """Seconds in which so many processes sum so many bytes."""
    return 2 * (processes - 1) * (link.latency + size / processes / link.bandwidth)


def best(compute: float, link: Link) -> float:
    """The processes at which a step that one computes in so many seconds is shortest.

    Of compute / N + 2 (N - 1) latency + 2 size / bandwidth, for N well above 1.
    """
    return max(1.0, math.sqrt(compute / (2 * link.latency)))


def lines(row: dict[str, Any]) -> list[str]:
    """An experiment's rows of the table, for each number of accelerators."""
    full = FULL.get(row["experiment"], 1.0)
    steps, seconds = math.ceil(row["steps"] * full), row["epoch"] * full
    found = []
    for processes, link in PLACES:
        share = row["rows"] / processes
        summed = ring(processes, row["bytes"], link)
        cells = [row["experiment"], f"{processes:,}", f"{share:.3g}", f"{summed * 1e6:,.0f}"]
        cells.append(f"{steps * summed:.2g}")
        for faster in FASTER:
            compute = seconds / steps / faster
            gain = compute / (compute / processes + summed)
            cells.append(f"{gain:.2g}x, {gain / processes:.1%}")
        found.append(f"| {' | '.join(cells)} |")
    stops = ", ".join(
        f"{best(seconds / steps / faster, link):.0f} {link.name} at {faster}x"
        for faster in FASTER
        for link in (INSIDE, BETWEEN)
    )
    size = f"{row['bytes'] / 1e6:.2f} MB, {steps} steps, {seconds / steps * 1e3:.2f} ms a step"
    return [*found, f"{row['experiment']}: {size} on one core; shortest by {stops}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="files of processes.py")
    args = parser.parse_args()
    measured = [row for file in args.results for row in json.loads(file.read_text())["rows"]]
    heads = ["experiment", "accelerators", "rows each", "a sum, us", "sums of an epoch, s"]
    heads += [f"gain, of the ideal, at {faster}x a core" for faster in FASTER]
    both = [lines(row) for row in measured if row["processes"] == 1]
    table = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    table += [line for found in both for line in found[:-1]]
    sys.stdout.write("\n".join([*table, "", *(found[-1] for found in both)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
