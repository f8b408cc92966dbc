"""Normalisation by name: the originals' figures, and one way for clips, batches and the evaluation transform."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pv_sparse import EvaluationTransform, Normalization, NormalizeClip, TemporalDifference
from pv_sparse.transforms import NORMALIZATIONS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transforms.json").read_text())["stack_norm_example"]
names = pytest.mark.parametrize("name", NORMALIZATIONS)


def noise(name: str, *batch: int) -> torch.Tensor:
    return torch.randint(256, (*batch, NORMALIZATIONS[name].num_channels, 4, 8, 9), dtype=torch.uint8)


@pytest.mark.parametrize(("name", "original"), [("bn_inception", "bninception"), ("imagenet", "resnet")])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_two_pictures_are_normalised_as_the_original_does(name, original, dtype):
    pictures = [GOLDEN[f"image{number}_HWC_rgb"] for number in range(2)]
    clip = torch.tensor(pictures, dtype=dtype).permute(3, 0, 1, 2)
    stacked = NormalizeClip(name)(clip).transpose(0, 1).flatten(0, 1)  # picture after picture, each with its channels
    torch.testing.assert_close(stacked, torch.tensor(GOLDEN[f"{original}_out_CHW"]), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("imagenet", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.6400]),
        ("imagenet_flow", [-2.2124] * 2, [2.2124] * 2),
        ("bn_inception", [-104, -117, -128], [151, 138, 127]),
        ("bn_inception_flow", [-128] * 2, [127] * 2),
        ("caffe", [-104, -117, -123], [151, 138, 132]),
        ("caffe_flow", [-128] * 2, [127] * 2),
        ("mmaction2", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.6400]),
        ("mmaction2_flow", [-1] * 2, [0.9922] * 2),
        ("pytorchvideo", [-2] * 3, [2.4444] * 3),
    ],
)
def test_black_and_white(name, black, white):
    clip = torch.zeros(len(black), 2, 1, 1, dtype=torch.uint8)
    clip[:, 1] = 255
    torch.testing.assert_close(NormalizeClip(name)(clip)[:, 0, 0, 0], torch.tensor(black).float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(NormalizeClip(name)(clip)[:, 1, 0, 0], torch.tensor(white).float(), rtol=0, atol=1e-4)


@given(st.floats(0, 1), st.floats(0.01, 1), st.integers(0, 255))
def test_it_is_less_the_mean_by_the_std(mean, std, pixel):
    clip = torch.full((3, 1, 1, 1), pixel, dtype=torch.uint8)
    found = NormalizeClip(Normalization([mean] * 3, [std] * 3))(clip)
    assert found.flatten().tolist() == pytest.approx([(pixel / 255 - mean) / std] * 3, abs=2e-6 / std)


@names
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_input_is_left_alone(name, dtype):
    clip = noise(name).to(dtype)
    before = clip.clone()
    assert NormalizeClip(name)(clip).dtype == torch.float32
    assert torch.equal(clip, before)


@names
def test_a_batch_is_so_many_clips(name):
    batch, normalize = noise(name, 2), NormalizeClip(name)
    assert torch.equal(normalize(batch), torch.stack([normalize(clip) for clip in batch]))


@names
def test_the_evaluation_transform_normalises_alike(name):
    clip, wanted = noise(name), NORMALIZATIONS[name]
    transform = EvaluationTransform(8, 8, wanted.mean, wanted.std, wanted.value_range, wanted.channel_order)
    assert torch.equal(transform(clip.contiguous()[..., :8]), NormalizeClip(name)(clip[..., :8]))


def test_no_weights_are_added_to_a_model():
    assert not NormalizeClip().state_dict()
    assert not list(NormalizeClip().parameters())


def test_it_survives_pickling():
    clip = noise("caffe")
    assert torch.equal(pickle.loads(pickle.dumps(NormalizeClip("caffe")))(clip), NormalizeClip("caffe")(clip))


def test_means_cancel_in_rgb_differences():
    clip = noise("bn_inception")
    difference = TemporalDifference(frames_per_segment=2)
    torch.testing.assert_close(difference(NormalizeClip("bn_inception")(clip)), difference(clip.flip(0)))


def test_it_says_what_it_does():
    assert "BGR 0 to 255, mean [104.0, 117.0, 123.0], std [1.0, 1.0, 1.0]" in repr(NormalizeClip("caffe"))


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (4, 3, 8, 8), (3, 8, 8), (1, 1, 3, 4, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"NormalizeClip takes \(3, T, H, W\), or a batch of them, for the channels RGB"
    ):
        NormalizeClip()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NormalizeClip("imagnet"), "normalization='imagnet' is unknown: choose one of imagenet, .*, or give a"),
        (lambda: Normalization((0, 0), (1, 1, 1)), r"mean=\(0, 0\) does not fit RGB: give 3 numbers"),
        (lambda: Normalization((0, 0), (1, 1, 1), 1.0, "XY"), r"std=\(1, 1, 1\) does not fit XY: give 2 numbers"),
        (lambda: Normalization((0, 0, 0), (1, 1, 0)), r"std=\(1, 1, 0\) is not allowed: each must be above 0"),
        (lambda: Normalization((0, 0, 0), (1, 1, 1), 2.0), "value_range=2.0 is not allowed: choose 1.0 or 255.0"),
    ],
)
def test_arguments_that_make_no_sense(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.gpu
@names
def test_a_gpu_normalises_alike(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    batch, normalize = noise(name, 2), NormalizeClip(name)
    expected = normalize(batch)
    torch.testing.assert_close(normalize.cuda()(batch.cuda()).cpu(), expected, rtol=0, atol=1e-5)
