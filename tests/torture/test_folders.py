"""Run folders that something else has written: each use is a result or one message."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run
from tests.conftest import Dlrun, Done
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.use import put

Damage = Callable[[Path], object]
FILES = (
    "results.json", "environment.json", "config.yaml", "metrics.csv", "checkpoint", "weights.pt",
    "coefficients.npz", "assets.json", "checkpoint.parts", "run.lock", "log.txt",
)  # fmt: skip
CONTENTS = (
    b"", b"\xff\x00garbage\n", b"null", b"[]", b"{", b"[" * 100_000, b"a,b\n", b'"',
    b"a: &b\nc: *b\n",
)  # fmt: skip
VALUES: dict[str, list[tuple[str, Any]]] = {
    "results.json": [
        ("metrics", {}), ("metrics", {"test_accuracy": None}), ("metrics", {"a": "b"}),
        ("figures", ["../../x", "nope.png"]), ("files", {}), ("steps", 10**9), ("run", 5),
        ("result_steps", None), ("accelerator", None), ("experiment", "nope"), ("id", ""),
        ("experiment", "../x"), ("experiment", 7), ("reference", {"book": 5}), ("format", 99),
        ("reference", {"book": {"test_accuracy": "x"}}), ("seconds", {"total": None}),
        ("data", "\x1b[31m"), ("best_index", 99999), ("best_index", "x"), ("training_reviews", 0),
        ("threads", 0), ("threads", 10**12), ("format", -1), ("status", "x"),
        ("compared_with", 5), ("compared_with", "/x"), ("started", "not a date"),
    ],
    "environment.json": [
        ("config", []), ("config", {}), ("config", {"seed": "x"}), ("packages", []), ("code", 5),
        ("packages", {"torch": 5}), ("threads", "x"), ("dlrun", None),
    ],
}  # fmt: skip
ASSETS = (b"{}", b"[]", b'{"width": "x", "labels": 5}', b'{"width": 99999999999}', b"PK")


def replacing(make: Callable[[Path], object]) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def setting_value(key: str, value: Any, **more: Any) -> Damage:
    def damage(path: Path) -> None:
        about = json.loads(path.read_text())
        about.pop("sha256", None)  # a change by hand that is meant
        path.write_text(json.dumps(about | {key: value} | more))

    return damage


def damages() -> list[tuple[str, Damage]]:
    """Names of files, and what is done to each."""
    made: list[Damage] = [Path.unlink, replacing(os.mkfifo), replacing(os.mkdir)]
    made.append(replacing(lambda path: path.symlink_to("/nonexistent/x")))
    made += [lambda path, raw=raw: path.write_bytes(raw) for raw in CONTENTS]
    found = [(name, damage) for name in FILES for damage in made]
    for name, values in VALUES.items():
        found += [(name, setting_value(key, value)) for key, value in values]
    for key, value in VALUES["results.json"]:
        found.append(("results.json", setting_value(key, value, status="running")))
    for name in ("assets.json", "weights.pt", "coefficients.npz"):  # their SHA-256 is right
        found += [(name, lambda path, raw=raw: put(path.parent, path.name, raw)) for raw in ASSETS]
    return found


USES: list[Callable[[Run], object]] = [Run.network, Run.draw, Run._repr_html_, repr]
USES += [
    lambda run, name=name: getattr(run, name)
    for name in ("metrics", "assets", "results", "environment", "config", "vocabulary")
]
COMMANDS = (["runs", "check"], ["resume"], ["resume", "--force", "--json"])


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_each_use_of_a_malformed_folder_is_a_result_or_a_message(
    tmp_path: Path, done: Done, cli: Dlrun, experiment: str, torture: bool
) -> None:
    whole, folder = done(experiment), tmp_path / "runs" / experiment / "20260101T000000Z-a"
    cases = damages() if torture else random.Random(experiment).sample(damages(), 25)
    for name, damage in cases:
        for use in (*USES, *COMMANDS) if (whole / name).exists() else ():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            damage(folder / name)
            if callable(use):
                with contextlib.suppress(DlrunError):
                    use(Run.open(folder))
                assert folder.is_dir()
                continue
            ended = cli(*use, folder)
            assert ended.returncode in (0, 1, 2) and "bug in dlrun" not in ended.stderr
            assert ended.returncode == 0 or "error: " in ended.stderr
            assert len(ended.stderr) < 3000
