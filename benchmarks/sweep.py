"""`dlrun sweep`: 20 runs of imdb-dense against 20 of the lab's own processes, one after another.

The lab's process is measured a few times and multiplied. On a quiet machine only.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import machine
from cases import LAB, Setup, dense, warm_up
from measure import DISTURBED, DLRUN, RESULTS, WORK, Process, measure, read_json

EXPERIMENT = "imdb-dense"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--lab", type=int, default=2, help="of the lab's, that are measured")
    parser.add_argument("--data", type=Path, default=os.environ.get("DLRUN_TEST_DATA"))
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the folder with the data: --data, or DLRUN_TEST_DATA")
    if args.lab and not LAB.exists():
        parser.error(f"{LAB}: not there; `make bench` makes it, --lab 0 goes without")
    return args


def sweep(setup: Setup, runs: int, jobs: int, folder: Path) -> Process:
    """A sweep over so many seeds; its table, figure and page are part of it."""
    sets = [word for key, value in setup.settings().items() for word in ("--set", f"{key}={value}")]
    places = ["--runs-dir", str(folder), "--data-dir", str(setup.data)]
    command = [*DLRUN, "sweep", EXPERIMENT, "--seeds", str(runs), "--jobs", str(jobs)]
    took = measure([*command, *places, *sets, "--accelerator", "cpu"], folder / "log.txt")
    done = [read_json(path) for path in folder.glob(f"{EXPERIMENT}/*Z-*/results.json")]
    assert [one["status"] for one in done] == ["finished"] * runs
    return took


def main() -> int:
    args = options()
    setup = Setup(args.data.resolve(), quick=False)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    base = WORK / "runs" / stamp
    setup.settings()  # prepared by now
    took: dict[str, list[Process]] = {}
    if args.lab:
        lab = dense(setup).variants["lab"]
        warm_up()
        took["lab"] = []
        for number in range(args.lab):
            folder = base / f"lab-{number}"
            folder.mkdir(parents=True)
            took["lab"].append(measure(lab.command(folder), folder / "log.txt"))
            sys.stderr.write(f"lab: {took['lab'][-1]}\n")
    for jobs in args.jobs:
        folder = base / f"jobs-{jobs}"
        folder.mkdir(parents=True)
        took[f"--jobs {jobs}"] = [sweep(setup, args.runs, jobs, folder)]
        sys.stderr.write(f"--jobs {jobs}: {took[f'--jobs {jobs}'][0]}\n")
    shutil.rmtree(base)
    path = RESULTS / f"sweep-{stamp}.json"
    report = {name: [vars(one) for one in all_of] for name, all_of in took.items()}
    about = {"machine": machine.describe(), "git_commit": machine.git_commit(), "took": report}
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join([*table(args.runs, took), "", str(path)]) + "\n")
    return 0


def table(runs: int, took: dict[str, list[Process]]) -> list[str]:
    """A row for the lab's processes, multiplied, and one for each number of jobs."""
    lines = [
        "| what | seconds | runs a minute | lab / dlrun | disturbed |",
        "|---|---|---|---|---|",
    ]
    one = statistics.fmean(process.seconds for process in took["lab"]) if "lab" in took else None
    for name, processes in took.items():
        seconds = processes[0].seconds
        what, ratio = f"{runs} runs, {name}", f"{runs * one / seconds:.1f}" if one else ""
        if name == "lab" and one:
            what, ratio, seconds = f"lab, {runs} x {one:.1f} s", "", runs * one
        disturbed = "yes" if any((each.others or 0) > DISTURBED for each in processes) else "no"
        lines.append(
            f"| {what} | {seconds:.1f} | {60 * runs / seconds:.1f} | {ratio} | {disturbed} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
