"""Fixtures: the real command line as a subprocess, the real data where they are."""

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from dlrun.config.network_sections import NetworkConfig
from dlrun.config.yaml_loader import read_yaml_file
from dlrun.experiments import registry
from dlrun.system.signals import SIGNALS, handled_stop_signals

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
NAMES = registry.experiment_names()
LAB = registry.experiments_with_published_numbers()
EXPERIMENTS = [registry.find_experiment(name) for name in NAMES]
NETWORKS = [one.name for one in EXPERIMENTS if issubclass(one.config, NetworkConfig)]

# Variables that change what dlrun does or prints.
SETTINGS = ("DLRUN_DATA_DIR", "DLRUN_RUNS_DIR", "DLRUN_OFFLINE", "FORCE_COLOR")

Dlrun = Callable[..., "Ended"]
Done = Callable[[str], Path]
Open = Callable[..., "Page"]
Hide = Callable[[str], None]
Out = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Faults = Callable[["Page"], list[str]]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal that killed it) and its output."""

    returncode: int
    stdout: str
    stderr: str
    operations: int = 0  # on files in its folder `runs`, if the harness started it

    def is_told(self, code: int, *words: str) -> "Ended":
        """Assert the exit code, words of its message, and that there is no traceback."""
        assert self.returncode == code, f"{self.returncode}: {self.stderr}"
        assert "Traceback" not in self.stderr, self.stderr
        assert "bug in dlrun" not in self.stderr, self.stderr
        for word in words:
            assert word in self.stderr, self.stderr
        return self


@pytest.fixture(autouse=True, scope="session")
def _children_heed_signals() -> Iterator[None]:
    """Also where whoever started the tests has them ignored, as `nohup` and a script's `&` do."""
    ignored = SIGNALS.keys() - handled_stop_signals()
    for number in ignored:
        signal.signal(number, lambda *_: None)  # a child begins with the system's own handling
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def cli(tmp_path: Path, capsys: Out) -> Dlrun:
    """Run `dlrun ...` in an empty folder, in this process: for commands that start no run."""
    from dlrun.cli.main import run_command_line

    def command(*arguments: object, **env: str) -> Ended:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            for name in SETTINGS:
                patch.delenv(name, raising=False)
            for name, value in {"COLUMNS": "100", **env}.items():
                patch.setenv(name, value)
            code = run_command_line([*map(str, arguments)])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return command


def started(folder: Path, *command: object, **env: str) -> "subprocess.Popen[str]":
    """Start a command in a folder; its output is read by pipes."""
    return subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(**env),
    )


def completed(folder: Path, *command: object, timeout: float = 200, **env: str) -> Ended:
    """Run a command in a folder to its end."""
    with started(folder, *command, **env) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Ended(process.returncode, stdout, stderr)


def python(folder: Path, *arguments: object, timeout: float = 200, **env: str) -> Ended:
    """Run Python in a folder."""
    return completed(folder, sys.executable, *arguments, timeout=timeout, **env)


def until(
    condition: Callable[[], object],
    seconds: float = 180,
    said: Callable[[], object] = str,
    pause: float = 0.005,
) -> None:
    """Wait until a condition is true; after so many seconds, fail with what `said` returns."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(pause)


@pytest.fixture
def dlrun(tmp_path: Path) -> Dlrun:
    """Run `dlrun ...` in an empty folder, in a process of its own."""
    return functools.partial(python, tmp_path, "-m", "dlrun")


@pytest.fixture
def forked(tmp_path: Path) -> Dlrun:
    """As `dlrun`, without its start: for tests of what a command does, not of how it starts."""
    from tests import harness  # the server starts with the first use

    return functools.partial(harness.run, tmp_path)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A finished tiny run of an experiment, done once: to be copied, not changed."""
    from tests.experiments.use import once

    def words(name: str) -> list[str]:
        return [*smoke(name), *(["--summary"] if name in NETWORKS else [])]

    return once(tmp_path_factory, "done", words)


@pytest.fixture
def plugins(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder for packages of experiments, and the environment in which they are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    there = os.environ.get("PYTHONPATH")  # of a dlrun that is tested in place of the installed one
    return folder, {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), there)))}


@pytest.fixture
def terminal(monkeypatch: Patch) -> None:
    """A terminal of 80 columns."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def without_package(monkeypatch: Patch) -> Hide:
    """Make a package look as if it were not installed."""

    def hide(package: str) -> None:
        monkeypatch.setattr(
            "importlib.util.find_spec",
            lambda name, *more: None if name == package else find_spec(name, *more),
        )

    return hide


def smoke(name: str) -> list[str]:
    """The command line of an experiment's tiny run, on our example if it is on own data."""
    files = registry.shipped_config(name).overlays("smoke")
    path = read_yaml_file(files[0]).values.get("data", {}).get("path")
    return [*overlaid(name, *files), *(setting(f"data.path={ROOT / path}") if path else [])]


def overlaid(name: str, *files: Path) -> list[str]:
    """The command line of an experiment with overlays over its config."""
    return [name, *(word for file in files for word in ("--config", str(file)))]


def setting(*values: str) -> list[str]:
    """Each value with its `--set`."""
    return [word for value in values for word in ("--set", value)]


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process without SETTINGS, which imports this tree's dlrun."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    paths = [more.get("PYTHONPATH"), str(ROOT / "src"), environment.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, paths))
    return environment | {"COLUMNS": "100"} | more | {"PYTHONPATH": path}


def missing(what: str, required: str) -> NoReturn:
    """Skip the test, or fail it if the environment says that what it needs must be there."""
    (pytest.fail if os.environ.get(required) else pytest.skip)(what)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None or find_spec("playwright") is None:
        message = "no browser: install the package playwright and the program chromium"
        missing(message, "DLRUN_REQUIRE_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: "Browser", written: Path) -> Iterator[Open]:
    """Open the page of the fixture `written`; no page may have an error or use a network."""
    wrong: list[str] = []
    contexts = []

    def note(url: str) -> None:
        if not url.startswith(("data:", written.as_uri())):
            wrong.append(f"request: {url}")

    def open_page(**options: Any) -> "Page":
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda said: wrong.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: note(request.url))
        page.goto(written.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, wrong


@pytest.fixture(scope="session")
def axe_faults() -> Faults:
    """Return what axe-core finds on a page: the rule and the elements of each fault."""
    if find_spec("axe_playwright_python") is None:
        missing("no axe-core: install the package axe-playwright-python", "DLRUN_REQUIRE_BROWSER")
    from axe_playwright_python.sync_playwright import Axe

    def find(page: "Page") -> list[str]:
        violations = Axe().run(page).response["violations"]
        return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in violations]

    return find


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real reviews and photographs."""
    folder = Path(os.environ.get("DLRUN_TEST_DATA") or "/nowhere")
    if not (folder / "aclImdb_v1.tar.gz").is_file():
        message = "set DLRUN_TEST_DATA to the folder with aclImdb_v1.tar.gz, mnist/, book_images/"
        missing(f"no real data: {message}", "DLRUN_REQUIRE_DATA")
    return folder.resolve()


def pytest_configure() -> None:
    """Make the tests' folders in memory where there is room: dlrun flushes each file to a disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="the nightly sizes of tests/torture")


# Whole commands by the dozen: `make test-slow`, and `.ci/run`.
SLOW = (
    "torture/", "test_examples.py", "test_portable.py", "test_resume.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        if any(part in path for part in SLOW):
            item.add_marker("slow")


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether the nightly sizes are asked for, or only their two-minute share."""
    return bool(request.config.getoption("--torture"))
