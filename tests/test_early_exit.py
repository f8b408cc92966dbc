"""Recognition that stops when it is sure."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pv_sparse import Recognizer, WeightsError, create_eco_lite, create_trn, recognize, save_model
from pv_sparse.cli import main
from pv_sparse.early_exit import EarlyExit, best_first, certainty, coarse_to_fine, nearest_known, rounds_of
from pv_sparse.zoo.loading import find_weights
from pv_sparse.zoo.weights import Weights


def seen(path, weights, confidence: float, max_segments: int = 8, **arguments) -> list[int]:
    return recognize(path, weights, confidence=confidence, max_segments=max_segments, **arguments).frame_indices


@pytest.fixture(scope="module")
def trn(tmp_path_factory, tiny) -> str:
    return write_random(create_trn, tmp_path_factory.mktemp("trn") / "trn.safetensors", find_weights(tiny))


@pytest.fixture(scope="module")
def eco(tmp_path_factory, tiny) -> str:
    """Made for 4 segments."""
    path = tmp_path_factory.mktemp("eco") / "eco.safetensors"
    return write_random(create_eco_lite, path, find_weights(tiny), num_segments=4, width=0.125)


def write_random(builder, path, record: Weights, **arguments) -> str:
    torch.manual_seed(0)
    arguments = {"num_classes": record.num_classes, "backbone": "tiny", **arguments}
    build = {"builder": builder.__name__, "arguments": arguments}
    save_model(builder(**arguments).eval(), path, replace(record, build=build))
    return str(path)


class Given:
    """A selector that tells what it was given to tell, and counts."""

    def __init__(self, peaks: dict[int, float], num_frames: int = 60):
        self.told = np.ones(num_frames)
        for frame, weight in peaks.items():
            self.told[frame] = weight
        self.asked = 0

    def weights(self, video, num_segments):
        self.asked += 1
        return self.told


def test_frames_come_coarse_to_fine():
    assert coarse_to_fine(8) == [[4], [2, 6], [0, 1, 3, 5, 7]]
    assert coarse_to_fine(5) == [[2], [1, 3], [0, 4]]
    assert coarse_to_fine(2) == [[1], [0]]
    assert coarse_to_fine(1) == [[0]]
    assert coarse_to_fine(8, first=4) == [[1, 3, 5, 7], [0, 2, 4, 6]]
    assert coarse_to_fine(3, first=4) == [[0, 1, 2]]


def test_the_best_come_first():
    assert best_first([0.1, 0.4, 0.1, 0.3]) == [[1], [3], [0, 2]]
    assert best_first(range(9)) == [[8], [7], [6, 5], [4, 3, 2, 1], [0]]
    assert best_first([1, 2, 3, 4], first=3) == [[3, 2, 1], [0]]
    assert best_first([]) == []
    assert rounds_of(4, [0.1, 0.4, 0.1, 0.3]) == best_first([0.1, 0.4, 0.1, 0.3])
    assert rounds_of(4, None) == rounds_of(4, [0.25] * 4) == coarse_to_fine(4)  # who tells nothing decides nothing


@given(st.integers(1, 200), st.integers(1, 9))
def test_every_segment_comes_once(num_segments, first):
    for rounds in (
        coarse_to_fine(num_segments, first),
        best_first([number % 7 for number in range(num_segments)], first),
    ):
        assert sorted(number for numbers in rounds for number in numbers) == list(range(num_segments))
        assert all(rounds)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_what_comes_first_is_worth_no_less(worth):
    order = [number for numbers in best_first(worth) for number in numbers]
    assert all((-worth[a], a) < (-worth[b], b) for a, b in pairwise(order))


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
    assert seen(index_video, trn, 1e-6) == [11, 26, 41, 56]  # half of its 8 places, at once
    assert seen(index_video, trn, 1e-6, max_segments=3) == [10, 30, 50]


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


@pytest.mark.parametrize(
    ("kind", "rounds"),
    [
        ("tiny", [[40], [20], [1, 45], [4, 12, 26, 34]]),
        ("trn", [[40, 20, 1, 45], [4, 12, 26, 34]]),  # half of its 8 places
        ("eco", [[40, 20], [1, 45], [4, 12, 26, 34]]),  # half of its 4
    ],
)
def test_the_frames_that_a_selector_holds_for_the_best_come_first(index_video, kind, rounds, request, monkeypatch):
    selector = Given({})
    recognizer = Recognizer(request.getfixturevalue(kind), select=selector, early_exit=EarlyExit(1.0, 8))
    worth = dict(zip([40, 20, 1, 45, 4, 12, 26, 34], [9.0, 8.0, 7.0, 6.0, 1.0, 1.0, 1.0, 1.0], strict=True))
    frames = torch.tensor(sorted(worth))[:, None]
    weights = np.zeros(60)
    weights[list(worth)] = list(worth.values())
    monkeypatch.setattr(recognizer.viewer, "segments_and_weights", lambda *_: (frames, weights))
    shown, clip = [], recognizer.viewer.clip
    monkeypatch.setattr(recognizer.viewer, "clip", lambda look: shown.append(look.frame_indices) or clip(look))
    look, _ = recognizer.see(index_video)
    assert shown == rounds
    assert look.frame_indices == sorted(worth)  # in order of time


def test_a_selector_is_asked_once_and_the_frame_counts(index_video, tiny):
    selector = Given({29: 1000.0, 30: 1000.0})
    recognizer = Recognizer(tiny, select=selector, early_exit=EarlyExit(1e-6, 4))
    look, _ = recognizer.see(index_video)
    assert look.frame_indices in ([29], [30])
    assert selector.asked == 1
    recognizer.early_exit = EarlyExit(1.0, 4)
    look, _ = recognizer.see(index_video)
    assert len(set(look.frame_indices)) == 4
    assert selector.asked == 2


def test_even_says_nothing_and_the_middle_comes_first(index_video, tiny):
    assert seen(index_video, tiny, 1e-6, select="even") == [33]


def test_a_temperature_decides_when_it_stops_and_not_what_is_said(index_video, tiny):
    record = find_weights(tiny)
    plain = recognize(index_video, tiny, confidence=0.6, max_segments=8)
    assert recognize(index_video, replace(record, exit_temperature=1.0), confidence=0.6, max_segments=8) == plain
    assert plain.frame_indices == [33]
    hot = recognize(index_video, replace(record, exit_temperature=100.0), confidence=0.6, max_segments=8)
    assert len(hot.frame_indices) == 8
    assert hot.classes == recognize(index_video, tiny, confidence=1.0, max_segments=8).classes  # scores are without it


def test_the_least_sure_task_counts():
    logits = {"verb": torch.tensor([4.0, 0.0]), "noun": torch.tensor([1.0, 0.0])}
    assert certainty(logits) == pytest.approx(float(torch.tensor(1.0).sigmoid()))
    assert certainty(logits, temperature=0.5) == pytest.approx(float(torch.tensor(2.0).sigmoid()))
    assert certainty(logits["verb"], temperature=4.0) == pytest.approx(float(torch.tensor(1.0).sigmoid()))


def test_a_record_keeps_its_temperature(tmp_path, tiny):
    recognizer = Recognizer(tiny)
    path = tmp_path / "calibrated.safetensors"
    save_model(recognizer.model, path, replace(recognizer.weights, exit_temperature=0.5))
    assert find_weights(path).exit_temperature == 0.5
    assert find_weights(tiny).exit_temperature is None
    assert "exit_temperature" not in find_weights(tiny).as_record()
    assert find_weights(path).with_categories(["yes", "no"]).exit_temperature is None


@pytest.mark.parametrize("given", [0, -1.0, float("nan"), float("inf"), "warm", True])
def test_a_record_with_no_temperature_at_all_is_told(tiny, given):
    record = {**find_weights(tiny).as_record(), "exit_temperature": given}
    with pytest.raises(WeightsError, match=r"its record has exit_temperature=.*: it must be a number above 0"):
        Weights.from_record("some", record)


def test_the_backbone_sees_each_frame_once(index_video, tiny):
    recognizer = Recognizer(tiny, early_exit=EarlyExit(1.0, 8))
    counted = []
    recognizer.model.backbone.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    recognizer(index_video)
    assert counted == [1, 2, 5]


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
