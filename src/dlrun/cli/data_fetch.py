"""`dlrun data fetch`: download, check and prepare the data set of an experiment."""

from dlrun.cli import options as opt
from dlrun.cli.named_data import Name, Words, obtain_named_data
from dlrun.system.console import Screen


def fetch_dataset(
    name: Name,
    words: Words = None,
    data_dir: opt.DataDir = None,
    overrides: opt.Overrides = None,
) -> int:
    """Download an experiment's data, compare them with published checksums, and prepare them.

    Exits with 1 if a file is not the published one.

    Examples:
    dlrun data fetch cifar100
    dlrun data fetch imdb --data-dir data
    dlrun data fetch imdb data.archive=aclImdb_v1.tar.gz
    """
    screen = Screen()
    dataset, context = obtain_named_data(name, words, overrides, data_dir, screen)
    data = dataset.make(context)
    are_published = True
    for file, path, digest in zip(
        context.source.files, context.paths, context.digests, strict=False
    ):
        if digest == file.digest:
            screen.show(f"{path}: {file.algorithm} {digest}, as published")
        else:
            are_published = False
            problem = f"{path}: {file.algorithm} {digest}, not the published {file.digest}"
            if known := dataset.identify(digest):
                problem += f"; it is {known}"
            screen.fail(problem, "it is used; a run says whether its contents are the book's")
    counts = f"{len(data.train):,} training and {len(data.test):,} test rows"
    screen.show(f"ready: {counts}, {data.origin.text}")
    return 0 if are_published else 1
