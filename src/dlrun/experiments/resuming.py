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
from dlrun.experiments.runner import Options, is_worker, run_in, worker_folder
from dlrun.experiments.sections import Experiment, Network
from dlrun.run_folder import RunFolder, code_digest, read_json, read_results
from dlrun.screen import Screen
from dlrun.yaml_source import merge, read_file, read_override

EXTENDABLE = {"trainer.max_epochs", "accelerator", "fallback"}  # all else makes another run


def resume(run: str, overrides: Sequence[str], options: Options) -> int:
    """Continue a run in its own folder; returns the exit code.

    Args:
        run: its folder, or `latest`: the newest of all experiments.
        overrides: `--set` texts; only those of EXTENDABLE.
        options: where the runs and the data are, what to print.

    Raises:
        ConfigError: no such run, or another value changed than those.
        DlrunError: the run cannot go on with this version of the code, or with these data.
    """
    folder = _find(run, session.runs_dir(options.runs_dir))
    name = _experiment(folder)
    config = _config(name, folder, overrides)
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
    if _is_complete(folder, config):
        hint = "; --set trainer.max_epochs=N extends it" if isinstance(config, Network) else ""
        Screen(quiet=options.quiet).note(f"{folder}: finished, there is nothing to resume{hint}")
        return 0
    options = replace(options, runs_dir=options.runs_dir or folder.parent.parent)
    if is_worker():
        with worker_folder(name, options) as (own, quiet):
            return run_in(own, name, config, quiet, resume_from=folder)[0]
    return run_in(RunFolder(folder), name, config, options, resume_from=folder)[0]


def _find(run: str, runs_dir: Path) -> Path:
    if run == "latest":
        folders = [path.resolve() for path in runs_dir.glob("*/latest")]
        if not folders:
            raise ConfigError(f"{runs_dir}: no runs here", "name a run's folder, or --runs-dir")
        return max(folders, key=lambda path: path.name)
    folder = Path(run).expanduser()
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{run}: not a run's folder (no config.yaml in it)")
    return folder.resolve()


def _experiment(folder: Path) -> str:
    name = folder.parent.name
    if name not in experiment_names():
        raise ConfigError(f"{folder}: not a run of an experiment", "runs lie in runs/<experiment>/")
    return name


def _config(name: str, folder: Path, overrides: Sequence[str]) -> Experiment:
    schema = load(name).Config
    own = read_file(folder / "config.yaml")
    before = configs.validate(schema, own, name)
    after = configs.validate(schema, merge([own, *map(read_override, overrides)]), name)
    changed = _changed(before.model_dump(), after.model_dump()) - EXTENDABLE
    if changed:
        raise ConfigError(
            f"{', '.join(sorted(changed))}: a resumed run keeps its values; only "
            f"{', '.join(sorted(EXTENDABLE))} may change"
        )
    return after


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
    try:
        results = read_results(folder)
    except DlrunError:  # it was killed
        return False
    if results.get("status") != "finished":
        return False
    return not isinstance(config, Network) or results.get("epochs", 0) >= config.trainer.max_epochs
