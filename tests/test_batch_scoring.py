"""Clips and rows: what a batch job writes is what the recogniser says of each video alone."""

import dataclasses

import numpy as np
import pytest
import torch
from batch_jobs import INPUT, write_videos, write_weights

from pv_sparse.batch.clips import Clip, ClipReader, split_transform, to_model
from pv_sparse.batch.job import Chunk, Job
from pv_sparse.batch.scoring import Scorer
from pv_sparse.looking import Viewer
from pv_sparse.models.features import video_features
from pv_sparse.recognition import Recognizer
from pv_sparse.zoo.loading import find_weights
from pv_sparse.zoo.weights import get_weights

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"), 5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a published test with 10 crops."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return find_weights(write_weights(path, input={**INPUT, "num_crops": 10}, one_view={"num_segments": 4}))


def rows_of(job: Job, device: str) -> list[dict]:
    reader, numbers = ClipReader(Viewer(job.weights, job.all_views, select=job.select)), [*range(len(job.videos))]
    return Scorer(job, device).rows(Chunk(numbers, job.videos), map(reader.read, job.videos))


@pytest.mark.parametrize("all_views", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_what_the_recogniser_says(videos, weights, all_views, device):
    recognizer = Recognizer(weights, device, all_views)
    for row in rows_of(Job(videos, weights, top_k=3, all_views=all_views), device):
        if row["error"] is not None:
            assert [name for name, value in row.items() if value is None] == [*row][4:]
            continue
        expected = dataclasses.asdict(recognizer(row["path"], top_k=3))
        scores = [[entry.pop("score") for entry in classes] for classes in (row["classes"], expected["classes"])]
        assert {name: value for name, value in row.items() if name != "number"} == expected
        assert scores[0] == pytest.approx(scores[1], abs=1e-6 if device == "cpu" else 1e-3)


@pytest.mark.parametrize("select", ["motion", "diverse"])
def test_frames_are_those_that_the_recogniser_chooses(videos, weights, select):
    recognizer = Recognizer(weights, select=select)
    for row in rows_of(Job(videos[:3], weights, top_k=1, select=select), "cpu"):
        expected = recognizer(row["path"], top_k=1)
        assert row["frame_indices"] == expected.frame_indices
        assert row["classes"][0]["index"] == expected.classes[0].index
        assert row["classes"][0]["score"] == pytest.approx(expected.classes[0].score, abs=1e-6)
    assert row["frame_indices"] != Recognizer(weights)(videos[2]).frame_indices


def test_errors_stand_in_their_place(videos, weights):
    rows = rows_of(Job(videos, weights), "cpu")
    assert [row["number"] for row in rows] == [*range(6)]
    assert [row["path"] for row in rows] == videos
    assert [row["error"] is None for row in rows] == [True, True, True, False, True, False]
    assert rows[5]["error"] == f"{videos[5]}: no such file"


@pytest.mark.parametrize("all_views", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_features_are_those_of_the_model(videos, weights, all_views, device):
    recognizer = Recognizer(weights, device, all_views)
    row = rows_of(Job(videos[:2], weights, all_views=all_views, features=True), device)[1]
    clip = recognizer.viewer.clip(recognizer.look(videos[1])).to(device)
    views = torch.stack(clip.chunk(recognizer.viewer.num_views, dim=1))
    with torch.no_grad():
        features = video_features(recognizer.model, views).cpu()  # (V, S, C')
    assert row["features_shape"] == ([10, 8, 192] if all_views else [4, 192])
    assert "classes" not in row
    found = torch.from_numpy(row["features"]).view(features.shape)
    torch.testing.assert_close(found, features, rtol=1e-4, atol=1e-5 if device == "cpu" else 1e-2)


def test_clips_of_several_shapes_go_through_the_model_apart(weights):
    sizes = [(4, 64), (8, 64), (4, 64), (4, 96)]
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (3, length, side, side), dtype=np.uint8) for length, side in sizes]
    clips = [Clip(own, 9, [1], [0.1]) for own in pixels]
    job = Job(["a", "b", "c", "d"], weights)
    scorer = Scorer(job, "cpu")
    together = scorer.rows(Chunk([0, 1, 2, 3], job.videos), clips)
    for number, clip in enumerate(clips):
        alone = scorer.rows(Chunk([number], [job.videos[number]]), [clip])[0]
        assert [entry["index"] for entry in alone["classes"]] == [e["index"] for e in together[number]["classes"]]
        assert alone["classes"][0]["score"] == pytest.approx(together[number]["classes"][0]["score"], abs=1e-5)


@pytest.mark.parametrize("all_views", [False, True])
@pytest.mark.parametrize(
    "name",
    ["tsn_efficientnet_lite0.in1k", "tsn_r50.mm_k400_1x1x8", "tsn_r50.mm0_k400_256p_1x1x8", "eco_16f.unifr_k400"],
)
def test_bytes_travel_and_floats_arrive_as_the_transform_gives_them(name, all_views):
    weights = get_weights(name)
    clip = torch.randint(0, 256, (3, 2, 120, 180), dtype=torch.uint8)
    crop, normalize = split_transform(weights, all_views)
    pixels = crop(clip)
    assert pixels.dtype == torch.uint8
    expected = weights.transform(one_view=not all_views)(clip)
    assert torch.equal(to_model(pixels[None].numpy(), normalize, "cpu")[0], expected)


def test_differences_of_frames_are_taken_after_the_journey(weights):
    build = {"builder": "create_tsn", "arguments": {**weights.build["arguments"], "frames_per_segment": 2}}
    difference = dataclasses.replace(weights, build=build)
    clip = torch.randint(0, 256, (3, 6, 80, 90), dtype=torch.uint8)
    crop, normalize = split_transform(difference, False)
    found = to_model(crop(clip)[None].numpy(), normalize, "cpu")[0]
    assert torch.equal(found, difference.transform(one_view=True)(clip))
    assert found.shape == (3, 4, 64, 64)
