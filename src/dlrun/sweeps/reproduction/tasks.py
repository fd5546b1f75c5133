"""Say what is to be reproduced: experiments and their variants, with seeds and baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.config.sections import BaselineExperiment, ExperimentConfig, Reference
from dlrun.config.yaml_loader import Values, config_layers_from_settings, name_with_settings
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.runs.options import RunOptions


@dataclass(frozen=True)
class ReproductionTask:
    """Represents an experiment, or a variant of it, whose published numbers are to be reproduced.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. config: the valid config with these values. seeds: a run has each of them.
    baseline: the simpler experiment that it should beat.
    """

    experiment: str
    variant: Values
    config: ExperimentConfig
    seeds: list[int]
    baseline: BaselineExperiment | None = None

    @property
    def title(self) -> str:
        """Return the name of the experiment, and the values of its variant."""
        return name_with_settings(self.experiment, self.variant)


def with_settings(options: RunOptions, settings: Mapping[str, object]) -> RunOptions:
    """Return the options of runs that have these settings, by dotted keys, too."""
    layers = config_layers_from_settings(settings)
    return replace(options, values=[*options.values, *layers])


def choose_experiments(names: Sequence[str]) -> list[str]:
    """Return the named experiments, each once; without names all with published numbers.

    Raises ConfigError for an experiment that is unknown, or has no published numbers.
    """
    for name in names:
        if not registry.experiment_entry(name).has_published_numbers:
            hint = f"`dlrun sweep {name} --seeds 5` runs it with several seeds"
            raise ConfigError(f"{name}: the book has no numbers for it", hint)
    return list(dict.fromkeys(names)) or registry.experiments_with_published_numbers()


def tasks_of_experiment(
    name: str, seeds: Sequence[int] | None, options: RunOptions
) -> list[ReproductionTask]:
    """Return the task of an experiment, then those of its variants.

    seeds: if None, as many as the experiment's `reference` says. Raises ConfigError if a config is
    not valid, DlrunError if the experiment cannot be loaded.
    """
    config = load_experiment_config(name, options)
    reference = config.reference_section
    if not isinstance(reference, Reference):
        return [ReproductionTask(name, {}, config, _choose_seeds(config, seeds))]
    tasks = [
        ReproductionTask(name, {}, config, _choose_seeds(config, seeds), reference.baseline),
    ]
    for variant in reference.variants:
        config = load_experiment_config(name, with_settings(options, variant.set))
        tasks.append(ReproductionTask(name, variant.set, config, _choose_seeds(config, seeds)))
    return tasks


def _choose_seeds(config: ExperimentConfig, seeds: Sequence[int] | None) -> list[int]:
    """Return an experiment's seeds: those given, or else as many as its `reference` says."""
    if not config.depends_on_seed:
        return [config.seed]
    if seeds is not None:
        return list(seeds)
    reference = config.reference_section
    return list(range(reference.seeds)) if isinstance(reference, Reference) else [0]
