"""Run one experiment on one file for several seeds, by the Python of a dlrun that is compared.

run_dlrun.py EXPERIMENT FILE TARGET TASK SEEDS RUNS_DIR
Writes RUNS_DIR/runs.json. The first error ends it.
"""

import json
import sys
import time
from pathlib import Path

import dlrun


def main() -> None:
    experiment, path, target, task, seeds, runs_dir = sys.argv[1:]
    runs, error = [], ""
    for seed in range(int(seeds)):
        started = time.perf_counter()
        try:
            run = dlrun.run(
                experiment,
                path,
                data={"target": target, "task": task},
                seed=seed,
                runs_dir=runs_dir,
                quiet=True,
            )
        except dlrun.DlrunError as problem:
            error = str(problem)
            break
        except Exception as problem:  # dlrun has a bug: report it
            error = f"FAULT: {type(problem).__name__}: {problem}"
            break
        runs.append(
            {
                "seed": seed,
                "folder": str(run.folder),
                "seconds": time.perf_counter() - started,
                "metrics": {
                    name.removeprefix("test_"): value
                    for name, value in run.record.metrics.items()
                    if name.startswith("test_")
                },
            }
        )
    Path(runs_dir, "runs.json").write_text(json.dumps({"runs": runs, "error": error}))


if __name__ == "__main__":
    main()
