"""Crops and flips: the originals' figures, the pixels, one draw for a whole clip, and inputs left as they were."""

import json
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pv_sparse import MultiScaleCrop, RandomClipFlip, TenCrop, ThreeCrop, fold_views
from pv_sparse.models.segment_net import fold_segments
from pv_sparse.transforms import crop_offsets, crop_pairs, flip_clip
from pv_sparse.transforms.resizing import resize_clip

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transforms.json").read_text())
sides = st.integers(1, 500)


def golden(start: str) -> list:
    """(width, height, figures) of the entries of this kind, from keys such as multiscale_340x256."""
    rows = [(key.split("_")[1], row) for key, row in GOLDEN.items() if key.startswith(start)]
    return [(*map(int, size.split("x")), row) for size, row in rows]


def points(offsets: list) -> list:
    return [tuple(point) for point in offsets]


def noise(channels: int = 3, frames: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randint(256, (channels, frames, height, width), dtype=torch.uint8)


def places(height: int, width: int, frames: int = 1) -> torch.Tensor:
    """A clip whose pixels say where they are: x in channel 0, y in channel 1, the frame in channel 2."""
    t, y, x = np.mgrid[:frames, :height, :width]
    return torch.from_numpy(np.stack([x, y, t])).float()


# The training crop


@pytest.mark.parametrize(("width", "height", "figures"), golden("multiscale"))
def test_crop_sizes_and_places_are_the_originals(width, height, figures):
    pairs = crop_pairs(width, height)
    assert pairs == points(figures["pairs_wh"])
    assert len(pairs) == figures["n"]
    assert crop_offsets(width, height, *pairs[0]) == points(figures["offsets_for_first_pair"])


def test_flow_has_three_scales_and_seven_pairs():
    assert len(crop_pairs(340, 256, scales=(1, 0.875, 0.75))) == 7
    assert crop_pairs(340, 256, max_distort=0) == [(256, 256), (224, 224), (192, 192), (168, 168)]


def test_five_places_are_the_corners_and_the_centre():
    assert crop_offsets(340, 256, 224, 224, 5) == [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    assert crop_offsets(340, 256, 224, 224, 5) == crop_offsets(340, 256, 224, 224)[:5]


def test_a_side_snaps_to_the_size_where_the_frame_has_it():
    assert crop_pairs(300, 226, scales=(1,)) == [(224, 224)]
    assert crop_pairs(300, 227, scales=(1,)) == [(227, 227)]
    assert crop_pairs(300, 222, scales=(1,)) == [(222, 222)]


@given(sides, sides, st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.integers(0, 3), st.sampled_from([5, 13]))
def test_crops_lie_in_the_frame(width, height, scales, max_distort, num_positions):
    for w, h in crop_pairs(width, height, 224, scales, max_distort):
        assert min(w, h) >= 1
        for x, y in crop_offsets(width, height, w, h, num_positions):
            assert 0 <= x <= width - w
            assert 0 <= y <= height - h


def test_every_size_and_place_is_drawn_alike():
    transform = MultiScaleCrop()
    drawn = Counter(transform.draw(455, 256) for _ in range(13_000))
    expected = Counter(
        (x, y, w, h) for w, h in crop_pairs(455, 256) for x, y in crop_offsets(455, 256, w, h)
    )  # where there is no room above, several places are one
    assert drawn.keys() == expected.keys()
    assert all(abs(drawn[crop] / 100 - count) < 0.5 * count for crop, count in expected.items())


def test_what_is_cut_is_scaled_as_pil_does():
    clip = noise(height=128, width=170)
    transform = MultiScaleCrop(size=112)
    torch.manual_seed(3)
    x, y, width, height = transform.draw(170, 128)
    torch.manual_seed(3)
    found = transform(clip)
    picture = Image.fromarray(clip[:, 1].permute(1, 2, 0).numpy()).crop((x, y, x + width, y + height))
    expected = np.asarray(picture.resize((112, 112), Image.Resampling.BILINEAR)).astype(int)
    assert found.shape == (3, 2, 112, 112)
    assert found.dtype == torch.uint8
    assert np.abs(found[:, 1].permute(1, 2, 0).numpy() - expected).max() <= 2


@pytest.mark.parametrize("transform", [MultiScaleCrop(32), RandomClipFlip()], ids=["crop", "flip"])
def test_one_draw_serves_all_frames_and_seeds_repeat_it(transform):
    clip = noise(frames=1).expand(-1, 9, -1, -1)
    for seed in range(8):
        torch.manual_seed(seed)
        found = transform(clip)
        state = torch.get_rng_state()
        assert all(torch.equal(a, b) for a, b in pairwise(found.unbind(1)))
        torch.manual_seed(seed)
        assert torch.equal(transform(clip[:, :1]), found[:, :1])
        assert torch.equal(torch.get_rng_state(), state)


def test_clips_are_drawn_apart():
    clip, transform = noise(), MultiScaleCrop(32)
    assert len({transform(clip).float().mean().item() for _ in range(20)}) > 5


# The flip


def test_flow_is_mirrored_with_its_x_turned():
    figures = GOLDEN["flow_flip_example"]
    clip = torch.tensor([[figures["x_in"]], [figures["y_in"]]], dtype=torch.uint8)
    expected = torch.tensor([[figures["x_out"]], [figures["y_out"]]], dtype=torch.uint8)
    assert torch.equal(flip_clip(clip), expected)
    assert torch.equal(flip_clip(clip.float()), expected.float())


def test_mirrored_flow_may_keep_its_x():
    """As mmaction2's."""
    clip = torch.randint(256, (2, 3, 40, 40), dtype=torch.uint8)
    inverted, plain = (TenCrop(32, resize=None, invert_flow=choice)(clip) for choice in (True, False))
    inverted, plain = (views.unflatten(1, (5, 2, 3)) for views in (inverted, plain))
    assert torch.equal(plain[:, :, 1], plain[:, :, 0].flip(-1))
    assert torch.equal(inverted[1], plain[1])
    assert torch.equal(inverted[0, :, 1], 255 - plain[0, :, 1])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_flip_twice_is_none(channels):
    clip = noise(channels)
    assert torch.equal(flip_clip(flip_clip(clip)), clip)
    if channels != 2:
        assert torch.equal(flip_clip(clip), clip.flip(3))


def test_half_of_the_clips_are_flipped():
    clip, transform = noise(1, 1, 4, 4), RandomClipFlip()
    flips = sum(torch.equal(transform(clip), flip_clip(clip)) for _ in range(1000))
    assert 430 < flips < 570
    assert torch.equal(RandomClipFlip(1)(clip), flip_clip(clip))
    assert torch.equal(RandomClipFlip(0)(clip), clip)


# The views of a test


@pytest.mark.parametrize(("width", "height", "figures"), golden("oversample"))
def test_ten_crops_are_at_the_originals_places(width, height, figures):
    scaled = resize_clip(places(height, width), [256])
    assert [scaled.shape[3], scaled.shape[2]] == figures["scaled_wh"]
    views = TenCrop(224, resize=None)(places(*scaled.shape[2:], frames=2)).unflatten(1, (5, 2, 2))
    assert points(views[:2, :, 0, 0, 0, 0].T.tolist()) == points(figures["offsets_xy"])
    assert views[2, 0, 0, :, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("width", "height", "scaled"), golden("scale341"))
def test_the_longer_side_is_cut_off_to_whole_pixels(width, height, scaled):
    assert resize_clip(noise(height=height, width=width), [341]).shape[:1:-1] == tuple(scaled)


@pytest.mark.parametrize("channels", [2, 3])
def test_each_of_the_ten_is_plain_and_then_flipped(channels):
    clip = noise(channels, frames=3)
    views = TenCrop(32, resize=40)(clip).unflatten(1, (10, 3))
    assert TenCrop(32, resize=40)(clip).shape == (channels, 30, 32, 32)
    for plain in range(0, 10, 2):
        assert torch.equal(views[:, plain + 1], flip_clip(views[:, plain]))
    assert torch.equal(views[:, 0], resize_clip(clip, [40])[..., :32, :32])


def test_three_crops_are_left_right_and_middle():
    views = ThreeCrop(256)(places(256, 455, frames=2)).unflatten(1, (3, 2))
    assert views[0, :, 0, 0, 0].tolist() == [0, 198, 99]
    assert views.shape == (3, 3, 2, 256, 256)
    upright = ThreeCrop(256)(places(455, 256)).unflatten(1, (3, 1))
    assert upright[1, :, 0, 0, 0].tolist() == [0, 198, 99]
    smaller = ThreeCrop(224, resize=None)(places(256, 340))
    assert points(smaller[:2, :, 0, 0].T.tolist()) == [(0, 16), (116, 16), (58, 16)]


def test_crops_hold_views_one_after_another_as_the_models_take_them():
    """Three crops of two views of four frames: TSN reads 24 segments; others a batch of 6 clips."""
    clip = places(32, 48, frames=8)
    video = ThreeCrop(32, 32)(clip)[None]
    assert fold_segments(video)[:, 2, 0, 0].tolist() == [*range(8)] * 3
    folded = fold_views(video, num_views=6)
    assert folded.shape == (6, 3, 4, 32, 32)
    assert folded[:, 2, :, 0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3
    assert folded[:, 0, 0, 0, 0].tolist() == [0, 0, 16, 16, 8, 8]


def test_views_of_a_batch_stay_with_their_clip():
    video = torch.arange(2 * 6).reshape(2, 1, 6, 1, 1)
    assert fold_views(video, 3).flatten(1).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    with pytest.raises(
        ValueError, match=r"shape \(2, 1, 6, 1, 1\) was given for num_views=4; .* multiple of num_views"
    ):
        fold_views(video, 4)


# All of them

ALL = [MultiScaleCrop(32), RandomClipFlip(1), TenCrop(32, 48), ThreeCrop(32, 48), TenCrop(64, None)]
every_transform = pytest.mark.parametrize("transform", ALL, ids=lambda transform: type(transform).__name__)


@every_transform
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_input_is_left_alone_and_the_type_stays(transform, channels, dtype):
    clip = noise(channels).to(dtype)
    before = clip.clone()
    assert transform(clip).dtype == dtype
    assert torch.equal(clip, before)


@every_transform
def test_bytes_and_floats_are_the_same_pixels(transform):
    clip = noise()
    torch.manual_seed(1)
    from_bytes = transform(clip).float()
    torch.manual_seed(1)
    torch.testing.assert_close(transform(clip.float()), from_bytes, rtol=0, atol=1.01)


@every_transform
def test_clips_that_a_decoder_permuted_are_the_same(transform):
    clip = noise()
    permuted = clip.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    torch.manual_seed(1)
    expected = transform(clip)
    torch.manual_seed(1)
    assert torch.equal(transform(permuted), expected)


@every_transform
@pytest.mark.parametrize("shape", [(8, 3, 64, 64), (3, 64, 64), (1, 3, 8, 64, 64)])
def test_other_shapes_are_refused(transform, shape):
    words = r"takes \(C, T, H, W\) with C at most 4: turn frames .* with frames\.transpose\(0, 1\)"
    with pytest.raises(ValueError, match=words):
        transform(torch.zeros(shape))


@every_transform
def test_it_survives_pickling(transform):
    clip = noise()
    torch.manual_seed(1)
    expected = transform(clip)
    torch.manual_seed(1)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(clip), expected)


@pytest.mark.gpu
@every_transform
def test_a_gpu_gives_the_same_pixels(transform):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clip = noise()
    torch.manual_seed(1)
    expected = transform(clip)
    torch.manual_seed(1)
    found = transform(clip.cuda())
    assert found.is_cuda
    torch.testing.assert_close(found.cpu().float(), expected.float(), rtol=0, atol=1.01)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiScaleCrop(0), "size=0 is not allowed: it must be at least 1 pixel"),
        (lambda: MultiScaleCrop(scales=()), r"scales=\(\) is not allowed"),
        (
            lambda: MultiScaleCrop(scales=(1.2, 1)),
            r"scales=\(1.2, 1\) is not allowed: each must be above 0 and at most 1",
        ),
        (lambda: MultiScaleCrop(max_distort=-1), "max_distort=-1 is not allowed"),
        (lambda: MultiScaleCrop(num_positions=9), "num_positions=9 is not allowed: choose 5 or 13"),
        (lambda: MultiScaleCrop(interpolation="cubic"), "interpolation='cubic' is unknown"),
        (lambda: RandomClipFlip(1.5), "p=1.5 is not allowed: a chance is from 0 to 1"),
        (lambda: TenCrop(256, 224), "size=256 is larger than resize=224: crop at most what is there"),
        (lambda: ThreeCrop(0), "size=0 is not allowed"),
        (
            lambda: TenCrop(224, None)(noise()),
            "frames of 96x64 pixels were given; TenCrop cuts squares of 224: give res",
        ),
    ],
)
def test_arguments_that_make_no_sense(make, words):
    with pytest.raises(ValueError, match=words):
        make()
