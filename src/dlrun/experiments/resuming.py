"""`dlrun resume`: go on with a run that was killed, or extend one that is finished."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlrun import config as configs
from dlrun import session
from dlrun.config_files import experiment_names
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import load
from dlrun.experiments.runner import (
    HOW,
    Options,
    is_worker,
    print_json,
    run_in,
    worker_folder,
)
from dlrun.experiments.sections import Experiment, Network
from dlrun.run_folder import RunFolder, code_digest, is_finished, read_json, read_results
from dlrun.screen import Screen
from dlrun.yaml_source import Layer, merge, read_file, read_override

EXTENDABLE = {"trainer.max_epochs", "data.archive", "data.word_index", "data.mirrors", *HOW}


def resume(run: str, overrides: Sequence[str], options: Options) -> int:
    """Continue a run in its own folder; returns the exit code.

    Args:
        run: its folder, its name, or `latest`: the newest that has finished an epoch or lambda.
        overrides: `--set` texts; only of EXTENDABLE, for anything else makes another run.
        options: where the runs and the data are, what to print.

    Raises:
        ConfigError: no such run, or another value changed than those.
        DlrunError: the run cannot go on with this version of the code, or with these data.
    """
    folder = _find(run, session.runs_dir(options.runs_dir))
    name = _experiment(folder)
    again = f"start anew with `dlrun {name} --config {folder / 'config.yaml'}`"
    if not (folder / "environment.json").exists():  # which is written before anything is done
        raise DlrunError(f"{folder}: ended before it began", again)
    environment = read_json(folder / "environment.json")
    if name == "classify-images":
        raise DlrunError(f"{folder}: classify-images has nothing to resume", again)
    if environment.get("code") != code_digest():
        raise DlrunError(
            f"{folder}: made by another version of dlrun's code (dlrun "
            f"{environment.get('dlrun')}): it cannot be continued to the same numbers",
            again,
        )
    config = _config(name, folder, environment, overrides)
    if _is_complete(folder, config):
        hint = "; --set trainer.max_epochs=N extends it" if isinstance(config, Network) else ""
        screen = Screen(quiet=options.quiet)
        screen.note(f"{folder}: finished, there is nothing to resume{hint}")
        if options.json:
            print_json(RunFolder(folder), screen)
        return 0
    options = replace(options, runs_dir=options.runs_dir or folder.parent.parent)
    if is_worker():
        with worker_folder(name, options) as (own, quiet):
            return run_in(own, name, config, quiet, resume_from=folder)[0]
    return run_in(RunFolder(folder), name, config, options, resume_from=folder)[0]


def _find(run: str, runs_dir: Path) -> Path:
    folders = [file.parent for file in runs_dir.glob("*/*T*Z-*/config.yaml")]
    if run == "latest":
        if not folders:
            raise ConfigError(f"{runs_dir}: no runs here", "name a run's folder, or --runs-dir")
        begun = [folder for folder in folders if any(folder.glob("checkpoint.*"))]
        return max(begun or folders, key=lambda folder: folder.name).resolve()
    folder = Path(run).expanduser()
    if not run or not folder.exists():
        named = [one for one in folders if run and run in (one.name, one.name.partition("Z-")[2])]
        if not named:
            raise ConfigError(f"{run!r}: no such run, neither here nor in {runs_dir}")
        folder = max(named, key=lambda one: one.name)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{run}: not a run's folder (no config.yaml in it)")
    return folder.resolve()


def _experiment(folder: Path) -> str:
    name = folder.parent.name
    if name not in experiment_names():
        raise ConfigError(f"{folder}: not a run of an experiment", "runs lie in runs/<experiment>/")
    return name


def _config(
    name: str, folder: Path, environment: dict[str, Any], overrides: Sequence[str]
) -> Experiment:
    """The run's own config with what may change; neither `--set` nor an editor may change more."""
    begun = Layer(environment.get("config") or {})  # stands in for what an editor removed
    layers = [begun, read_file(folder / "config.yaml"), *map(read_override, overrides)]
    config = configs.validate(load(name).Config, merge(layers), name)
    changed = _changed(begun.values, config.model_dump(mode="json")) - EXTENDABLE
    if changed:
        raise ConfigError(
            f"{', '.join(sorted(changed))}: not as when the run began; a resumed run keeps its "
            f"values, only {', '.join(sorted(EXTENDABLE))} may change",
            f"another run begins with `dlrun {name} --config {folder / 'config.yaml'}`",
        )
    config.check()
    return config


def _changed(before: Any, after: Any, key: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = before.keys() | after.keys()
        return {
            found
            for name in names
            for found in _changed(before.get(name), after.get(name), f"{key}.{name}".lstrip("."))
        }
    return set() if before == after else {key}


def _is_complete(folder: Path, config: Experiment) -> bool:
    """Whether nothing is left to do. Raises ConfigError where more is done than is asked for."""
    if not is_finished(folder):
        return False
    if not isinstance(config, Network):
        return True
    done = int(read_results(folder).get("epochs", 0))
    config.trainer.refuse_fewer_than(done)
    return done == config.trainer.max_epochs
