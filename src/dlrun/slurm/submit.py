"""`dlrun EXPERIMENT --slurm`: a run that waits for SLURM to begin it."""

import shutil
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.validation import validate
from dlrun.config.yaml_loader import Layer
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.removal import repair_latest
from dlrun.runs import console_summary, import_notices
from dlrun.runs.distributed import ProcessGroup, config_for_group
from dlrun.runs.runner import Runner, lock_run
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import check, print_dry_run, read_config_layers
from dlrun.slurm import executor
from dlrun.slurm.job import SLURM_FOLDER, Job
from dlrun.slurm.options import SlurmOptions, parse_options
from dlrun.slurm.watch import wait_for
from dlrun.system.accelerator import check_batch
from dlrun.system.console import Screen


def submit_run(name: str, options: RunSettings, texts: list[str], *, wait: bool) -> int:
    """Hand a run to SLURM; the exit code: of the run, where it is waited for.

    Raises ConfigError before anything is submitted, or where SLURM refuses it.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    with (
        import_notices.announce_imports(screen),
        console_summary.errors_as_json(screen, wanted=options.json),
    ):
        asked = parse_options(texts)
        if asked.parallel is not None:
            raise ConfigError("--slurm parallel: only a sweep has several jobs", "leave it out")
        executor.check()
        config = as_asked(name, read_config_layers(name, options), asked)
        runs_dir = run_context.runs_dir(options.runs_dir).absolute()
        check_there(name, config, options)
        if options.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=options.json)
            return 0
        folder = RunFolder.claim(runs_dir, name, options.name)
        try:
            write_waiting_run(name, config, folder, screen, options)
            (job,) = executor.submit(
                [job_of(folder.path, options)],
                folder.path / SLURM_FOLDER,
                asked,
                name,
                *shape(config),
            )
        except BaseException:
            shutil.rmtree(folder.path)
            repair_latest(runs_dir, name)
            raise
    if wait:
        screen.note(f"submitted {name}/{folder.path.name} as job {job}")
        return wait_for(folder.path, job, screen, as_json=options.json)
    if options.json:
        about = {"status": "waiting", "run": str(folder.path), "job": job}
        screen.out.file.write(to_json(about))
        return 0
    screen.note(f"submitted as job {job}: `squeue --job {job}` shows it, `scancel {job}` ends it")
    screen.show(Text("job    ", style="bold") + Text(job))
    screen.show(Text("run    ", style="bold") + Text(str(folder.path)))
    return 0


def as_asked(name: str, layer: Layer, asked: SlurmOptions) -> ExperimentConfig:
    """The valid config, with the devices and nodes that are asked of SLURM. Raises ConfigError."""
    config: ExperimentConfig = validate(registry.config_class(name), layer, name)
    nodes, tasks = shape(config)
    nodes, tasks = asked.nodes or nodes, asked.tasks or tasks
    if nodes * tasks == 1:
        return config
    return config_for_group(config, ProcessGroup("--slurm", tasks, nodes * tasks))


def shape(config: ExperimentConfig) -> tuple[int, int]:
    """On how many nodes, by how many processes on each."""
    if not isinstance(config, NetworkConfig):
        return 1, 1
    devices = config.trainer.devices
    return config.trainer.num_nodes, devices if isinstance(devices, int) else 1


def check_there(name: str, config: ExperimentConfig, options: RunSettings) -> None:
    """All that can be known here; devices and cores are those of another machine."""
    if isinstance(config, NetworkConfig):
        check_batch(config.batch_size, config.world or 1)
        one = config.trainer.model_copy(update={"devices": 1, "num_nodes": 1})
        config = config.model_copy(update={"trainer": one})
    check(name, config, options, here=False)


def write_waiting_run(
    name: str, config: ExperimentConfig, folder: RunFolder, screen: Screen, options: RunSettings
) -> None:
    """Write the first files of a run that waits."""
    with lock_run(folder, screen):
        Runner(registry.load(name), config, folder, screen, options).write_first("waiting")


def job_of(run: Path, options: RunSettings) -> Job:
    """The job that begins a run and goes on with it."""
    words = ["resume", str(run), "--runs-dir", str(run.parents[1])]
    words += ["--data-dir", str(run_context.data_dir(options.data_dir).absolute())]
    flags = {"--quiet": options.quiet, "--summary": options.summary}
    return Job(str(run), (*words, *(flag for flag, wanted in flags.items() if wanted)))
