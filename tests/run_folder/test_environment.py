import sys
from pathlib import Path

import pytest

from dlrun.run_folder.environment import code_digest, describe_environment, versions
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_environment
from dlrun.system.threads import usable_cores


def test_environment_says_what_is_needed_to_repeat(tmp_path: Path) -> None:
    about = describe_environment("dlrun")
    RunFolder(tmp_path).write_json("environment.json", about | {"config": {"seed": 3}})
    environment = read_environment(tmp_path)
    assert environment.packages["torch"]
    assert environment.packages == versions()
    assert environment.threads == usable_cores() >= 1
    assert environment.config == {"seed": 3}
    assert environment.code == code_digest("dlrun")
    wanted = {"python", "dlrun", "git_commit", "platform", "processor", "command", "folder"}
    assert wanted <= about.keys()


def digest_of(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    package = folder / "somebodys_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return code_digest("somebodys_package")


def test_a_changed_number_is_other_code_and_a_changed_comment_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest_of(tmp_path, monkeypatch, "def f(x):\n    return 2 * x\n")
    same = '"""About."""\n\ndef f(x):\n    """Twice."""\n    return 2*x  # much\n'
    assert digest_of(tmp_path, monkeypatch, same) == first
    others = [
        digest_of(tmp_path, monkeypatch, code)
        for code in ("def f(x):\n    return 3 * x\n", "def f(x):\n    return x * 2\n")
    ]
    assert len({first, *others, code_digest("dlrun")}) == 4


@pytest.mark.parametrize("code", ["def f():\n    'only words'\n", "class A:\n    'words'\n"])
def test_a_body_of_nothing_but_words_is_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    assert digest_of(tmp_path, monkeypatch, code)
