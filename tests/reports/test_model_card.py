"""The model card of a run: Hugging Face's sections, and what of them is known."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from dlrun.experiments.saved_run import Run
from dlrun.reports.model_card import model_card
from tests.conftest import NAMES, Dlrun, Done
from tests.reports.example_runs import a_classification
from tests.run_folder.making import a_run

HOSTILE = "</code>\n# Uses\n<script>alert(1)</script> [x](javascript:1) `a` | b ``` \x1b[31m \u202e"
SECTIONS = [
    "Model Details", "Uses", "Bias, Risks, and Limitations", "How to Get Started with the Model",
    "Training Details", "Evaluation", "Environmental Impact", "Technical Specifications",
]  # fmt: skip
TASKS = {
    "imdb": "text-classification",
    "hitters": "tabular-regression",
    "nyse": "tabular-regression",
}


def parts(card: str) -> tuple[dict[str, Any], str]:
    """The metadata of a card, and its Markdown."""
    _, metadata, text = card.split("---\n", 2)
    return yaml.safe_load(metadata), text


def headings(text: str, level: int) -> list[str]:
    tokens = MarkdownIt().parse(text)
    return [
        inline.content
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open" and opening.tag == f"h{level}"
    ]


def test_a_card_beside_the_network(forked: Dlrun, tmp_path: Path, done: Done) -> None:
    run = Run.open(done("imdb-dense"))
    forked("export", run.folder, "--out", "n.onnx", "--card", "README.md").is_told(0)
    metadata, text = parts((tmp_path / "README.md").read_text())
    assert headings(text, 2) == [*SECTIONS, "Citation"]
    assert headings(text, 1) == [f"Model Card for imdb-dense {run.name}"]
    (result,) = metadata["model-index"][0]["results"]
    assert metadata["pipeline_tag"] == result["task"]["type"] == "text-classification"
    assert result["dataset"] == {"type": "other", "name": run.record.data}
    values = {one["type"]: one["value"] for one in result["metrics"]}
    assert values["accuracy"] == run.record.metrics["test_accuracy"]
    known = (
        *("negative, positive", "generated data", "n.onnx holds the network", "95 % interval"),
        *(str(run.record.data_digest), run.record.files["weights.pt"], "@book{islp"),
        *(f"dlrun predict {run.name}", f"torch {run.environment.packages['torch']}"),
        *("lr: 0.001", "Hours used", "Total params"),
    )
    assert [part for part in known if part not in text] == []
    assert "More Information Needed" not in text and "reference:" not in text
    assert (tmp_path / "n.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_experiment_has_a_card(done: Done, name: str) -> None:
    run = Run.open(done(name))
    metadata, text = parts(model_card(run))
    assert set(SECTIONS) <= {*headings(text, 2)}
    default = "image-classification"
    assert metadata["pipeline_tag"] == TASKS.get(name.partition("-")[0], default)
    assert bool(metadata.get("metrics")) == any(
        one.startswith("test_") for one in run.record.metrics
    )
    assert len(MarkdownIt().enable("table").parse(text)) > 50


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    run = a_classification(
        tmp_path / "e" / "r",
        labels=[HOSTILE, "b"],
        config={"seed": 0, "key": HOSTILE},
        data=HOSTILE,
        metrics={f"test_{HOSTILE}": 0.5, "test_accuracy": 0.5},
        reference={"source": HOSTILE, "book": {"test_accuracy": 0.5}},
        classes={"number": 2, "largest": HOSTILE, "share": 0.5},
    )
    metadata, text = parts(model_card(run))
    assert "pipeline_tag" not in metadata and "Uses" not in headings(text, 2)
    page = MarkdownIt().render(text)
    assert set(re.findall(r"<(\w+)", page)) <= {
        *("h1", "h2", "h3", "h4", "p", "ul", "li", "strong", "pre", "code", "table", "thead"),
        *("tbody", "tr", "th", "td"),
    }
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_note_is_a_quotation_of_the_text_as_it_is(tmp_path: Path) -> None:
    note = ["- a", "+ b", "1. c", "12) d", "_e_ __f__ g_h", "i", "---", "j", "===", "-1.5 k"]
    run = a_classification(tmp_path / "e" / "r")
    (run.folder / "notes.json").write_text(json.dumps({"note": "\n".join(note)}))
    _, text = parts(model_card(run))
    page = MarkdownIt().render(text)
    (quoted,) = re.findall("<blockquote>\n<p>(.*?)</p>\n</blockquote>", page, re.DOTALL)
    assert quoted.splitlines() == note
    assert "g_h" in text and "> -1.5 k" in text  # nothing is escaped needlessly


def test_what_has_no_card(forked: Dlrun, tmp_path: Path) -> None:
    a_run(tmp_path / "runs" / "e" / "stopped", status="interrupted")
    a_classification(tmp_path / "runs" / "e" / "r")
    (tmp_path / "there.md").write_text("mine")
    forked("export", "stopped", "--card", "README.md").is_told(1, "only a finished run")
    forked("export", "r").is_told(2, "--card")
    forked("export", "r", "--card", "there.md").is_told(2, "--force")
    assert [file.name for file in tmp_path.glob("*.md")] == ["there.md"]
