"""Recognition that stops when it is sure."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pv_sparse import Recognizer, create_trn, recognize, save_model
from pv_sparse.cli import main
from pv_sparse.early_exit import EarlyExit, coarse_to_fine, nearest_known
from pv_sparse.zoo.loading import find_weights


def seen(path, weights, confidence: float, max_segments: int = 8, **arguments) -> list[int]:
    return recognize(path, weights, confidence=confidence, max_segments=max_segments, **arguments).frame_indices


@pytest.fixture(scope="module")
def trn(tmp_path_factory, tiny) -> str:
    torch.manual_seed(0)
    record = find_weights(tiny)
    path = tmp_path_factory.mktemp("trn") / "trn.safetensors"
    build = {"builder": "create_trn", "arguments": {"num_classes": record.num_classes, "backbone": "tiny"}}
    model = create_trn(num_classes=record.num_classes, backbone="tiny").eval()
    save_model(model, path, replace(record, build=build))
    return str(path)


def test_frames_come_coarse_to_fine():
    assert coarse_to_fine(8) == [[4], [2, 6], [1, 3, 5, 7], [0]]
    assert coarse_to_fine(5) == [[2], [1, 3], [0, 4]]
    assert coarse_to_fine(1) == [[0]]


@given(st.integers(1, 200))
def test_every_segment_comes_once(num_segments):
    numbers = [number for numbers in coarse_to_fine(num_segments) for number in numbers]
    assert sorted(numbers) == list(range(num_segments))


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(1, 20))
def test_places_go_to_what_is_nearest_in_order(known, num_places):
    places = nearest_known(sorted(known), 31, num_places)
    assert len(places) == num_places
    assert places == sorted(places)
    assert nearest_known(range(31), 31, 31) == list(range(31))


@pytest.mark.parametrize("kind", ["tiny", "trn"])
def test_whoever_is_never_sure_sees_all_and_says_the_same(index_video, kind, request):
    weights = request.getfixturevalue(kind)
    plain, slow = recognize(index_video, weights), recognize(index_video, weights, confidence=1.0, max_segments=8)
    assert slow.frame_indices == plain.frame_indices
    assert slow.frame_times_seconds == plain.frame_times_seconds
    assert [entry.index for entry in slow.classes] == [entry.index for entry in plain.classes]
    assert [entry.score for entry in slow.classes] == pytest.approx([entry.score for entry in plain.classes], abs=1e-5)


def test_whoever_is_soon_sure_sees_the_middle(index_video, tiny, trn):
    assert seen(index_video, tiny, 1e-6) == [33]
    assert seen(index_video, tiny, 1e-6, max_segments=16) == [31]
    assert seen(index_video, trn, 1e-6) == [11, 18, 26, 33, 41, 48, 56]  # half of its 8 places: 1 + 2 are too few


def test_a_surer_answer_needs_more(index_video, tiny):
    class OneFrameATime(nn.Module):
        """Sure of class 0 as more frames come."""

        def forward(self, maps):
            return torch.tensor([[float(maps.shape[1]), 0.0]])

    recognizer = Recognizer(tiny, early_exit=EarlyExit(0.95, 8))
    recognizer.model.head = OneFrameATime()
    look, scores = recognizer.see(index_video)
    assert look.frame_indices == [18, 33, 48]  # e^3 / (e^3 + 1) = 0.953
    assert scores.tolist() == pytest.approx([0.9526, 0.0474], abs=1e-4)


def test_with_a_selector(index_video, tiny):
    assert len(set(seen(index_video, tiny, 1.0, select="diverse"))) == 8


def test_the_backbone_sees_each_frame_once(index_video, tiny):
    recognizer = Recognizer(tiny, early_exit=EarlyExit(1.0, 8))
    counted = []
    recognizer.model.backbone.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    recognizer(index_video)
    assert counted == [1, 2, 4, 1]


def test_the_command(index_video, tiny):
    arguments = ["recognize", str(index_video), "--weights", tiny, "--json", "--confidence", "0.000001"]
    printed = CliRunner().invoke(main, [*arguments, "--max-segments", "8"]).stdout
    assert json.loads(printed)["frame_indices"] == [33]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"confidence": 0.0}, r"confidence=0.0 is not allowed: it must be above 0, and at most 1"),
        ({"confidence": 1.5}, r"confidence=1.5 is not allowed"),
        ({"confidence": float("nan")}, r"confidence=nan is not allowed"),
        ({"confidence": 0.9, "max_segments": 0}, "max_segments=0 is not allowed: it must be at least 1"),
    ],
)
def test_numbers_that_make_no_sense(index_video, tiny, arguments, told):
    with pytest.raises(ValueError, match=told):
        recognize(index_video, tiny, **arguments)


def test_what_cannot_stop(index_video, tiny):
    with pytest.raises(ValueError, match="leave out confidence, or all views"):
        Recognizer(tiny, all_views=True, early_exit=EarlyExit(0.9))
    several = replace(find_weights(tiny), multi_label=True)
    with pytest.raises(ValueError, match="names several classes at a time, and is never sure"):
        Recognizer(several, early_exit=EarlyExit(0.9))


@pytest.mark.gpu
@pytest.mark.parametrize("arguments", [{"confidence": 1.0, "max_segments": 8}, {"select": "diverse"}])
def test_a_gpu_sees_and_says_what_the_cpu_does(index_video, tiny, arguments):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    ours, theirs = (recognize(index_video, tiny, device=device, **arguments) for device in ("cuda", "cpu"))
    assert ours.frame_indices == theirs.frame_indices
    assert [entry.score for entry in ours.classes] == pytest.approx([entry.score for entry in theirs.classes], abs=1e-3)
