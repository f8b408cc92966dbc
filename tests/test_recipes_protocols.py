"""The test protocols: the frames and crops of the originals, for whatever weights they are given."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pv_sparse import WeightsError, get_weights, list_weights
from pv_sparse.data.segments import Packets
from pv_sparse.recipes.config import compose, instantiate
from pv_sparse.recipes.protocols import Protocol, get_protocol, list_protocols

NAMES = ["dense_10", "one_view", "published", "three_crops_twice", "tsn_25x10"]
TSN, TRN = "tsn_r50.mm_k400_1x1x8", "trn_r50.mm_sthv2_1x1x8"
FIVE = [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]  # of 224 in 340x256


def frames(protocol: str, weights: str, num_frames: int = 100) -> list[int]:
    plan = get_protocol(protocol).sampler(get_weights(weights)).plan(seed=0)
    return plan.indices_of(num_frames, Packets()).tolist()


def plain_pixels(name: str):
    """The record of these weights, with pixels left as they are."""
    weights = get_weights(name)
    kept = {"mean": [0.0] * 3, "std": [1.0] * 3, "value_range": 255.0, "channel_order": "RGB"}
    return replace(weights, input={**weights.input, **kept})


def shown(protocol: Protocol, weights, num_frames: int, height: int = 256, width: int = 340) -> torch.Tensor:
    """(V, C, T, size, size): what a clip of so many frames becomes, whose pixels say x, y and the frame's number."""
    t, y, x = np.mgrid[:num_frames, :height, :width]
    sample = {"video": torch.from_numpy(np.stack([x, y, t])).float()}
    video = protocol.transform(weights)(sample)["video"]
    return torch.stack(video.chunk(protocol.num_views(weights), dim=1))


# Names


def test_these_are_the_protocols():
    assert list_protocols() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_file_makes_the_protocol_of_its_name_by_hydra_too(name):
    config = compose("evaluate", [f"protocol={name}", "out=x"]).config
    assert instantiate(config.protocol) == get_protocol(name)
    assert get_protocol(name).name == name


# Frames: worked numbers of the originals, 0-based


def test_one_view_looks_at_the_middle_of_each_segment():
    assert frames("one_view", TSN) == [6, 18, 31, 43, 56, 68, 81, 93]
    assert frames("one_view", "tsn_r50.mm_k400_1x1x3") == [16, 50, 83]


def test_tsn_takes_25_frames():
    assert frames("tsn_25x10", TSN, 250) == [5 + 10 * i for i in range(25)]
    assert frames("tsn_25x10", TSN, 30)[:6] == [0, 1, 3, 4, 5, 6]  # int(0.6 + 1.2 i)


def test_tsn_takes_25_stacks_of_flow():
    got = np.array(frames("tsn_25x10", flow_weights(), 104))
    assert got.reshape(25, 5)[:3].tolist() == [[2, 3, 4, 5, 6], [6, 7, 8, 9, 10], [10, 11, 12, 13, 14]]  # steps of 4


def flow_weights() -> str:
    return next(n for n in list_weights() if n.startswith("tsn_bninception_flow") and get_weights(n).num_classes == 101)


def test_twice_are_the_centred_frames_and_then_the_first_of_each_segment():
    assert frames("three_crops_twice", TRN) == [6, 18, 31, 43, 56, 68, 81, 93, 0, 12, 25, 37, 50, 62, 75, 87]


def test_dense_are_ten_windows_of_64_frames():
    got = np.array(frames("dense_10", TSN)).reshape(10, 8)
    assert got[:, 0].tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    assert (np.diff(got, axis=1) == 8).all()


# Crops


def test_ten_crops_are_the_corners_and_the_centre_each_mirrored_after():
    views = shown(get_protocol("tsn_25x10"), plain_pixels(TSN), num_frames=2)
    assert views.shape == (10, 3, 2, 224, 224)
    assert [tuple(view[:2, 0, 0, 0].tolist()) for view in views[::2]] == FIVE
    torch.testing.assert_close(views[1::2], views[::2].flip(-1), rtol=0, atol=0)


def test_three_crops_are_left_right_middle_and_each_has_the_centred_frames_first():
    views = shown(get_protocol("three_crops_twice"), plain_pixels(TRN), num_frames=4)
    assert views.shape == (6, 3, 2, 256, 256)
    assert views[:, 0, 0, 0, 0].tolist() == [0, 0, 84, 84, 42, 42]
    assert views[:, 2, :, 0, 0].tolist() == [[0, 1], [2, 3]] * 3


def test_one_view_is_the_centre():
    views = shown(get_protocol("one_view"), plain_pixels(TSN), num_frames=1)
    assert views.shape == (1, 3, 1, 224, 224)
    assert views[0, :2, 0, 0, 0].tolist() == [58, 16]


def test_sizes_are_those_of_the_weights_where_the_protocol_has_none():
    inception = next(name for name in list_weights() if get_weights(name).input.get("crop") == 299)
    asked = get_protocol("one_view").record(get_weights(inception)).input
    assert (asked["crop"], asked["resize"], asked["num_crops"]) == (299, 341, 1)
    asked = get_protocol("three_crops_twice").record(get_weights(TRN)).input
    assert (asked["crop"], asked["resize"], asked["num_crops"]) == (256, 256, 3)


def test_pixels_are_normalised_as_the_weights_want_them():
    weights = get_weights("trn_bninception.csail_sthv1")  # BGR, 0 to 255
    clip = torch.randint(256, (3, 2, 64, 96), dtype=torch.uint8)
    small = replace(get_protocol("one_view"), size=64, resize=64)
    got = small.transform(weights)({"video": clip})["video"]
    mean = torch.tensor(weights.input["mean"]).reshape(3, 1, 1, 1)
    torch.testing.assert_close(got, clip[..., 16:80].flip(0) - mean)


def test_flow_and_rgb_differences_keep_their_frames_and_channels():
    weights = get_weights(flow_weights())
    small = replace(get_protocol("one_view"), size=64, resize=64)
    clip = torch.zeros(2, 15, 64, 64, dtype=torch.uint8)
    assert small.transform(weights)({"video": clip})["video"].shape == (2, 15, 64, 64)
    differences = replace(
        get_weights(TSN),
        build={"builder": "create_tsn", "arguments": {"num_classes": 400, "frames_per_segment": 5}},
        sampling={"rule": "tsn_test", "num_segments": 3, "frames_per_segment": 6},
        one_view={},
    )
    sampler = small.sampler(differences)
    assert (sampler.num_segments, sampler.frames_per_segment) == (3, 6)
    clip = torch.zeros(3, 18, 64, 64, dtype=torch.uint8)
    assert small.transform(differences)({"video": clip})["video"].shape == (3, 15, 64, 64)


# What belongs to the weights


@pytest.mark.parametrize("name", [name for name in list_weights() if not get_weights(name).unsupported])
def test_the_published_test_is_that_of_the_record(name):
    weights = get_weights(name)
    published = get_protocol("published")
    assert published.record(weights) == weights
    assert published.num_views(weights) >= weights.input.get("num_crops", 1)


def test_the_protocols_by_name_are_those_that_published_figures_were_measured_with():
    for name, protocol in ((TRN, "three_crops_twice"), ("tsn_bninception_flow.mm01_ucf101_1x1x3", "tsn_25x10")):
        record = get_protocol(protocol).record(get_weights(name))
        assert (record.sampling, record.input) == (get_weights(name).sampling, get_weights(name).input)


def test_the_number_of_views():
    counts = {name: get_protocol(name).num_views(get_weights(TRN)) for name in NAMES if name != "tsn_25x10"}
    assert counts == {"dense_10": 10, "one_view": 1, "published": 6, "three_crops_twice": 6}
    assert get_protocol("tsn_25x10").num_views(get_weights(TSN)) == 10
    assert get_protocol("published").num_views(get_weights("tsn_r50.mm_k400_dense_1x1x5")) == 10


def test_views_are_averaged_as_the_publisher_does():
    assert get_protocol("published").average_for(get_weights(TRN)) == "scores"
    assert get_protocol("published").average_for(get_weights(TSN)) == "logits"
    assert get_protocol("published").average_for(get_weights("trn_bninception.csail_sthv1")) == "logits"
    assert get_protocol("tsn_25x10").average_for(get_weights(TRN)) == "logits"
    assert get_protocol("three_crops_twice").average_for(get_weights(TSN)) == "scores"


def test_cheaper_frames_of_training_do_not_enter_a_published_protocol():
    weights = replace(get_weights(TSN), sampling={"rule": "center", "num_segments": 8, "snap": "keyframe"})
    assert get_protocol("published").sampler(weights).snap == "keyframe"
    assert get_protocol("dense_10").sampler(weights).snap is None


def test_a_record_is_described_by_what_came_together():
    assert get_protocol("three_crops_twice").describe(get_weights(TRN)) == {
        "name": "three_crops_twice",
        "rule": "tsm_twice",
        "num_segments": 8,
        "num_crops": 3,
        "size": 256,
        "resize": 256,
        "num_views": 6,
    }


# What is refused


def test_a_trn_takes_its_own_number_of_segments_alone():
    with pytest.raises(WeightsError, match=r"tsn_25x10 takes 25 segments, and trn_r50\S+ is a TRN of exactly 8"):
        get_protocol("tsn_25x10").record(get_weights(TRN))


def test_a_trn_in_a_file_of_any_name_is_known_by_its_build():
    weights = replace(get_weights(TRN), name="mine.safetensors")
    with pytest.raises(WeightsError, match=r"mine\.safetensors is a TRN of exactly 8"):
        get_protocol("tsn_25x10").record(weights)


def test_an_eco_takes_multiples_of_4():
    weights = get_weights("eco_lite_16f.unifr_k400")
    with pytest.raises(WeightsError, match=r"tsn_25x10 takes 25 segments, and eco_lite.* for multiples of 4"):
        get_protocol("tsn_25x10").record(weights)
    assert replace(get_protocol("one_view"), num_segments=32).sampler(weights).num_segments == 32


def test_weights_without_a_number_of_segments_need_one():
    weights = replace(get_weights(TSN), sampling={"num_segments": None, "every_seconds": 1.0}, one_view={})
    with pytest.raises(WeightsError, match="as many frames as a video is long"):
        get_protocol("published").record(weights)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"rule": "centre"}, "rule='centre' is unknown"),
        ({"rule": "random"}, "rule='random' draws its frames"),
        ({"num_crops": 5}, "num_crops=5 is not allowed: choose one of 1, 3, 10"),
        ({"average": "mean"}, "average='mean' is unknown: choose one of logits, scores"),
        ({"num_segments": 0}, "num_segments=0 is not allowed"),
        ({"size": -1}, "size=-1 is not allowed"),
    ],
)
def test_values_that_are_not_allowed_are_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        Protocol(name="mine", **arguments)


def test_crops_larger_than_what_they_are_cut_from_are_told_before_any_video():
    with pytest.raises(ValueError, match="crop=300 is larger than resize=256"):
        replace(get_protocol("one_view"), size=300).record(get_weights(TSN))


def test_an_unknown_protocol_is_told_with_those_there_are():
    with pytest.raises(ValueError, match="protocol='tsn_10x25' is unknown: choose one of dense_10, one_view"):
        get_protocol("tsn_10x25")
