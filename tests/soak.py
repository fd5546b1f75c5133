"""Load one runs folder for an hour, and see that nothing is left over: `make soak`.

A run and a sweep after the other are killed at random moments and resumed until they finish, while
other processes list, show, compare, check, report on, predict with and clean the same runs, and one
process stays and does runs from Python. At the end every finished run has the bits of all others
with its config and seed, and no process, temporary file, file descriptor or memory is left.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
DLRUN = [sys.executable, "-m", "dlrun"]
SINGLE, SWEPT, STAYS = "imdb-dense", "hitters-dense", "nyse-dense"
SIZES = ["--config", str(ROOT / f"tests/torture/configs/{SINGLE}.yaml")]
SMOKE = {name: ["--config", str(ROOT / f"configs/smoke/{name}.yaml")] for name in (SINGLE, SWEPT)}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
GROWTH = (
    50e6  # bytes of private memory by which the process that stays may grow: it varies by 35 MB
)
WARM = 20  # rounds of this process before its descriptors and memory are counted


class Soak:
    """Runs the commands, counts them, and keeps what went wrong."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.ends = time.monotonic() + 60 * minutes
        self.moments = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.outcomes: dict[str, str] = {}  # digests, by config and seed
        self.lasted = {"run": 9.0, "resume": 9.0, "sweep": 15.0}  # seconds, of the last whole one
        self.lock = threading.Lock()
        (folder / "tmp").mkdir()
        self.environment = os.environ | {
            "DLRUN_RUNS_DIR": str(self.runs),
            "DLRUN_DATA_DIR": str(folder / "data"),
            "DLRUN_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT / "src"),
            "TMPDIR": str(folder / "tmp"),
        }

    @property
    def over(self) -> bool:
        return time.monotonic() > self.ends

    def start(self, *words: object, **options: object) -> "subprocess.Popen[str]":
        command = [*DLRUN, *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def call(self, what: str, *words: object, codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
        """Run a command to its end; an unexpected exit code or a traceback is a problem."""
        began = time.monotonic()
        ended = self.end(what, self.start(*words), codes)
        self.lasted[what] = time.monotonic() - began
        return ended

    def end(
        self, what: str, process: "subprocess.Popen[str]", codes: tuple[int, ...]
    ) -> tuple[int, str]:
        out, err = process.communicate()
        code = process.returncode
        with self.lock:
            self.counts[what] += 1
            # A Ctrl-C while Python itself starts is a traceback without a line of dlrun.
            traceback = "Traceback" in err and "src/dlrun" in err
            if code not in codes or traceback or "bug in dlrun" in err:
                self.problems.append(f"{what} ended with {code}: {err[-2000:]}")
        return code, out

    def killed(self, what: str, rows: str, *words: object) -> int:
        """Run a command, and send a signal to it or to a point of its sweep; the exit code.

        Most of the time it starts: half of the signals come once it has written `rows`.
        """
        process, late = self.start(*words), self.moments.random() < 0.5
        while late and process.poll() is None and not any(self.runs.glob(rows)):
            time.sleep(0.05)
        number = self.moments.choice(SIGNALS)
        try:
            process.wait(self.moments.uniform(0, 1 if late else self.lasted[what]))
        except subprocess.TimeoutExpired:
            victims = [process.pid, *self.points()] if what == "sweep" else [process.pid]
            try:
                os.kill(self.moments.choice(victims), number)
                self.counts["kills"] += 1
            except ProcessLookupError:  # the point has just ended
                pass
        return self.end(what, process, (0, 1, 2, 130, 143, -number))[0]

    def points(self) -> list[int]:
        """The processes of the points of sweeps: they write into a sweep's log."""
        return [
            process
            for process in processes(self.folder)
            if "sweeps" in readlink(f"/proc/{process}/fd/1")
        ]

    def same(self, what: str, content: bytes) -> None:
        """What has the same name must have the same bits."""
        digest = hashlib.sha256(content).hexdigest()
        with self.lock:
            if self.outcomes.setdefault(what, digest) != digest:
                self.problems.append(f"{what}: other bits than before")

    def single_runs(self, number: int) -> None:
        """One run, killed up to three times."""
        name, seed = f"single-{number}", self.moments.randrange(3)
        begin = [SINGLE, *SMOKE[SINGLE], *SIZES, "--name", name, "--quiet"]
        begin += [f"seed={seed}", "trainer.max_epochs=60"]
        kills = self.moments.randrange(4)
        while True:
            begun = [*self.runs.glob(f"{SINGLE}/*Z-{name}/config.yaml")]
            words = ["resume", begun[0].parent, "--quiet"] if begun else begin
            what = "resume" if begun else "run"
            if kills and not self.over:
                kills -= 1
                code = self.killed(what, f"{SINGLE}/*Z-{name}/metrics.csv", *words)
            else:
                code, _ = self.call(what, *words)
            if code == 0:
                break
            if kills == 0 and code != 0 and self.problems:
                return
        folder = begun[0].parent if begun else next(self.runs.glob(f"{SINGLE}/*Z-{name}"))
        self.same(f"weights of seed {seed}", (folder / "weights.pt").read_bytes())
        self.call("clean", "runs", "clean", SINGLE, "--keep-best", 5, "--yes", codes=(0, 1))

    def sweeps(self, number: int) -> None:
        """A sweep of six points, of which one is killed, or the sweep itself, some times."""
        name, grid = f"sweep-{number}", ["optimizer.lr=0.001,0.01", "--seeds", "3"]
        begin = ["sweep", SWEPT, *SMOKE[SWEPT], *grid, "--name", name, "--jobs", "2"]
        kills = self.moments.randrange(4)
        while True:
            begun = (self.runs / "sweeps" / name / "sweep.json").exists()
            words = ["sweep", "--resume", name, "--jobs", "2"] if begun else begin
            if kills and not self.over:
                kills -= 1
                code = self.killed("sweep", f"{SWEPT}/*Z-{name}-*/metrics.csv", *words)
            else:
                code, _ = self.call("sweep", *words)
            if code == 0:
                break
            if kills == 0 and self.problems:
                return
        self.same("the table of a sweep", (self.runs / "sweeps" / name / "table.csv").read_bytes())
        if number % 3 == 2:  # its runs are not needed any more
            self.call("clean", "runs", "clean", SWEPT, "--older-than", "0h", "--yes", codes=(0, 1))

    def look(self, number: int) -> None:
        """Commands that only read, on runs that others begin, resume and remove meanwhile."""
        _, said = self.call("list", "runs", "list", "--json", codes=(0, 2))
        finished = [one for one in json.loads(said or "[]") if one["state"] == "finished"]
        changing = (0, 1, 2)  # what was listed may have been removed
        if len(finished) > 1:
            one, other = self.moments.sample(finished, 2)
            self.call("show", "runs", "show", one["folder"], codes=changing)
            self.call("compare", "runs", "compare", one["folder"], other["folder"], codes=changing)
            self.call("check", "runs", "check", one["folder"], codes=changing)
            self.call("predict", "predict", one["folder"], "--test", codes=changing)
            self.call("tag", "runs", "tag", one["folder"], f"+t{number % 9}", codes=changing)
            page = self.folder / "report.html"
            self.call("report", "report", "--out", page, codes=changing)

    def repeat(self, work: Callable[[int], None]) -> None:
        number = 0
        try:
            while not self.over and not self.problems:
                work(number)
                number += 1
        except Exception as error:
            with self.lock:
                self.problems.append(f"{work.__name__}: {type(error).__name__}: {error}")


def processes(folder: Path) -> list[int]:
    """The processes that were started for a soak in a folder, other than this one."""
    mark, found = f"DLRUN_RUNS_DIR={folder}/".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def readlink(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def stay(seconds: float) -> None:
    """Do runs from Python in this process; print its descriptors and memory after each round.

    They are of an experiment that no other process removes.
    """
    import matplotlib.pyplot as plt

    import dlrun
    from dlrun.commands.report_reproduce import write_report
    from dlrun.run_folder.find import repair_latest_link
    from dlrun.system.resources import process_private_memory

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        values = {"data": {"source": "sample"}, "trainer": {"max_epochs": 1}}
        run = dlrun.run(STAYS, quiet=True, **values)
        list(map(plt.close, run.draw().values()))
        run.network()
        _ = run.metrics
        write_report([str(run.folder)], Path("stays.html"))
        shutil.rmtree(run.folder)
        repair_latest_link(run.folder.parents[1], STAYS)
        left = {
            "descriptors": len([*Path("/proc/self/fd").iterdir()]),
            "threads": len([*Path("/proc/self/task").iterdir()]),
            "bytes": process_private_memory(os.getpid()),
        }
        print(json.dumps(left), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--stay", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stay is not None:
        stay(args.stay)
        return 0
    shared_memory = set(Path("/dev/shm").iterdir())
    folder = Path(tempfile.mkdtemp(prefix="dlrun-soak-"))
    soak = Soak(folder, args.minutes, args.seed)
    print(f"{folder}: {args.minutes:g} minutes, seed {args.seed}", flush=True)
    staying = subprocess.Popen(
        [sys.executable, __file__, "--stay", str(60 * args.minutes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=soak.environment,
    )
    workers = [
        threading.Thread(target=soak.repeat, args=[work])
        for work in (soak.single_runs, soak.sweeps, soak.look)
    ]
    rounds: list[dict[str, int]] = []
    lines = (line for line in staying.stdout or () if line.startswith("{"))
    reader = threading.Thread(target=lambda: rounds.extend(map(json.loads, lines)))
    for thread in (*workers, reader):
        thread.start()
    began = time.monotonic()
    for thread in workers:
        while thread.is_alive():
            thread.join(60)
            minutes = (time.monotonic() - began) / 60
            told = f"{minutes:5.1f} min  {len(processes(folder)):2} processes"
            print(told, *(f"{what} {n}" for what, n in sorted(soak.counts.items())), flush=True)
    reader.join()
    _, said = staying.communicate()
    if staying.returncode:
        soak.problems.append(
            f"the process that stays ended with {staying.returncode}: {said[-2000:]}"
        )
    problems = left_over(soak, rounds, set(Path("/dev/shm").iterdir()) - shared_memory)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if problems:
        print(f"kept: {folder}")
        return 1
    print("nothing is left over")
    shutil.rmtree(folder)
    return 0


def left_over(soak: Soak, rounds: list[dict[str, int]], shared_memory: set[Path]) -> list[str]:
    """What is left after the soak: a sentence for each kind."""
    problems = []
    soak.call("check", "runs", "check")
    temporary = [*soak.runs.rglob(".new-*")]
    for path in (soak.folder / "tmp").iterdir():
        # torch makes one folder for a cache of its own. Python makes a folder for the socket of a
        # sweep's processes, which stays if the sweep is killed.
        if path.name.startswith("pymp-"):
            soak.counts["sockets of killed sweeps"] += 1
        elif not path.name.startswith("torchinductor_"):
            temporary.append(path)
    problems += [f"a temporary file: {path}" for path in temporary]
    problems += [f"a process: {number}" for number in processes(soak.folder)]
    problems += [f"shared memory: {name}" for name in shared_memory]
    soak.call("clean", "runs", "clean", "--older-than", "0h", "--yes")
    kept = [path for name in (SINGLE, SWEPT) for path in (soak.runs / name).glob("*")]
    problems += [f"not removed: {path}" for path in kept]
    warm = rounds[WARM:]
    if warm:
        first, last = warm[0], warm[-1]
        print(f"the process that stays, {len(rounds)} rounds: after {WARM} {first}, last {last}")
        if last["descriptors"] > first["descriptors"] or last["threads"] > first["threads"]:
            problems.append(f"descriptors or threads grew: {first}, then {last}")
        if last["bytes"] > first["bytes"] + GROWTH:
            problems.append(f"memory grew: {first}, then {last}")
    print(*(f"{what} {n}" for what, n in sorted(soak.counts.items())), sep=", ")
    return problems + soak.problems


if __name__ == "__main__":
    sys.exit(main())
