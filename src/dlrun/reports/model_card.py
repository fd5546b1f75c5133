"""Write a model card: a run's README.md in the sections of Hugging Face's template.

What is not known, such as a licence, is left out. The template:
https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/templates/modelcard_template.md
"""

import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from dlrun.config.yaml_loader import Values, dump_yaml, format_override
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.reports.run_data import RunSection
from dlrun.run_folder.folder import COEFFICIENTS, SUMMARY, WEIGHTS
from dlrun.run_folder.recorded_metrics import (
    TESTED,
    add_accuracy_of_largest_class,
    describe_direction,
    format_interval,
    format_metric,
    remarks_on_metrics,
    too_good_by_test_rows,
)
from dlrun.system.console import printable, printable_lines

if TYPE_CHECKING:
    from dlrun.experiments.predictions import Predictor

MOST_CLASSES = 20  # classes whose recall is listed
# What a command predicts, by what a model reads, and Hugging Face's name of the task.
EXAMPLES = {"text": '"A text of your own."', "image": "photograph.jpg", "row": "--csv rows.csv"}
TASKS = {"text": "text-classification", "image": "image-classification"}
BOOK = """\
@book{islp,
  title = {An Introduction to Statistical Learning, with Applications in Python},
  author = {James, Gareth and Witten, Daniela and Hastie, Trevor and Tibshirani, Robert and Taylor, Jonathan},
  year = {2023},
  publisher = {Springer},
  doi = {10.1007/978-3-031-38747-0},
}"""  # noqa: E501
# An underscore between two letters or digits marks nothing up.
MARKUP = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])")
# At the start of a line: a list, or a line of dashes or equals signs (a heading, a rule).
LINE_START = re.compile(r"^( ?)(?=[-+](?: |$)|[-=][-= ]*$)|^( ?\d{1,9})(?=[.)](?: |$))")


class _Markdown(str):
    """A text that is Markdown already; the template escapes any other."""

    __slots__ = ()


def model_card(run: Run, network: Path | None = None) -> str:
    """Return the model card of a finished run as Markdown with YAML metadata.

    network: the exported file that the card is put beside. Raises DlrunError if the run is not
    finished or damaged.
    """
    if run.state != "finished":
        raise DlrunError(
            f"{run.folder}: {run.state}: only a finished run has a model card",
            run.resume_command or "wait for its end",
        )
    one, record, begun = RunSection(1, run, 0, 1000), run.record, run.environment
    predictor = _predictor(run)
    extra, more = record.model_extra or {}, begun.model_extra or {}
    tested = {name: v for name, v in record.metrics.items() if name.startswith(TESTED)}
    hardware = str(more.get("processor") or "CPU")
    if record.accelerator and record.accelerator.used != "cpu":
        hardware = record.accelerator.used
    machine = [more.get("platform"), more.get("processor"), record.computed_on.removeprefix(" on ")]
    packages = {"dlrun": begun.dlrun, "python": more.get("python"), **begun.packages}
    files = [name for name in (WEIGHTS, COEFFICIENTS) if name in record.files]
    changed = one.differing or {}
    settings = [word for key in changed for word in ("--set", format_override(key, changed[key]))]
    config = run.effective_layer().values
    is_installed = record.experiment in registry.experiment_names()
    entry = registry.experiment_entry(record.experiment) if is_installed else None
    content = run.read_if_written(SUMMARY) or b""
    markdown = jinja2.Environment(  # noqa: S701 (of Markdown: `finalize` escapes)
        loader=jinja2.PackageLoader(__package__, "."),
        undefined=jinja2.StrictUndefined,
        finalize=_escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    markdown.filters.update(number=format_metric, fenced=_fenced, quoted=_quoted)
    card = markdown.get_template("model_card.md").render(
        run=run,
        one=one,
        metadata=_Markdown(dump_yaml(_metadata(run, predictor))),
        about=entry.help.partition("\n")[0] if entry else "",
        use=_use(predictor),
        limits=_limits(run),
        command=_command(run, predictor),
        repeat=shlex.join(["dlrun", record.experiment, *settings]),
        network=network.name if network else "",
        weights=next(iter(files), None),
        parameters=extra.get("parameters"),
        rows={part: extra.get(f"{part}_rows") for part in ("train", "valid")},
        preprocessing=dump_yaml(found) if (found := _preprocessing(run)) else "",
        config=dump_yaml({key: v for key, v in config.items() if key != "reference"}),
        directions={name: text for name in tested if (text := describe_direction(name))},
        metrics=add_accuracy_of_largest_class(record, record.metrics),
        interval=format_interval(one.interval) if one.interval else "",
        hardware=hardware,
        machine="; ".join(str(part) for part in machine if part),
        software=", ".join(f"{name} {version}" for name, version in packages.items() if version),
        summary=content.decode("utf-8", "replace").rstrip(),
        is_lab=entry is not None and entry.package == "dlrun",
        book=BOOK,
        most_classes=MOST_CLASSES,
    )
    return re.sub("\n{3,}", "\n\n", card).rstrip() + "\n"


def _predictor(run: Run) -> "Predictor | None":
    """Return the run's predictor; None if its experiment has none, or is not installed."""
    with contextlib.suppress(DlrunError):
        return run.predictor
    return None


def _task(predictor: "Predictor | None") -> str | None:
    """Return the Hub's name of the task, such as text-classification; None if it is unknown."""
    if predictor is None:
        return None
    kind = "classification" if predictor.labels else "regression"
    return TASKS.get(predictor.reads, f"tabular-{kind}")


def _metadata(run: Run, predictor: "Predictor | None") -> Values:
    """Return the metadata that the Hub reads; a result there needs task, data set and value."""
    record, task = run.record, _task(predictor)
    values: Values = {"library_name": "dlrun", "tags": ["dlrun", record.experiment]}
    tested = {
        name.removeprefix(TESTED): value
        for name, value in record.metrics.items()
        if name.startswith(TESTED) and value is not None
    }
    if task:
        values["pipeline_tag"] = task
    if tested:
        values["metrics"] = [name for name in tested if name != "loss"]
    if task and tested:
        metrics = [{"type": name, "value": value} for name, value in tested.items()]
        # The type is the Hub's name of a data set, which no run knows.
        data = {"type": "other", "name": record.data}
        results = [{"task": {"type": task}, "dataset": data, "metrics": metrics}]
        name = f"{record.experiment}-{run.name}"
        values["model-index"] = [{"name": name, "results": results}]
    return values


def _use(predictor: "Predictor | None") -> str:
    """Return what the model is for in a sentence; empty if that is unknown."""
    if predictor is None:
        return ""
    what = {"text": "a text", "image": "an image", "row": "a row of a table"}[predictor.reads]
    if predictor.reads == "row":
        what += f" with the columns {', '.join(predictor.columns)}"
    if not predictor.labels:
        return f"It predicts a value from {what}."
    names = ", ".join(predictor.labels[:MOST_CLASSES])
    more = len(predictor.labels) - MOST_CLASSES
    return f"It classifies {what}: {names}{f' and {more:,} more classes' if more > 0 else ''}."


def _limits(run: Run) -> list[str]:
    """Return what limits the use of the model, as far as the run shows it."""
    record, limits = run.record, []
    if record.source == "sample":
        limits.append("It was trained and tested on generated data, and is of no use on others")
    if classes := record.classes:
        text = f"{format_metric(classes.share)} of the test rows are {classes.largest}"
        limits.append(f"{text}: so many are right if that is always predicted")
    with contextlib.suppress(DlrunError):  # not installed
        if run.config.depends_on_seed:
            limits.append(f"Its metrics are of one run, with seed {record.seed}; others differ")
        if run.config.validates_on_test:
            limits.append(too_good_by_test_rows("the validation metric").partition(";")[0])
    for label, remark in remarks_on_metrics(record):
        limits.append(f"the book: {remark}" if label == "book" else remark)
    limits.append("It was tested on these test rows alone: what it does on other data is not known")
    return [limit[:1].upper() + limit[1:] for limit in limits]


def _command(run: Run, predictor: "Predictor | None") -> str:
    """Return the command that predicts; empty if the run cannot."""
    if predictor is None:
        return ""
    return f"dlrun predict {shlex.quote(run.name)} {EXAMPLES[predictor.reads]}"


def _preprocessing(run: Run) -> Values:
    """Return what the run's assets say about preprocessing; empty if they say nothing."""
    with contextlib.suppress(DlrunError):
        found = run.assets.get("preprocessing")
        return dict(found) if isinstance(found, dict) else {}
    return {}


def _escape(value: object) -> str:
    """Return a value as Markdown that shows it as it is, on one line; empty for None."""
    if isinstance(value, _Markdown):
        return value
    if value is None:
        return ""
    text = MARKUP.sub(r"\\\g<0>", printable(re.sub(r"\s+", " ", str(value))))
    return LINE_START.sub(r"\1\2\\", text)


def _fenced(text: str, kind: str) -> _Markdown:
    """Return a text as a block of code, with a fence that is longer than any in the text."""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return _Markdown(f"{fence}{kind}\n{printable_lines(text.rstrip())}\n{fence}")


def _quoted(text: str) -> _Markdown:
    """Return a text as a quotation."""
    return _Markdown("\n".join(f"> {_escape(line)}" for line in text.splitlines()))
