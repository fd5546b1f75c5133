"""Every command in README and docs: it runs here, made small, or REASONS says why not."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image
from torch import nn

import dlrun.plugin
from dlrun.api import Run
from dlrun.config.network_sections import OptimizerConfig
from dlrun.config.sections import Reference
from dlrun.data.download import paths_in_installed_packages
from tests.conftest import NAMES, ROOT, Dlrun, Done, python, smoke
from tests.experiments.use import rows_of_test
from tests.test_docs import dlrun_commands, read, shell_lines

REASONS = {
    r"^make ": "a target, of which CI runs most: tests/test_project_files.py knows all",
    r"\bpip (install|wheel)|^pipx|-m venv|bin/activate$": "installs: see tests/test_package.py",
    r"^export \w+=": "sets a variable",
    r"^python mine.py": "runs a plain script: tests/test_plain_own.py",
    r"^jupyter ": "a program that stays: tests/test_examples.py runs the notebook",
    r"--slurm|--status waiting": "needs a cluster: tests/slurm",
    r"^dlrun (sweep )?(autoencoder|diabetes|(config )?my-experiment)": "tests/test_examples.py",
    r"^dlrun report --watch": "goes on until Ctrl-C: tests/reports/test_watch.py",
    r"^dlrun demo": "takes minutes: tests/cli/test_demo.py",
    r"^dlrun reproduce": "takes minutes: tests/reproduction",
    r"benchmarks/tables/(compare|models)": "takes minutes, needs packages that dlrun does not",
    r"data fetch": "reads the published files: tests/data, tests/test_realdata.py",
    r"--install-completion": "changes the user's shell: tests/cli/test_completion.py",
}
ROWS = 300
LINES = {line for _, line in shell_lines() if not any(re.search(one, line) for one in REASONS)}


def write_table(path: Path) -> None:
    """Write a table with each column that the docs name."""
    films = ["a dull film", "a clumsy plot", "a superb film", "a moving story"]
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label", "folder", "price", "maker", "name", "power"])
        for row in range(ROWS):
            good = row % 2
            text = f"{films[2 * good + row % 4 // 2]} {row % 20}"
            label = ("negative", "positive")[good]
            table.writerow([text, label, label, 100 + row, f"m{row % 3}", f"n{row % 9}", row % 50])


def readers_files(folder: Path) -> None:
    """Write the files that a reader of the docs would have."""
    for name in ("mails", "mine", "train", "test", "cars", "new-cars", "new"):
        write_table(folder / f"{name}.csv")
    (folder / "mine.yaml").write_text("seed: 1\n")
    shutil.copytree(ROOT / "examples" / "own", folder / "examples" / "own")
    for label in ("neg", "pos"):
        for number in range(ROWS // 2):
            file = folder / "reviews" / label / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"a {'dull' if label == 'neg' else 'superb'} film {number}")
    pictures = [f"birds/train/{bird}/{n}.jpg" for bird in ("owl", "robin") for n in range(20)]
    for name in (*pictures, "photos/owl.jpg", "photos/seven.jpg", "holiday.jpg", "pictures/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "navy" if "owl" in name else "red").save(folder / name)


def small(words: list[str]) -> list[str]:
    """The words of a command, with an experiment's tiny config and few seeds, trials and folds.

    Of a schedule with four epochs, which it needs.
    """
    words = [*words]
    for option, number in (("--seeds", "2"), ("--trials", "3"), ("--folds", "2")):
        if option in words:
            words[words.index(option) + 1] = number
    named = [place for place, word in enumerate(words[:2]) if word in NAMES]
    if named and (named[0] == 0 or words[0] == "sweep"):
        words[named[0] : named[0] + 1] = smoke(words[named[0]])
    if any("warmup" in word for word in words):
        words += ["--set", "trainer.max_epochs=4"]
    if words[:2] == ["runs", "rm"]:
        words += ["--yes"]
    return words


def readers_runs(line: str, folder: Path, done: Done, forked: Dlrun) -> None:
    """Put the runs there that a command is about, of which `latest` is the last."""

    def put_run(name: str, runs: str = "runs", as_name: str = "") -> None:
        run = done(name)
        target = folder / runs / (name if runs == "runs" else "ada") / (as_name or run.name)
        shutil.copytree(run, target)

    if "--csv new.csv" in line:
        forked(*small("table-linear cars.csv data.target=price --name first".split())).is_told(0)
    elif "cars.csv" in line and "predict" in line:
        first = "table-lasso cars.csv data.target=price"
        forked(*small(first.split())).is_told(0)
    elif "players.csv" in line:
        put_run("hitters-dense")
        rows_of_test(Run.open(done("hitters-dense")), folder / "players.csv")
    elif "--resume" in line:
        forked(*small(["sweep", "imdb-dense", "--seeds", "2"])).is_told(0)
    elif "handed-in" in line:
        put_run("hitters-dense", "handed-in")
    elif named := re.findall(r"([a-z0-9-]+)/latest", line):
        for name in named:
            put_run(name)
    elif named := re.findall(r"\bnyse-linear/(with|without)\b", line):
        for name in named:
            put_run("nyse-linear", as_name=f"20261126T101500Z-{name}")
    elif named := re.findall(r"\b(ff75|bcc3|lab|wide)\b", line):
        for name in named:
            put_run("imdb-dense", as_name=f"20261126T101500Z-{name}")
    else:
        about = {"latest photos/owl.jpg": "cifar100", "latest photos/seven.jpg": "mnist-dense"}
        put_run(next((name for words, name in about.items() if words in line), "imdb-dense"))


def test_each_reason_is_of_a_command() -> None:
    lines = [line for _, line in shell_lines()]
    assert not [reason for reason in REASONS if not any(re.search(reason, one) for one in lines)]
    assert not [line for line in LINES if not [*dlrun_commands(line)]]
    assert len(LINES) > 80


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted(LINES))
def test_commands_run(tmp_path: Path, done: Done, forked: Dlrun, line: str) -> None:
    if "islp:" in line and not paths_in_installed_packages("ISLP"):
        pytest.skip("the package islp is not installed")
    readers_files(tmp_path)
    readers_runs(line, tmp_path, done, forked)
    for words in dlrun_commands(line):
        env = {"WANDB_MODE": "offline"} if "wandb" in line else {}
        ended = forked(*small(words), DLRUN_OFFLINE="1", **env)
        if not (len(words) < 3 and "missing argument" in ended.stderr):  # a text names the command
            ended.is_told(0)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(ROOT / "docs" / "how-to" / page), re.DOTALL)


@pytest.mark.slow
def test_the_blocks_of_python_run_and_are_typed(tmp_path: Path) -> None:
    readers_files(tmp_path)
    block, frame, arrays, in_notebook = blocks("python.md", "python")
    tiny = ", ".join(repr(word) for word in smoke("imdb-dense")[2::2])
    code = block.replace('"imdb-dense",', f'"imdb-dense", config=[{tiny}],')
    assert code.count("config=[") == 2
    code = code.replace("seeds=5", "seeds=1")
    code += frame + arrays.replace("hitters()", "hitters(sample=True)")
    code += in_notebook.replace('"imdb-dense",', f'"imdb-dense", config=[{tiny}],')
    python(tmp_path, "-c", f"{code}\nassert longer.record.seed == 3").is_told(0)
    (tmp_path / "user.py").write_text(
        f"{block}{frame}{arrays}{in_notebook}reveal_type(dlrun.list_runs)\n"
    )
    told = python(
        tmp_path, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache", "user.py"
    )
    assert "Success" in told.stdout and "list[" in told.stdout and "Any" not in told.stdout


def test_the_declaration_is_that_of_the_template() -> None:
    declaration, _ = blocks("own-experiment.md", "python")
    template = ROOT / "src" / "dlrun" / "cli" / "template" / "src" / "my_experiment"
    assert declaration in read(template / "experiment.py")


def test_the_block_of_an_optimizer_of_its_own_runs() -> None:
    _, block = blocks("own-experiment.md", "python")
    names = {name: getattr(dlrun.plugin, name) for name in dlrun.plugin.__all__}
    names["replace"] = replace
    exec(f"from __future__ import annotations\n{block}", names)
    objective = names["objective"](None, None, None)
    config = OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.01, momentum=None)
    optimizer = objective.make_optimizer(config, nn.Linear(2, 1).parameters())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0]


def test_the_block_of_a_lightning_module_is_the_example() -> None:
    (block,) = blocks("own-lightning-module.md", "python")
    source = "".join(map(read, (ROOT / "examples" / "autoencoder").rglob("*.py")))
    for line in block.splitlines():
        assert line.partition("  #")[0] in source


def test_the_block_of_published_numbers_is_valid() -> None:
    (block,) = blocks("reproduce.md", "yaml")
    Reference.model_validate(yaml.safe_load(block)["reference"])
