"""Run folders that something else has written: each use is a result or one message."""

import contextlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.main import run as command
from dlrun.errors import DlrunError
from dlrun.experiments.run import Run
from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.harness import only_run, run, words

Harm = Callable[[Path], object]
FILES = (
    "results.json", "environment.json", "config.yaml", "metrics.csv", "checkpoint", "weights.pt",
    "coefficients.npz", "assets.json", "checkpoint.parts", "run.lock", "log.txt",
)  # fmt: skip
CONTENTS = (b"", b"\xff\x00garbage\n", b"null", b"[]", b"a,b\n", b'"', b"a: &b\nc: *b\n")
RECORD: list[tuple[str, Any]] = [
    ("metrics", {}), ("metrics", {"test_accuracy": None}), ("metrics", {"a": "b"}),
    ("figures", ["../../x", "nope.png"]), ("files", {}), ("steps", 10**9), ("result_steps", None),
    ("accelerator", None), ("experiment", "nope"), ("experiment", "../x"), ("run", 5), ("id", ""),
    ("reference", {"book": 5}), ("reference", {"book": {"test_accuracy": "x"}}), ("format", 99),
    ("seconds", {"total": None}), ("data", "\x1b[31m"), ("best_index", 99999), ("best_index", "x"),
    ("training_reviews", 0), ("threads", 0), ("threads", 10**12), ("format", -1), ("status", "x"),
    ("compared_with", 5), ("compared_with", "/x"), ("started", "not a date"),
]  # fmt: skip
ENVIRONMENT: list[tuple[str, Any]] = [
    ("config", []), ("config", {}), ("config", {"seed": "x"}), ("packages", []), ("code", 5),
    ("packages", {"torch": 5}), ("threads", "x"), ("dlrun", None),
]  # fmt: skip
ASSETS = (b"{}", b"[]", b'{"width": "x", "labels": 5}', b'{"width": 99999999999}', b"PK")


def replaced(name: str, make: Callable[[Path], object]) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return harm


def with_value(name: str, key: str, value: Any, **more: Any) -> Harm:
    def harm(folder: Path) -> None:
        about = json.loads((folder / name).read_text())
        about.pop("sha256", None)  # a change by hand that is meant
        (folder / name).write_text(json.dumps(about | {key: value} | more))

    return harm


def sealed(name: str, content: bytes) -> Harm:
    """With its right SHA-256 in the record."""

    def harm(folder: Path) -> None:
        files = json.loads((folder / "results.json").read_text())["files"]
        (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with_value("results.json", "files", files | {name: sha256(content).hexdigest()})(folder)

    return harm


def harms() -> list[Harm]:
    found: list[Harm] = []
    for name in FILES:
        found.append(lambda folder, name=name: (folder / name).unlink())
        found += [replaced(name, os.mkfifo), replaced(name, os.mkdir)]
        found.append(replaced(name, lambda path: path.symlink_to("/nonexistent/x")))
        found += [replaced(name, lambda path, raw=raw: path.write_bytes(raw)) for raw in CONTENTS]
    for key, value in RECORD:
        found.append(with_value("results.json", key, value))
        found.append(with_value("results.json", key, value, status="running"))
    found += [with_value("environment.json", key, value) for key, value in ENVIRONMENT]
    for name in ("assets.json", "weights.pt", "coefficients.npz"):
        found += [sealed(name, content) for content in ASSETS]
    return found


USES: dict[str, Callable[[Run], object]] = {
    name: lambda run, name=name: getattr(run, name)
    for name in ("metrics", "assets", "results", "environment", "config", "vocabulary")
}
USES |= {"network": Run.network, "draw": Run.draw, "html": Run._repr_html_, "repr": repr}


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_malformed_folders(tmp_path: Path, experiment: str, torture: bool, tally: Tally) -> None:
    run(tmp_path, *words(experiment)).is_told(0)
    whole = only_run(tmp_path, experiment)
    assert whole is not None
    folder = tmp_path / "harmed" / experiment / whole.name
    cases = harms() if torture else random.Random(experiment).sample(harms(), 25)
    tried = 0
    for harm in cases:
        for name, use in USES.items():
            if not harmed(whole, folder, harm):
                break
            with contextlib.suppress(DlrunError):
                use(Run.open(folder))
            tried += 1
            assert folder.is_dir(), name
        else:
            for words_ in (["runs", "check"], ["resume"], ["resume", "--force", "--json"]):
                told(*words_, str(folder))
                tried += 1
    tally("uses of malformed run folders", tried)


def harmed(whole: Path, folder: Path, harm: Harm) -> bool:
    """A copy with the harm in it; False where this experiment has no such file."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    try:
        harm(folder)
    except FileNotFoundError:
        return False
    return True


def told(*arguments: str) -> None:
    """The command ends with a code of ours and no fault."""
    with (
        contextlib.redirect_stderr(io.StringIO()) as err,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = command(list(arguments))
    assert code in (0, 1, 2), arguments
    assert "bug in dlrun" not in err.getvalue(), err.getvalue()
    assert code == 0 or "error: " in err.getvalue()
