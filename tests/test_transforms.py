"""The evaluation transform, to the pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from pv_sparse import EvaluationTransform, TemporalDifference
from pv_sparse.models.segment_net import fold_segments

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1), "value_range": 255.0}


def photograph(width: int, height: int) -> np.ndarray:
    """Smooth shapes and some grain, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 5)], axis=-1)
    grain = np.random.default_rng(0).normal(0, 0.1, waves.shape)
    return ((waves + grain) * 60 + 128).clip(0, 255).astype(np.uint8)


def clip_of(*pictures: np.ndarray) -> torch.Tensor:
    """(3, T, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)


@pytest.mark.parametrize("size", [(340, 256), (320, 240), (176, 320), (640, 360)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_scaling_and_cropping_are_pils(size, interpolation):
    picture = photograph(*size)
    scale = 256 / min(size)
    scaled = Image.fromarray(picture).resize(
        (int(size[0] * scale), int(size[1] * scale)), getattr(Image.Resampling, interpolation.upper())
    )
    left, top = round((scaled.width - 224) / 2), round((scaled.height - 224) / 2)
    expected = np.asarray(scaled.crop((left, top, left + 224, top + 224)))
    result = EvaluationTransform(**PLAIN, interpolation=interpolation)(clip_of(picture))
    difference = np.abs(result[:, 0].permute(1, 2, 0).numpy() - expected)
    assert result.shape == (3, 1, 224, 224)
    assert difference.max() <= 2
    assert difference.mean() < 0.2


def test_every_frame_is_treated_alike():
    pictures = [photograph(300, 260), photograph(300, 260)[:, ::-1].copy()]
    transform = EvaluationTransform()
    together = transform(clip_of(*pictures))
    assert torch.equal(together[:, 1:], transform(clip_of(pictures[1])))


def test_float_and_uint8_are_the_same_pixels():
    clip = clip_of(photograph(300, 260))
    torch.testing.assert_close(EvaluationTransform()(clip.float()), EvaluationTransform()(clip), rtol=0, atol=0.02)


def test_range_order_and_normalisation():
    clip = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 2, 8, 8)
    caffe = EvaluationTransform(8, 8, mean=(104, 117, 128), std=(1, 1, 1), value_range=255.0, channel_order="BGR")
    assert caffe(clip)[:, 1, 0, 0].tolist() == [30 - 104, 20 - 117, 10 - 128]
    unit = EvaluationTransform(8, 8, mean=(0.1, 0.1, 0.1), std=(0.5, 0.5, 0.5))
    torch.testing.assert_close(unit(clip)[:, 0, 0, 0], (torch.tensor([10, 20, 30]) / 255 - 0.1) / 0.5)


def test_no_crop_keeps_the_whole_frame():
    assert EvaluationTransform(128, crop=None)(clip_of(photograph(320, 240))).shape == (3, 1, 128, 170)


def test_the_input_is_left_alone():
    clip = clip_of(photograph(260, 260)).float()
    before = clip.clone()
    EvaluationTransform(260, 224, channel_order="BGR")(clip)
    assert torch.equal(clip, before)


@pytest.mark.parametrize("shape", [(8, 3, 32, 32), (3, 32, 32), (1, 3, 8, 32, 32)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"the transform takes \(3, T, H, W\): .*frames\.transpose\(0, 1\)"):
        EvaluationTransform()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channel_order": "GBR"}, "channel_order='GBR' is unknown: choose one of RGB, BGR"),
        ({"value_range": 2}, "value_range=2 is not allowed: choose 1.0 or 255.0"),
        ({"resize": 128, "crop": 224}, "crop=224 is larger than resize=128"),
        ({"interpolation": "cubic"}, "interpolation='cubic' is unknown: choose one of bilinear, bicubic"),
    ],
)
def test_arguments_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        EvaluationTransform(**arguments)


def test_it_says_what_it_does():
    said = repr(EvaluationTransform())
    assert "shorter side to 256, centre 224, bilinear" in said
    assert "RGB 0 to 1, mean [0.485, 0.456, 0.406]" in said


# RGB difference


def test_a_difference_is_of_neighbours_in_a_segment():
    frames = torch.tensor([1.0, 2.0, 4.0, 100.0, 100.0, 90.0]).reshape(1, 6, 1, 1)
    found = TemporalDifference(frames_per_segment=3)(frames)
    assert found.flatten().tolist() == [1, 2, 0, -10]


def test_a_difference_of_bytes_does_not_wrap():
    frames = torch.tensor([200, 10], dtype=torch.uint8).reshape(1, 2, 1, 1)
    found = TemporalDifference(frames_per_segment=2)(frames)
    assert found.dtype == torch.float32
    assert found.item() == -190


def test_differences_have_the_originals_order_of_channels():
    """In a segment, frame after frame, each with its three channels."""
    clip = torch.rand(3, 12, 2, 2)
    difference = TemporalDifference(frames_per_segment=6)(clip)
    assert difference.shape == (3, 10, 2, 2)
    folded = fold_segments(difference[None], frames_per_segment=5)
    expected = torch.cat([clip[:, t] - clip[:, t - 1] for t in range(7, 12)])
    torch.testing.assert_close(folded[1], expected)


def test_frames_that_make_no_segments_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 7, 2, 2\) was given; .* multiple of frames_per_segment=6"):
        TemporalDifference()(torch.zeros(3, 7, 2, 2))
    with pytest.raises(ValueError, match="a difference needs 2 frames"):
        TemporalDifference(frames_per_segment=1)
