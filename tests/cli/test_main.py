"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import NAMES, Dlrun, smoke
from tests.data.test_imdb import archive_of
from tests.experiments.test_registry import WORKING, plugin, plugins

__all__ = ["plugins"]


def test_help_shows_the_sections_and_every_experiment(dlrun: Dlrun) -> None:
    done = dlrun("--help")
    assert done.returncode == 0
    assert NAMES
    for word in (
        "Experiments",
        *NAMES,
        "resume",
        "config",
        "data",
        "runs",
        "accelerators",
        "demo",
        "new",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command",
    [[name] for name in NAMES]
    + [
        ["resume"],
        ["config"],
        ["accelerators"],
        ["demo"],
        ["new"],
        ["data", "fetch"],
        ["data", "verify"],
        ["data", "show"],
        ["runs", "check"],
    ],
)
def test_every_command_has_an_example(dlrun: Dlrun, command: list[str]) -> None:
    assert f"Example: dlrun {' '.join(command)}" in dlrun(*command, "--help").stdout


def test_version(dlrun: Dlrun) -> None:
    assert dlrun("--version").stdout.startswith("dlrun ")


@pytest.mark.parametrize("name", NAMES)
def test_config_prints_yaml_that_config_reads_back(dlrun: Dlrun, name: str, tmp_path: Path) -> None:
    printed = dlrun("config", name, "--set", "seed=7").stdout
    assert yaml.safe_load(printed)["seed"] == 7
    (tmp_path / "again.yaml").write_text(printed)
    assert dlrun("config", name, "--config", "again.yaml").stdout == printed


def test_dry_run_writes_nothing(dlrun: Dlrun, tmp_path: Path) -> None:
    done = dlrun("imdb-lstm", "--dry-run")
    assert done.returncode == 0
    assert "the config is valid" in done.stderr
    assert yaml.safe_load(done.stdout)["trainer"]["max_epochs"] == 20
    assert list(tmp_path.iterdir()) == []


def test_later_config_wins_over_earlier_and_set_over_both(dlrun: Dlrun, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("batch_size: 1\nseed: 1\noptimizer: {lr: 0.5}\n")
    (tmp_path / "b.yaml").write_text("batch_size: 2\nseed: 2\n")
    options = ("--config", "a.yaml", "--config", "b.yaml", "--set", "seed=3")
    values = yaml.safe_load(dlrun("config", "imdb-dense", *options).stdout)
    assert (values["batch_size"], values["seed"], values["optimizer"]["lr"]) == (2, 3, 0.5)


def test_all_faults_at_once_with_file_line_key_and_the_right_name(
    dlrun: Dlrun, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "# comment\noptimiser:\n  lr: 0.1\ntrainer:\n  max_epochs: ten\ndata: {source: keraz}\n"
    )
    done = dlrun("imdb-dense", "--config", "mine.yaml", "--set", "batch_size=0")
    assert done.returncode == 2
    assert done.stdout == ""
    for part in (
        "4 faults",
        "mine.yaml:2: optimiser: unknown key; did you mean 'optimizer'?",
        "mine.yaml:5: trainer.max_epochs: expected a whole number, got 'ten'",
        "mine.yaml:6: data.source: expected 'stanford', 'keras', 'sample', 'csv' or 'folder'",
        "did you mean 'keras'?",
        "--set batch_size=0: batch_size: expected a value greater than or equal to 1, got 0",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imdb-dense", "--config", "none.yaml"], "none.yaml: no such config file"),
        (["imdb-dense", "--config", "list.yaml"], "expected 'key: value' lines"),
        (["imdb-dense", "--config", "bad.yaml"], "bad.yaml:3: not valid YAML"),
        (["imdb-dense", "--set", "seed"], "expected KEY=VALUE"),
        (["imdb-dense", "--accelerator", "gpu"], "gpu"),
        (["imdb-dense", "--no-such-option"], "--no-such-option"),
        (["imdb-dens"], "imdb-dens"),
        (["config", "imdb-dens"], "imdb-dense"),
        (["classify-images", "nowhere.jpg"], "nowhere.jpg: no such image or folder"),
        (["classify-images", "empty"], "empty: no images in this folder"),
        (["imdb-dense", "--runs-dir", "bad.yaml"], "bad.yaml"),
        (["imdb-dense", "--set", "data.archive=none.tar.gz"], "none.tar.gz: no such file"),
        (["imdb-dense", "--set", "data.archive=bad.yaml"], "bad.yaml: not a tar archive"),
        (["accelerators", "imdb-lasso"], "trains no network"),
        (
            ["data", "show", "imdb", "--set", "data.source=sample", "--first", "9999"],
            "--first 9999",
        ),
    ],
)
def test_usage_mistakes_end_with_a_message_and_2(
    dlrun: Dlrun, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: 1\nb: [1\n")
    (tmp_path / "empty").mkdir()
    done = dlrun(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imdb-dense"], "DLRUN_OFFLINE forbids the network"),
        (["cifar100"], "DLRUN_OFFLINE forbids the network"),
        (["classify-images"], "DLRUN_OFFLINE forbids the network"),
        (["data", "fetch", "imdb", "--set", "data.archive=none.tar.gz"], "no such file"),
        (["imdb-dense", "--set", "data.archive=damaged.tar.gz"], "damaged, or not a tar archive"),
        (["data", "fetch", "imdb"], "DLRUN_OFFLINE"),
        (["data", "verify", "imdb"], "not there"),
    ],
)
def test_missing_or_damaged_data_end_with_a_message_and_1(
    dlrun: Dlrun, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "damaged.tar.gz").write_bytes(b"\x1f\x8b\x08" + b"not an archive" * 50)
    done = dlrun(*arguments, DLRUN_OFFLINE="1", TORCH_HOME=str(tmp_path / "torch"))
    assert done.returncode == 1, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    for results in tmp_path.glob("runs/*/*/results.json"):
        assert json.loads(results.read_text())["status"] == "failed"


def test_without_network_the_remedy_names_the_place_and_the_sample(dlrun: Dlrun) -> None:
    done = dlrun("imdb-dense", DLRUN_OFFLINE="1")
    assert "put aclImdb_v1.tar.gz into" in done.stderr
    assert "--set data.source=sample" in done.stderr


def test_verify_of_another_archive_is_an_error(dlrun: Dlrun, tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    sets = ("--set", f"data.archive={archive}", "--set", "data.validation=1")
    done = dlrun("data", "verify", "imdb", *sets)
    assert done.returncode == 1
    assert "NOT the published" in done.stdout
    assert "contents are complete" in done.stdout
    assert f"{archive.name}: not the published data" in done.stderr
    assert dlrun("data", "fetch", "imdb", *sets).returncode == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_error_before_the_run_is_json_too(dlrun: Dlrun, tmp_path: Path, as_json: bool) -> None:
    done = dlrun("imdb-dense", "--set", "seed=x", *(["--json"] if as_json else []))
    assert done.returncode == 2
    assert "seed: expected a whole number" in done.stderr
    if as_json:
        found = json.loads(done.stdout)
        assert found["status"] == "failed"
        assert "seed: expected a whole number" in found["error"]
    else:
        assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_show_decodes_reviews(dlrun: Dlrun) -> None:
    done = dlrun("data", "show", "imdb", "--count", "2", "--set", "data.source=sample")
    assert done.returncode == 0
    assert done.stdout.count("<START>") == 2
    assert "generated sample reviews" in done.stderr


def test_accelerators_lists_every_device_with_its_reason(dlrun: Dlrun) -> None:
    done = dlrun("accelerators")
    assert done.returncode == 0
    assert "cpu" in done.stdout and "cuda" in done.stdout and "mps" in done.stdout


def test_accelerators_times_an_epoch(dlrun: Dlrun, tmp_path: Path) -> None:
    done = dlrun("accelerators", *smoke("imdb-dense"))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "accelerators" / "latest"
    assert (folder / "accelerators.png").stat().st_size > 5000
    header, first, *_ = (folder / "accelerators.csv").read_text().splitlines()
    assert header == "device,available,seconds_per_epoch,ratio_to_cpu,reason"
    device, available, seconds, ratio, _ = first.split(",")
    assert (device, available, float(ratio)) == ("cpu", "True", 1.0)
    assert float(seconds) > 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(dlrun: Dlrun, shell: str) -> None:
    done = dlrun(
        _DLRUN_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="dlrun imdb-",
        COMP_WORDS="dlrun imdb-",
        COMP_CWORD="1",
    )
    assert "imdb-dense" in done.stdout


@pytest.mark.parametrize(
    ("set_by_user", "found"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")]
)
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(
    set_by_user: dict[str, str], found: str
) -> None:
    script = (
        "import os, sys; sys.argv = ['dlrun', '--version']\n"
        "from dlrun.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=others | set_by_user,
    )
    assert done.stdout.split()[-1] == found


@pytest.mark.parametrize("command", [["config"], ["--dry-run"], ["--dry-run", "--json"]])
def test_a_printed_config_has_every_character_and_none_that_controls(
    forked: Dlrun, tmp_path: Path, command: list[str]
) -> None:
    odd = "a\u00ad\u2028\x9b\x1b\u202e"
    words = ["--set", f"data.mirrors=[{json.dumps(odd)}]"]
    name = ["imdb-dense"]
    done = forked(*(command + name if command == ["config"] else name + command), *words)
    assert yaml.safe_load(done.stdout)["data"]["mirrors"] == [odd]
    assert all(line.isprintable() for line in done.stdout.split("\n"))


LOUD = """
import atexit, os, subprocess, sys
print("printed as it is loaded")
atexit.register(lambda: print("printed at the end"))
subprocess.run([sys.executable, "-c", "print('a child process')"], check=True)
os.write(1, b"descriptor 1")
""" + WORKING.replace("        report =", "        print('printed as it runs')\n        report =")


def test_json_is_alone_on_stdout_whatever_else_is_printed(
    dlrun: Dlrun, plugins: tuple[Path, Mapping[str, str]]
) -> None:
    folder, env = plugins
    plugin(folder, "loud", code=LOUD)
    done = dlrun("loud", "--json", **env)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "finished")
    for said in ("as it is loaded", "as it runs", "at the end", "a child process", "descriptor 1"):
        assert said in done.stderr
    failed = dlrun("loud", "--json", "--set", "words=x", **env)
    assert (failed.returncode, json.loads(failed.stdout)["status"]) == (2, "failed")
    point = json.loads(dlrun("sweep", "loud", "--seeds", "1", "--json", **env).stdout)
    assert point["status"] == "finished"
