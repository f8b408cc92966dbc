"""A scorer of looks beside the model in one file: written, read, kept, dropped, and used by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from pv_sparse import (
    PvSparseError,
    Recognizer,
    SegmentClipSampler,
    SparseVideo,
    WeightsError,
    create_tsn,
    load_model,
    load_selector,
    recognize,
    save_model,
)
from pv_sparse.batch.clips import ClipReader
from pv_sparse.batch.job import Chunk, Job
from pv_sparse.batch.scoring import Scorer
from pv_sparse.cli import main
from pv_sparse.looking import Viewer
from pv_sparse.models.selection import LookScorer
from pv_sparse.recipes.building import start_from
from pv_sparse.zoo.loading import SCORER_PREFIX, find_weights
from pv_sparse.zoo.scorers import load_scorer

SIZES = {"size": 32, "width": 4, "attention": True}
DESCRIBED = {**SIZES, "num_looks": 16}


@pytest.fixture(scope="module")
def scorer() -> LookScorer:
    torch.manual_seed(3)
    made = LookScorer(**SIZES).eval()
    torch.nn.init.normal_(made.score.weight, std=2)
    return made


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny, scorer) -> str:
    """The tiny TSN with a scorer of looks."""
    path = tmp_path_factory.mktemp("scored") / "scored.safetensors"
    save_model(load_model(tiny), path, replace(find_weights(tiny), scorer=DESCRIBED), scorer)
    return str(path)


def command(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


def assert_same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_what_is_written_is_read(scored, tiny, scorer):
    weights = find_weights(scored)
    assert weights.scorer == DESCRIBED
    assert_same(load_model(scored), load_model(tiny))
    assert_same(load_scorer(weights), scorer)
    selector = load_selector(scored, even_share=0.5)
    assert not selector.scorer.training
    assert (selector.even_share, selector.num_looks, selector.scorer.size) == (0.5, 16, 32)


def test_the_model_lies_in_the_file_as_without_a_scorer(scored, tiny):
    alone, beside = load_file(tiny), load_file(scored)
    assert {key for key in beside if not key.startswith(SCORER_PREFIX)} == alone.keys()
    assert all(torch.equal(beside[key], tensor) for key, tensor in alone.items())


def test_a_scorer_and_its_record_go_together(tmp_path, tiny, scored, scorer):
    path = tmp_path / "new.safetensors"
    with pytest.raises(ValueError, match=r"has a scorer of looks: give scorer=load_scorer\(weights\), or replace\(w"):
        save_model(load_model(scored), path, find_weights(scored))
    with pytest.raises(ValueError, match="a scorer of looks was given, which the record does not describe"):
        save_model(load_model(tiny), path, find_weights(tiny), scorer)
    with pytest.raises(ValueError, match=r"the scorer is not what the record describes: .*size"):
        save_model(load_model(tiny), path, replace(find_weights(tiny), scorer={**DESCRIBED, "size": 64}), scorer)
    unlike = replace(find_weights(tiny), scorer={**DESCRIBED, "attention": False})
    with pytest.raises(ValueError, match="the scorer is not what the record describes: 12 tensors differ"):
        save_model(load_model(tiny), path, unlike, scorer)
    assert not path.exists()


def test_weights_without_a_scorer(tiny, index_video):
    words = "has no scorer of looks, so that select='saliency' cannot be: choose motion or diverse, or train one: pv-sp"
    for ask in (load_selector, lambda own: recognize(index_video, own, select="saliency")):
        with pytest.raises(WeightsError, match=words) as caught:
            ask(tiny)
        assert "\n" not in str(caught.value)
    assert words in command("recognize", index_video, "--weights", tiny, "--select", "saliency", code=1).stderr


def without(record: dict, key: str) -> dict:
    return {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({**DESCRIBED, "width": 8}, "does not fit its scorer of looks: among its tensors, .* of another shape"),
        ({**DESCRIBED, "attention": False}, "does not fit its scorer of looks: among its tensors, .* unknown"),
        (without(DESCRIBED, "num_looks"), "the record of its scorer of looks is not whole .*num_looks"),
        ({**DESCRIBED, "heads": 3}, "the record of its scorer of looks is not whole .*heads"),
        ({**DESCRIBED, "size": 33}, "the record of its scorer of looks is not whole .*size=33"),
        ({**DESCRIBED, "size": "big"}, "the record of its scorer of looks is not whole"),
        ({**DESCRIBED, "num_looks": 0}, "the record of its scorer of looks is not whole .*num_looks=0"),
    ],
)
def test_a_damaged_scorer(scored, described, told):
    weights = replace(find_weights(scored), scorer=described)
    with pytest.raises(WeightsError, match=told) as caught:
        load_selector(weights)
    assert "\n" not in str(caught.value)


def test_a_scorer_whose_tensors_are_gone(tiny):
    weights = replace(find_weights(tiny), scorer=DESCRIBED)
    with pytest.raises(WeightsError, match=r"does not fit its scorer of looks: among its tensors, \d+ missing"):
        load_scorer(weights)


def test_other_classes_are_without_it(scored, tmp_path):
    tuned = find_weights(scored).with_categories(["a", "b"])
    assert tuned.scorer == {}
    save_model(load_model(scored, num_classes=2), tmp_path / "two.safetensors", tuned)
    assert find_weights(tmp_path / "two.safetensors").scorer == {}
    assert not [key for key in load_file(tmp_path / "two.safetensors") if key.startswith(SCORER_PREFIX)]
    load_model(tmp_path / "two.safetensors")


def test_other_models_start_from_it(scored, tiny):
    classes = find_weights(scored).num_classes
    model = create_tsn(num_classes=classes, backbone="tiny")
    start_from(model, scored, "create_tsn", classes)
    assert_same(model, load_model(tiny))
    backbone = create_tsn(num_classes=3, backbone="tiny", backbone_weights=scored).backbone
    assert_same(backbone, load_model(tiny).backbone)


def test_convert_keeps_it(scored, scorer, tmp_path):
    command("zoo", "convert", scored, tmp_path / "again.safetensors")
    weights = find_weights(tmp_path / "again.safetensors")
    assert weights.scorer == DESCRIBED
    assert_same(load_scorer(weights), scorer)
    assert_same(load_model(weights), load_model(scored))


def test_show_tells_of_it(scored, tiny):
    assert "scorer          size 32, width 4, attention True, num_looks 16\n" in command("zoo", "show", scored).stdout
    assert "scorer" not in command("zoo", "show", tiny).stdout


def frames_of(video: Path, weights: str) -> list[int]:
    with SparseVideo(video) as opened:
        return SegmentClipSampler(8, select=load_selector(weights)).plan(0).indices(opened).tolist()


def test_recognition_by_name(scored, index_video):
    expected = frames_of(index_video, scored)
    assert expected != recognize(index_video, scored).frame_indices
    assert recognize(index_video, scored, select="saliency").frame_indices == expected
    assert Recognizer(scored, select=load_selector(scored))(index_video).frame_indices == expected
    printed = command("recognize", index_video, "--weights", scored, "--json", "--select", "saliency").stdout
    assert json.loads(printed)["frame_indices"] == expected


def test_with_early_exit(scored, index_video):
    found = recognize(index_video, scored, select="saliency", confidence=1.0, max_segments=8)
    assert found.frame_indices == frames_of(index_video, scored)


def test_in_batches(scored, index_video):
    job = Job([str(index_video)], find_weights(scored), select="saliency")
    reader = ClipReader(Viewer(job.weights, select=job.select))
    [row] = Scorer(job, "cpu").rows(Chunk([0], job.videos), map(reader.read, job.videos))
    expected = recognize(index_video, scored, select="saliency")
    assert row["frame_indices"] == expected.frame_indices
    assert row["classes"][0]["index"] == expected.classes[0].index


@pytest.mark.slow
def test_in_batches_of_the_command(scored, tiny, index_video, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, of the extra batch")
    arguments = ("recognize", index_video, "--output", tmp_path / "out", "--jobs", "1", "--select", "saliency")
    command(*arguments, "--weights", scored)
    [part] = (tmp_path / "out").glob("*.parquet")
    assert pq.read_table(part).to_pylist()[0]["frame_indices"] == frames_of(index_video, scored)
    arguments = ("recognize", index_video, "--output", tmp_path / "none", "--select", "saliency")
    told = command(*arguments, "--weights", tiny, code=1).stderr
    assert "has no scorer of looks, so that select='saliency' cannot be" in told


def test_what_does_not_go_together(scored, index_video):
    with pytest.raises(ValueError, match="select='saliency' chooses other frames than all views"):
        Viewer(find_weights(scored), all_views=True, select="saliency")
    with pytest.raises(ValueError, match="even_share=3 is not allowed"):
        load_selector(scored, even_share=3)
    with pytest.raises(PvSparseError, match="no such weights file"):
        load_selector("nowhere.safetensors")
