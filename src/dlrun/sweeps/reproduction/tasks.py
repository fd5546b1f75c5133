"""Say what is to be reproduced: experiments and their variants, with seeds and baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.config.sections import BaselineExperiment, ExperimentConfig, Reference
from dlrun.config.yaml_loader import Values, config_layers_from_settings, name_with_settings
from dlrun.errors import ConfigError
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.experiment import AnyExperiment
from dlrun.experiments.registry import (
    experiments_with_published_numbers,
    shipped_config,
)
from dlrun.runs.options import RunOptions


@dataclass(frozen=True)
class ReproductionTask:
    """Represents an experiment, or a variant of it, whose published numbers are to be reproduced.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. config: the valid config with these values. seeds: a run has each of them.
    baseline: the simpler experiment that it should beat.
    """

    experiment: AnyExperiment
    variant: Values
    config: ExperimentConfig
    seeds: list[int]
    baseline: BaselineExperiment | None = None

    @property
    def title(self) -> str:
        """The title is the name of the experiment, with the values of its variant."""
        return name_with_settings(self.experiment.name, self.variant)


def with_settings(options: RunOptions, settings: Mapping[str, object]) -> RunOptions:
    """The settings stand by dotted keys, and win over the values of the options."""
    layers = config_layers_from_settings(settings)
    return replace(options, values=[*options.values, *layers])


def choose_experiments(names: Sequence[str]) -> list[str]:
    """Without names, all experiments with published numbers are chosen.

    Raises ConfigError for an experiment that is unknown, or has no published numbers.
    """
    for name in names:
        if not shipped_config(name).has_published_numbers:
            hint = f"`dlrun sweep {name} --seeds 5` runs it with several seeds"
            raise ConfigError(f"{name}: the book has no numbers for it", hint)
    return list(dict.fromkeys(names)) or experiments_with_published_numbers()


def tasks_of_experiment(
    experiment: AnyExperiment, seeds: Sequence[int] | None, options: RunOptions
) -> list[ReproductionTask]:
    """The task of the experiment comes first, then those of its variants.

    seeds: if None, as many as the experiment's `reference` says. Raises ConfigError if a config is
    not valid.
    """
    config = load_experiment_config(experiment, options)
    task = ReproductionTask(experiment, {}, config, _choose_seeds(experiment, config, seeds))
    reference = experiment.published
    if not isinstance(reference, Reference):
        return [task]
    tasks = [replace(task, baseline=reference.baseline)]
    for variant in reference.variants:
        config = load_experiment_config(experiment, with_settings(options, variant.set))
        chosen = _choose_seeds(experiment, config, seeds)
        tasks.append(ReproductionTask(experiment, variant.set, config, chosen))
    return tasks


def _choose_seeds(
    experiment: AnyExperiment, config: ExperimentConfig, seeds: Sequence[int] | None
) -> list[int]:
    """Seeds that are given win over as many as the experiment's `reference` says."""
    if not experiment.depends_on_seed(config):
        return [config.seed]
    if seeds is not None:
        return list(seeds)
    reference = experiment.published
    return list(range(reference.seeds)) if isinstance(reference, Reference) else [0]
