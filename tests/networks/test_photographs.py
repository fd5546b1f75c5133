"""classify-images from the command line, on photographs that scikit-learn ships and made files."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from PIL import Image

from dlrun.api import Run
from dlrun.data import photographs
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.reports.run_section import RunSection
from dlrun.runs.options import RunOptions
from tests.conftest import Dlrun, Patch, setting, smoke
from tests.experiments.use import latest, moved, results, table

NAME = "classify-images"
BUNDLED = smoke(NAME)[1:]
Squeezenet = tuple[torch.nn.Module, Path]


def squares(folder: Path, names: list[str]) -> None:
    """Small photographs, each of a colour of its own."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        colour = (6 * number, 255 - 6 * number, 99)
        Image.new("RGB", (40, 30), colour).save(folder / name, "PNG")


@pytest.fixture(scope="session")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Squeezenet:
    """A small torchvision network with random weights, and the file of them."""
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    torch.save(network.state_dict(), path)
    return network, path


def squeezenet_options(path: Path) -> list[str]:
    return setting("model.name=squeezenet1_1", f"model.weights={path}")


@pytest.mark.parametrize("squash", [True, False])
def test_same_probabilities_as_torchvision_by_hand(
    forked: Dlrun, tmp_path: Path, squeezenet: Squeezenet, squash: bool
) -> None:
    network, path = squeezenet
    files = photographs.sample_photographs()
    sets = setting("top=4", f"transform.squash={squash}".lower())
    forked(NAME, *files, *squeezenet_options(path), *sets).is_told(0)
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    rows = table(latest(tmp_path, NAME), "predictions.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] * 2
    for file, found in zip(files, (rows[:4], rows[4:]), strict=True):
        with Image.open(file) as image, torch.inference_mode():
            if squash:  # as the lab resizes
                image = image.resize((256, 256), Image.Resampling.BILINEAR)  # noqa: PLW2901
            probabilities = network(weights.transforms()(image)[None]).softmax(-1)[0]
        for row, value, index in zip(found, *probabilities.topk(4), strict=True):
            assert row["image"] == str(file)
            assert row["label"] == weights.meta["categories"][index]
            assert float(row["probability"]) == pytest.approx(float(value), abs=1e-5)
    run = Run.open(latest(tmp_path, NAME))
    for prediction, found in zip(run.predict(files), (rows[:4], rows[4:]), strict=True):
        predicted = [probability for _, probability in prediction.labels]
        assert predicted == pytest.approx([float(row["probability"]) for row in found], abs=1e-6)


def test_a_file_that_cannot_be_read_becomes_a_row(forked: Dlrun, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in photographs.sample_photographs():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "broken.jpg").write_bytes(photographs.sample_photographs()[0].read_bytes()[:5000])
    (folder / "=text\n.png").write_text("no image")
    done = forked(NAME, "photos", *BUNDLED, "--set", "batch_size=2").is_told(1)
    rows = table(latest(tmp_path, NAME), "predictions.csv")
    errors = {Path(row["image"]).name: row["error"] for row in rows if row["error"]}
    assert "damaged" in errors["broken.jpg"]
    assert "not an image" in errors["=text\N{REPLACEMENT CHARACTER}.png"]
    best = [row["label"] for row in rows if row["rank"] == "1"]
    assert len(rows) == 2 + 2 * 3 and sorted(best) == ["bell cote", "daisy"]
    assert "broken.jpg: damaged" in done.stderr
    assert results(latest(tmp_path, NAME))["metrics"] == {"images": 2, "unreadable": 2}


def test_a_moved_run_is_used_and_its_config_has_absolute_paths(
    forked: Dlrun, tmp_path: Path, squeezenet: Squeezenet
) -> None:
    photograph = tmp_path / "one.jpg"
    photograph.write_bytes(photographs.sample_photographs()[0].read_bytes())
    (tmp_path / "mine.pt").write_bytes(squeezenet[1].read_bytes())
    forked(NAME, "one.jpg", *squeezenet_options(Path("mine.pt"))).is_told(0)
    folder = moved(latest(tmp_path, NAME), tmp_path)
    values = yaml.safe_load((folder / "config.yaml").read_text())
    assert values["model"]["weights"] == str(tmp_path / "mine.pt")
    assert values["images"] == [str(photograph)]
    photograph.unlink()  # the figure is drawn of the thumbnails
    run = Run.open(folder)
    assert run.network()(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
    assert list(run.draw()) == run.record.figures == ["contact_sheet.png"]


def test_without_images_it_takes_the_books(
    forked: Dlrun, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Those of the data folder. In the authors' package the same photographs have other names."""
    config: Any = load_experiment_config(find_experiment(NAME), RunOptions())
    reference = config.reference
    monkeypatch.setattr(
        photographs, "paths_in_installed_packages", lambda path: []
    )  # as if not installed
    files, origin = config.find_photographs(tmp_path / "data")
    assert files == photographs.sample_photographs() and "scikit-learn" in origin
    folder = tmp_path / "data" / "book_images"
    folder.parent.mkdir()
    squares(folder, [*reference.book])
    done = forked(NAME, *BUNDLED).is_told(0)
    found = results(latest(tmp_path, NAME))
    assert "book" in found["data"] and "Cape_Weaver.jpg" in done.stdout
    assert found["reference_differs"].startswith("not the book's data, model.name")
    assert found["reference_differs"] in done.stdout
    assert [*found["predictions"]] == [str(folder / name) for name in reference.book]
    for name, place in reference.packaged.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(tmp_path / place)
    done = forked(NAME, "ISLP", *BUNDLED).is_told(0)
    assert "Cape_Weaver.jpg" in done.stdout and "weaver.jpg" not in done.stdout
    shown = RunSection(1, Run.open(latest(tmp_path, NAME)), 1, with_published=True).photographs
    assert {one.name for one in shown} == reference.book.keys()
    assert all(one.published["book"] for one in shown)


def test_each_batch_is_a_step(forked: Dlrun, tmp_path: Path) -> None:
    squares(tmp_path / "photos", [f"{number:02}.png" for number in range(39)])
    (tmp_path / "photos" / "99.png").write_bytes(b"no photograph")
    done = forked(NAME, "photos", *BUNDLED, *setting("batch_size=2")).is_told(1)
    assert len([line for line in done.stderr.splitlines() if "/40 photographs" in line]) == 20
    run = Run.open(latest(tmp_path, NAME))
    assert list(run.metrics.columns) == ["images", "unreadable", "seconds"]
    assert list(run.metrics["images"]) == [*range(2, 40, 2), 39]
    assert list(run.metrics["unreadable"]) == [0] * 19 + [1]
    assert (run.record.steps, run.record.metrics) == (20, {"images": 39, "unreadable": 1})
    forked("resume", "latest").is_told(0, "there is nothing to resume")


def test_weights_that_are_no_numbers(forked: Dlrun, tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(weights=None)
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = float("nan")
    torch.save(network.state_dict(), tmp_path / "nan.pt")
    forked(NAME, *squeezenet_options(tmp_path / "nan.pt")).is_told(2, "nan.pt", "NaN")
    assert not [*(tmp_path / "runs" / NAME).iterdir()]
