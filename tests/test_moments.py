"""What a model says of every moment: the same as of those segments alone, though each frame is seen once."""

from dataclasses import replace

import pytest
import torch
from index_video import write_index_video

from pv_sparse import SparseVideo, create_eco_lite, create_trn, create_tsn, get_weights
from pv_sparse.looking import Viewer, look_at
from pv_sparse.moments import Moments, moments_of
from pv_sparse.zoo.weights import Weights


def slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


TWO_TASKS = {"verb": 3, "noun": 4}
MODELS = {
    "tsn": lambda: create_tsn(num_classes=5, backbone="tiny"),
    "tsn_rgbdiff": lambda: create_tsn(num_classes=5, backbone="tiny", frames_per_segment=2),
    "trn": lambda: create_trn(num_classes=5, backbone="tiny", num_segments=4),
    "trn_tasks": lambda: create_trn(num_classes=TWO_TASKS, backbone="tiny", num_segments=4),
    "eco": lambda: create_eco_lite(num_classes=5, backbone="tiny", num_segments=4),
}


def record_of(model) -> Weights:
    """All that is read of it here is how frames are sampled and transformed."""
    length = model.frames_per_segment
    base = get_weights("tsn_efficientnet_lite0.in1k")
    return replace(
        base,
        build={"builder": "create_tsn", "arguments": {**base.build["arguments"], "frames_per_segment": length}},
        one_view={"num_segments": 4, "frames_per_segment": length + 1 if length > 1 else 1},
        input={"resize": 36, "crop": 32},
    )


def said_of(path, name: str, num_moments: int) -> tuple[Moments, list, torch.Tensor, torch.nn.Module]:
    """The moments; what the model says of the clip of each; the segments."""
    model = MODELS[name]().eval()
    viewer, length = Viewer(record_of(model)), model.num_segments or 1
    with SparseVideo(path) as video, torch.inference_mode():
        found = moments_of(model, viewer, video, num_moments)
        count = num_moments if length == 1 else max(num_moments, 16 * length)
        segments = viewer.segments(video, count)
        starts = range(0, count - length + 1, max(1, count // num_moments))
        shown = [segments[start : start + length] for start in starts]
        alone = [model(viewer.clip(look_at(video, own.flatten()))[None]) for own in shown]
    return found, alone, torch.stack([own.double().mean() for own in shown]), model


@pytest.mark.parametrize(
    ("name", "num_moments"), [("tsn", 10), ("tsn", 1), ("tsn_rgbdiff", 7), ("trn", 20), ("trn", 64), slow("eco", 8)]
)
def test_logits_are_those_of_the_segments_alone(index_video, name, num_moments):
    found, alone, middles, _ = said_of(index_video, name, num_moments)
    torch.testing.assert_close(found.logits, torch.cat(alone), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.middles, middles)
    assert found.middles.tolist() == sorted(found.middles.tolist())
    assert 0 <= found.middles[0] <= found.middles[-1] < 60
    assert found.logits.dtype == torch.float32


def test_several_tasks(index_video):
    found, alone, _, _ = said_of(index_video, "trn_tasks", 16)
    assert found.logits.keys() == TWO_TASKS.keys()
    for task, own in found.logits.items():
        torch.testing.assert_close(own, torch.cat([each[task] for each in alone]), rtol=1e-4, atol=1e-4)


def test_a_video_of_few_frames(tmp_path):
    path = write_index_video(tmp_path / "three.mp4", 3)
    found, alone, middles, _ = said_of(path, "trn", 16)
    assert len(found.middles) == len(alone)
    torch.testing.assert_close(found.middles, middles)


def test_each_frame_goes_through_the_2d_network_once(index_video):
    model = MODELS["trn"]().eval()
    counted = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    with SparseVideo(index_video) as video:
        found = moments_of(model, Viewer(record_of(model)), video)
    assert sum(counted) == 64
    assert max(counted) <= 32
    assert len(found.middles) == 61


def test_no_moments_are_told(index_video):
    model = MODELS["trn"]().eval()
    with SparseVideo(index_video) as video, pytest.raises(ValueError, match="num_moments=0 is not allowed"):
        moments_of(model, Viewer(record_of(model)), video, 0)


@pytest.mark.gpu
def test_a_gpu_says_what_the_cpu_does(index_video):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = MODELS["trn"]().eval()
    viewer = Viewer(record_of(model))
    with SparseVideo(index_video) as video:
        ours, theirs = (moments_of(model.to(device), viewer, video, 8).logits for device in ("cpu", "cuda"))
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
