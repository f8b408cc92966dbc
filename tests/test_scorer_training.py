"""`pv-sparse train +select=saliency`: after a run, on a run that is done, and of weights that are there."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from pytorchvideo.data import LabeledVideoDataset
from square_runs import SMALL, assert_same_tensors, quiet_lightning, run, tensors
from torch.utils.data import SequentialSampler

from pv_sparse import (
    PvSparseError,
    SegmentClipSampler,
    SparseVideoPathHandler,
    load_model,
    load_selector,
    train_command,
)
from pv_sparse.cli import main
from pv_sparse.recipes.square import square_videos
from pv_sparse.zoo.loading import SCORER_PREFIX, find_weights

pytestmark = quiet_lightning

ONE = "trainer.max_epochs=1"
SCORER = ("+select=saliency", "select.epochs=2", "select.num_looks=8", "select.size=32", "select.width=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("square")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory) -> Path:
    """The folder of a run without a scorer."""
    out = tmp_path_factory.mktemp("done")
    run(data, out, ONE)
    return out


def only_model(out: Path) -> dict:
    return {key: tensor for key, tensor in tensors(out).items() if not key.startswith(SCORER_PREFIX)}


def frames_of_a_stock_dataset(data: Path, file: Path) -> list[int]:
    [(path, info), *_] = square_videos(data, "val", 4).samples
    sampler = SegmentClipSampler(4, select=load_selector(file))
    stock = LabeledVideoDataset([(path, info)], sampler, video_sampler=SequentialSampler)
    stock.video_path_handler = SparseVideoPathHandler()
    [sample] = stock
    return sample["frame_indices"].tolist()


@pytest.mark.slow
def test_a_run_that_is_done_gets_a_scorer(done, data, tmp_path):
    again = shutil.copytree(done, tmp_path / "again")
    figures = run(data, again, ONE, *SCORER)
    assert figures.keys() >= {"top1", "top1_saliency"}
    weights = find_weights(again / "model.safetensors")
    assert weights.scorer == {"size": 32, "width": 4, "attention": True, "num_looks": 8}
    assert [metric["protocol"] for metric in weights.metrics] == ["one view", "one view, saliency"]
    assert weights.metrics[1]["top1"] == pytest.approx(100 * figures["top1_saliency"], abs=0.01)
    assert only_model(again).keys() == tensors(done).keys()
    assert all((only_model(again)[key] == tensor).all() for key, tensor in tensors(done).items())
    load_model(weights)
    frames = frames_of_a_stock_dataset(data, again / "model.safetensors")
    assert frames == sorted(set(frames))
    assert len(frames) == 4


@pytest.mark.slow
def test_a_scorer_at_once_is_that_of_a_run_that_is_done(done, data, tmp_path):
    run(data, tmp_path / "at_once", ONE, *SCORER)
    later = shutil.copytree(done, tmp_path / "later")
    run(data, later, ONE, *SCORER)
    assert_same_tensors(tmp_path / "at_once", later)
    run(data, later, ONE, *SCORER, "select.width=8")  # other settings of the scorer are no other run
    assert find_weights(later / "model.safetensors").scorer["width"] == 8


@pytest.mark.slow
def test_of_weights_that_are_there(done, data, tmp_path):
    of = f"select.of={done / 'model.safetensors'}"
    figures = run(data, tmp_path / "one", *SCORER, of)
    assert set(figures) == {"top1", "top1_saliency"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"model.safetensors"}
    again = f"select.of={tmp_path / 'one' / 'model.safetensors'}"
    run(data, tmp_path / "two", *SCORER, again)
    assert_same_tensors(tmp_path / "one", tmp_path / "two")
    metrics = find_weights(tmp_path / "two" / "model.safetensors").metrics
    assert [metric["protocol"] for metric in metrics] == ["one view", "one view, saliency"]
    assert only_model(tmp_path / "one").keys() == tensors(done).keys()


@pytest.mark.slow
def test_classes_in_another_order_go_by_name(done, data, tmp_path):
    """Those of the weights are left, right."""
    of = f"select.of={done / 'model.safetensors'}"
    first = run(data, tmp_path / "one", *SCORER, of)
    second = run(data, tmp_path / "two", *SCORER, of, "data.classes=[right,left]")
    assert first == second
    assert_same_tensors(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_the_command_prints_both_figures(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_command, "quiet_lightning", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["train", *SMALL, f"data.root={data}", ONE, *SCORER])
    assert done.exit_code == 0, done.output
    assert "scorer: epoch 2 of 2, loss " in done.stdout
    [figures] = [line for line in done.stdout.splitlines() if "top1_saliency " in line]
    assert "top1 " in figures
    assert "runs/square_tsn/model.safetensors has the model, runs/square_tsn/report/ the report" in done.stdout
    of = "select.of=runs/square_tsn/model.safetensors"
    done = CliRunner().invoke(main, ["train", *SMALL, f"data.root={data}", *SCORER, of, "out=scored"])
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("scored/model.safetensors has the model\n")


@pytest.mark.slow
def test_workers_and_a_model_of_several_segments(data, tmp_path):
    trn = ("model=trn_tiny", "model.num_segments=4", "data.num_workers=2", ONE)
    figures = run(data, tmp_path, *trn, *SCORER)
    assert 0 <= figures["top1_saliency"] <= 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["+select=motion"], "select=motion is unknown: choose one of saliency"),
        (["select=saliency"], r"select is not among the groups that are there already: add it with a plus, \+select="),
        (["+select.epochs=3"], r"select.epochs belongs to \+select=saliency: give that too"),
        ([*SCORER, "select.epochs=many"], "select.epochs=many is not allowed: it takes a whole number"),
        ([*SCORER, "select.epochs=0"], "epochs=0 is not allowed: it must be above 0"),
        ([*SCORER, "select.size=60"], "size=60 is not allowed: it must be a multiple of 16"),
        ([*SCORER, "select.epoch=3"], "select.epoch is no setting: did you mean"),
        ([*SCORER, "select.of=nowhere.safetensors"], "nowhere.safetensors: no such weights file"),
        ([*SCORER, "select.of=tsn_r50_flow.mm0_k400_320p_1x1x3"], "the model reads optical flow: leave it out"),
        ([*SCORER, "select.of=x", "select.epochs=0"], "epochs=0 is not allowed: it must be above 0"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(data, tmp_path, overrides, words):
    with pytest.raises((PvSparseError, ValueError), match=words) as caught:
        run(data, tmp_path, *overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
