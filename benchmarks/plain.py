"""Run a script of examples/plain as it is, and note when each epoch or penalty ends.

plain.py SCRIPT DATA OUT [OPTIONS of the script ...]
"""

import itertools
import json
import os
import re
import runpy
import sys
import time
from pathlib import Path


def main():
    script, data, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    os.environ["DLRUN_DATA_DIR"] = data
    lines, times = [], []

    def noted(*words):
        times.append(time.perf_counter())
        lines.append(" ".join(map(str, words)))
        print(lines[-1], flush=True)

    sys.argv = [script, *sys.argv[4:]]
    times.append(time.perf_counter())
    runpy.run_path(script, init_globals={"print": noted}, run_name="__main__")
    took = [after - before for before, after in itertools.pairwise(times)]
    steps = [
        seconds
        for line, seconds in zip(lines, took, strict=True)
        if line.startswith(("epoch", "lambda"))
    ]
    tested = re.findall(r"^test (\w+) (-?[\d.]+)$", "\n".join(lines), re.MULTILINE)
    found = {"step_seconds": steps, **{f"test_{name}": float(value) for name, value in tested}}
    (out / "plain.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
