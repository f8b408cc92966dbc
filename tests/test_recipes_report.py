"""The report folder: what its files hold, for one task, several, and several right classes."""

import csv
import io
import json
import sys

import pytest
import torch
from PIL import Image

from pv_sparse import versions as versions_module
from pv_sparse.recipes import report
from pv_sparse.recipes.metrics import task_metrics, tasks_metrics
from pv_sparse.recipes.plots import plot_confusion, plot_curves
from pv_sparse.recipes.report import write_report
from pv_sparse.versions import versions

CLASSES = ["walk", "run, fast", "$jump$"]
SCORES = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 5, 4], [0, 1, 2]])
LABELS = torch.tensor([0, 1, 2, 2])
HISTORY = [
    {"epoch": 0, "step": 2, "lr": 0.1, "train/loss": 1.0},
    {"epoch": 1, "step": 4, "lr": 0.05, "train/loss": 0.5, "val/loss": 0.7, "val/top1": 0.75},
]
CONFIG = "model:\n  name: tsn  # as it was\n"
PIXELS = 1600


def write(folder, **changes):
    arguments = {
        "scores": SCORES,
        "labels": LABELS,
        "classes": CLASSES,
        "history": HISTORY,
        "config_yaml": CONFIG,
        "failed": {"a, b.mp4": "cannot be opened"},
        "extra": {"epoch": 1, "step": 4, "loss": 0.7, "seconds": 12.5},
    }
    return write_report(folder, **arguments | changes)


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes most of the time."""
    for name in ("plot_confusion", "plot_curves"):
        monkeypatch.setattr(report, name, lambda *_: b"picture")


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def picture(content) -> Image.Image:
    opened = Image.open(io.BytesIO(content))
    opened.load()
    return opened


def test_one_task(tmp_path):
    metrics = write(tmp_path / "new" / "report")
    folder = tmp_path / "new" / "report"
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics == {
        **task_metrics(SCORES, LABELS),
        "videos": 4,
        "failed_files": 1,
        "epoch": 1,
        "step": 4,
        "loss": 0.7,
        "seconds": 12.5,
    }
    assert metrics["top1"] == 0.75
    assert read_rows(folder / "per_class.csv") == [
        ["class", "videos", "top1", "most_confused_with"],
        ["walk", "1", "1", ""],
        ["run, fast", "1", "1", ""],
        ["$jump$", "2", "0.5", "run, fast"],
    ]
    assert read_rows(folder / "failed_files.csv") == [["path", "why"], ["a, b.mp4", "cannot be opened"]]
    assert (folder / "config.yaml").read_text() == CONFIG
    assert json.loads((folder / "versions.json").read_text()) == versions()
    for name in ("confusion.png", "curves.png"):
        assert min(picture((folder / name).read_bytes()).size) > 200
    assert len(list(folder.iterdir())) == 7


def test_several_tasks(tmp_path, no_pictures):
    scores = {"verb": SCORES, "noun/place": SCORES[:, :2]}
    labels = {"verb": LABELS, "noun/place": torch.tensor([0, 0, 1, -1])}
    classes = {"verb": CLASSES, "noun/place": ["x", "y"]}
    write(tmp_path, scores=scores, labels=labels, classes=classes, extra=None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == {**tasks_metrics(scores, labels), "videos": 4, "failed_files": 1}
    assert metrics["top1"] == pytest.approx(1 / 3)
    assert metrics["verb/top1"] == 0.75
    names = {path.name for path in tmp_path.iterdir()}
    assert {"per_class_verb.csv", "per_class_noun_place.csv", "confusion_verb.png", "confusion_noun_place.png"} < names
    assert "per_class.csv" not in names


def test_several_right_classes(tmp_path):
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    metrics = write(tmp_path, labels=labels, multi_label=True)
    assert set(metrics) >= {"map", "weighted_map", "videos"}
    assert read_rows(tmp_path / "per_class.csv")[0] == ["class", "videos", "average_precision"]
    assert read_rows(tmp_path / "per_class.csv")[3] == ["$jump$", "0", ""]
    assert not (tmp_path / "confusion.png").exists()


def test_videos_without_labels_and_a_run_without_epochs(tmp_path):
    metrics = write(tmp_path, labels=torch.full((4,), -1), history=[], failed={})
    assert "top1" not in metrics
    assert metrics["videos"] == 4
    assert read_rows(tmp_path / "failed_files.csv") == [["path", "why"]]
    assert not (tmp_path / "curves.png").exists()
    assert (tmp_path / "confusion.png").exists()


def test_what_is_no_number_is_null(tmp_path, no_pictures):
    write(tmp_path, extra={"loss": float("nan")})
    assert json.loads((tmp_path / "metrics.json").read_text())["loss"] is None


def test_files_are_whole_or_not_there(tmp_path, monkeypatch, no_pictures):
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path, labels=torch.zeros(4))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "num_classes", [2, pytest.param(30, marks=pytest.mark.slow), pytest.param(400, marks=pytest.mark.slow)]
)
def test_confusion_of_few_and_of_many_classes(num_classes):
    names = [f"a class with quite a long name, number {number}" for number in range(num_classes)]
    right = picture(plot_confusion(torch.eye(num_classes, dtype=torch.int64), names))
    wrong = picture(plot_confusion(torch.eye(num_classes, dtype=torch.int64).flip(0), names))
    assert max(right.size) < PIXELS
    assert right.size == wrong.size
    assert right.tobytes() != wrong.tobytes()


def test_names_that_matplotlib_would_read_as_formulas_or_cannot_show():
    names = ["$x$ and $y", r"\frac{$1$}", "走る"]
    assert picture(plot_confusion(torch.eye(3, dtype=torch.int64), names, title="$a$b$"))


def test_curves_show_what_the_rows_have():
    def height(rows):
        return picture(plot_curves(rows)).size[1]

    assert height(HISTORY) > height(HISTORY[:1]) > height([{"epoch": 0, "step": 1, "lr": 0.1}])
    assert height([{"epoch": 0, "step": 1}])
    assert height([{"epoch": 0, "step": 1, "val/verb/top1": 0.1, "val/noun/top1": 0.2, "val/map": 0.5}])


def test_pyplot_and_its_global_state_are_not_used(tmp_path):
    had = "matplotlib.pyplot" in sys.modules
    write(tmp_path)
    assert ("matplotlib.pyplot" in sys.modules) == had


def test_versions_tell_of_all_that_matters():
    found = versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert all(found[name] for name in ("pv_sparse", "python", "torchvision", "lightning", "av", "numpy", "platform"))
    assert (found["cuda"] is None) == (not found["devices"])
    assert json.dumps(found)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(versions_module, "PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] is None


def test_what_does_not_fit_is_told(tmp_path):
    with pytest.raises(ValueError, match="do not fit: give all of one task, or all by task"):
        write(tmp_path, scores={"verb": SCORES})
    with pytest.raises(ValueError, match="the task 'verb' has scores, but no labels or no classes"):
        write(tmp_path, scores={"verb": SCORES}, labels={"noun": LABELS}, classes={"verb": CLASSES})
    with pytest.raises(ValueError, match="2 classes and scores of 3 do not fit"):
        write(tmp_path, classes=["a", "b"])
    assert not list(tmp_path.iterdir())
