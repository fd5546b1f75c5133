"""The lab's notebook once, in one process: its networks with all their epochs, its lasso path.

Runs in benchmarks/.venv-lab: lab_chapter.py ARRAYS MNIST OUT; ARRAYS as for lab_imdb.py, MNIST as
for lab_mnist.py. Least squares and Hitters' lasso, which take less than a second, are left out.
"""

import json
import sys
import time
from pathlib import Path

import lab_imdb
import lab_lasso
import lab_mnist
import lab_tables


def main():
    arrays, mnist, out = sys.argv[1:]
    parts = {
        "hitters-dense": (lab_tables, ["hitters", 50]),
        "mnist-dense": (lab_mnist, ["dense", mnist, 30]),
        "mnist-logistic": (lab_mnist, ["logistic", mnist, 30]),
        "imdb-lasso": (lab_lasso, [arrays, 50]),
        "imdb-dense": (lab_imdb, ["dense", arrays, 30]),
        "nyse-rnn": (lab_tables, ["rnn", 200]),
        "nyse-dense": (lab_tables, ["dense", 20]),
        "imdb-lstm": (lab_imdb, ["lstm", arrays, 20]),
    }
    seconds = {}
    for name, (script, words) in parts.items():
        folder = Path(out) / name
        folder.mkdir()
        sys.argv = [script.__file__, *map(str, words), str(folder)]
        started = time.perf_counter()
        script.main()
        seconds[name] = time.perf_counter() - started
    (Path(out) / "lab.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
