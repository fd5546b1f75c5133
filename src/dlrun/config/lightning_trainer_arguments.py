"""Name the arguments of Lightning's Trainer, and those that a config cannot set."""

import ast
import functools
import importlib.util
from pathlib import Path

# Why an argument is no key of the section `trainer`: dlrun decides it.
DECIDED_BY_DLRUN = {
    "accelerator": "the key `accelerator` of the config chooses it",
    "barebones": "it logs nothing, so that no epoch could be recorded",
    "callbacks": "the method `callbacks` of the experiment returns them",
    "default_root_dir": "it is the run's folder",
    "enable_checkpointing": "dlrun keeps each epoch's; a ModelCheckpoint is a callback",
    "enable_model_summary": "dlrun writes summary.txt, and --summary shows it",
    "enable_progress_bar": "dlrun draws the progress, and --quiet leaves it out",
    "fast_dev_run": "it finishes no epoch; limit_train_batches makes a short one",
    "limit_predict_batches": "the rows of the test are predicted: limit_test_batches",
    "logger": "the key `logger` of the config chooses trackers",
    # Lightning 2.6 resumes a fit with max_steps as if it had stopped within an epoch.
    "max_steps": "a run has whole epochs; max_epochs and limit_train_batches bound them",
    "num_nodes": "a run has one machine",
    "num_sanity_val_steps": "a resumed run would validate once more than an undisturbed one",
    "plugins": "dlrun keeps the checkpoints by one of its own",
}


@functools.cache
def trainer_arguments() -> frozenset[str]:
    """Read the names of the arguments of the installed Lightning's Trainer from its source.

    Lightning's import takes seconds, for which a config error does not wait.
    """
    package = importlib.util.find_spec("lightning")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent / "pytorch" / "trainer" / "trainer.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Trainer":
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    return frozenset(argument.arg for argument in method.args.kwonlyargs)
    raise LookupError(f"{source} has no class Trainer with keyword arguments")
