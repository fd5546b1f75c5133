"""Measure each case the lab's way and dlrun's in turn: a table, and a JSON file of it.

`make bench` runs it, and first makes benchmarks/.venv-lab, which the lab's way needs.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cases
import machine
from cases import CASES, LAB, MORE_CASES, WITHOUT_DATA, WITHOUT_LAB, Case, Row, Samples, Setup
from measure import DISTURBED, RESULTS, WORK, FailedError, MissingError, measure

ALL_CASES = CASES | MORE_CASES


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller cases, under 5 minutes")
    parser.add_argument(
        "--case", action="append", choices=ALL_CASES, help="only this one (repeatable)"
    )
    parser.add_argument("--repeats", type=int, help="pairs of runs, in every case")
    parser.add_argument("--epochs", type=int, help="of the networks; the first is not counted")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="VARIANT",
        help="leave out lab, plain or another of a case's variants (repeatable)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DLRUN_TEST_DATA"),
        help="folder with the data that README.md names (default: $DLRUN_TEST_DATA)",
    )
    args = parser.parse_args()
    args.case = args.case or list(CASES)
    if args.data is None and not WITHOUT_DATA.issuperset(args.case):
        parser.error("name the folder with the data: --data, or DLRUN_TEST_DATA")
    args.data = (args.data or Path()).resolve()
    for name in ("aclImdb_v1.tar.gz", "book_images"):
        if not (WITHOUT_DATA.issuperset(args.case) or (args.data / name).exists()):
            parser.error(f"{args.data / name}: not there")
    args.with_lab = not WITHOUT_LAB.issuperset(args.case) and "lab" not in args.without
    if args.with_lab and not LAB.exists():
        parser.error(f"{LAB}: not there; `make bench` makes it")
    return args


def run_case(name: str, case: Case, repeats: int, runs: Path) -> Samples:
    """Every variant in turn, `repeats` times."""
    samples: Samples = {variant: [] for variant in case.variants}
    for repeat in range(-case.discard, repeats):
        for label, variant in case.variants.items():
            folder = runs / name / f"{label.replace(' ', '_')}-{repeat}"
            folder.mkdir(parents=True)
            took = measure(variant.command(folder), folder / "log.txt", expected=variant.expected)
            if repeat >= 0:
                samples[label].append(variant.read(folder, took))
                shown = "  ".join(f"{key} {value:.4g}" for key, value in samples[label][-1].items())
                note(f"{name} {repeat + 1}/{repeats} {label}: {shown}")
    return samples


def summarise(row: Row, samples: Samples, peak: dict[str, float]) -> dict[str, Any]:
    """The medians of dlrun and of what it is compared with, and how many runs were disturbed.

    `peak` is what `machine.peak` returned: a row's share is the least time that its work takes at
    the peak, divided by the time that it took.
    """
    compared = [reference for reference in row.references if reference in samples]
    medians = {
        variant: statistics.median(sample[row.metric] for sample in samples[variant])
        for variant in (row.variant, *compared)
    }
    used = [sample for variant in medians for sample in samples[variant]]
    summary: dict[str, Any] = {
        "what": row.what,
        "unit": row.unit,
        "dlrun": medians[row.variant],
        "references": {reference: medians[reference] for reference in compared},
        "runs": len(used),
        "disturbed": sum(sample.get("others", 0) > DISTURBED for sample in used),
    }
    if row.gflop:
        least = max(row.gflop / peak[row.precision], row.gigabytes / peak["copy"])
        summary["share_of_peak"] = least / medians[row.variant]
    return summary


def table(rows: Sequence[dict[str, Any]]) -> str:
    references = dict.fromkeys(name for row in rows for name in row["references"])
    ratios = [f"{name} / dlrun" for name in references]
    header = ["what", *references, "dlrun", *ratios, "share of the peak", "disturbed"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        ours, unit, share = row["dlrun"], row["unit"], row.get("share_of_peak")
        theirs = [row["references"].get(name) for name in references]
        lines.append(
            [
                row["what"],
                *(quantity(value, unit) for value in theirs),
                quantity(ours, unit),
                *("" if value is None else f"{value / ours:.3g}" for value in theirs),
                f"{share:.0%}" if share else "",
                f"{row['disturbed']} of {row['runs']}",
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value / 1e9:.3g} GB" if unit == "GB" else f"{value:.3g} s"


def note(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> int:
    args = options()
    started = datetime.now(UTC)
    stamp = started.strftime("%Y%m%dT%H%M%SZ")
    runs = WORK / "runs" / stamp
    runs.mkdir(parents=True)
    setup = Setup(args.data, args.quick, args.epochs)
    report: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "arguments": sys.argv[1:],
        "git_commit": machine.git_commit(),
        "machine": machine.describe(),
        "versions": {
            name: machine.versions(python)
            for name, python in (("dlrun", sys.executable), ("lab", str(LAB)))
            if name == "dlrun" or args.with_lab
        },
        "rows": [],
        "samples": {},
        "peaks": {},
        "failures": {},
    }
    cases.warm_up(with_lab=args.with_lab)
    for name in args.case:
        try:
            case = ALL_CASES[name](setup).without(args.without)
            repeats = args.repeats or case.repeats
            peak = machine.peak(sys.executable)
            samples = run_case(name, case, repeats, runs)
        except MissingError as error:
            note(f"{name}: skipped: {error}")
            continue
        except FailedError as error:
            note(f"{name}: {error}")
            report["failures"][name] = str(error)
            continue
        shutil.rmtree(runs / name)  # of a case that failed it stays
        report["rows"] += [summarise(row, samples, peak) for row in case.rows]
        report["samples"][name] = samples
        report["peaks"][name] = peak
    report["seconds"] = (datetime.now(UTC) - started).total_seconds()
    path = RESULTS / f"{stamp}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(report, path)
    return 1 if report["failures"] else 0


def show(report: dict[str, Any], path: Path) -> None:
    """The table, and below it what it was measured on."""
    about = report["machine"]
    lines = [table(report["rows"]), ""]
    for name, peak in report["peaks"].items():
        lines.append(
            f"- {name}: a large matrix product {peak['float32']:.0f} GFLOP/s in float32, "
            f"{peak['bf16']:.0f} in bf16; a large copy {peak['copy']:.0f} GB/s"
        )
    for name, variants in report["samples"].items():
        accuracies = {
            label: [round(sample["test_accuracy"], 4) for sample in samples]
            for label, samples in variants.items()
            if "test_accuracy" in samples[0]
        }
        lines += [f"- {name}, test accuracy: {json.dumps(accuracies)}"] if accuracies else []
    lines += [f"- FAILED: {name}" for name in report["failures"]]
    if any(row["disturbed"] for row in report["rows"]):
        lines.append(
            "- NOT TO BE QUOTED: in disturbed runs other processes took more than "
            f"{DISTURBED:.0%} of the cores; measure again on a quiet machine"
        )
    lines += [
        f"- {about['cores']} cores of {about['processor']}, "
        f"{about['memory_bytes'] / 1e9:.0f} GB; {about['platform']}; "
        f"load {about['load_before']:.2f} before",
        *(
            f"- {side}: {', '.join(f'{name} {version}' for name, version in versions.items())}"
            for side, versions in report["versions"].items()
        ),
        f"- {report['started']}, commit {report['git_commit']}, {report['seconds']:.0f} s, "
        f"run.py {' '.join(report['arguments'])}",
        f"- {path}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
