"""`dlrun resume RUN`."""

import typer

from dlrun.cli import options as opt


def resume(
    run: opt.Run,
    set_: opt.ResumeOverrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    summary: opt.Summary = False,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Go on with a run that was stopped, from its last finished epoch or lambda.

    Example: dlrun resume latest --set trainer.max_epochs=40
    """
    from dlrun.runs import resume  # needs pydantic
    from dlrun.runs.settings import RunSettings

    options = RunSettings(
        runs_dir=runs_dir, data_dir=data_dir, summary=summary, force=force, json=json, quiet=quiet
    )
    raise typer.Exit(resume.resume(run, opt.overrides(set_, accelerator, no_fallback), options))
