"""When a class is seen: `recognize --when`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from torch import nn

from pv_sparse import Recognizer
from pv_sparse.cli import main
from pv_sparse.data.encoding import write_video
from pv_sparse.recognition import Span
from pv_sparse.spotting import midways, seen, spans, spot, to_refine

FRAMES, EVENTS = 500, (range(100, 140), range(300, 380))


class Brightness(nn.Module):
    """Class 0 where it is dark, class 1 where it is bright; `num_segments` as a TRN has them."""

    def __init__(self, num_segments: int | None = None):
        super().__init__()
        self.num_segments = num_segments
        self.seen: list[int] = []

    def forward(self, videos):
        self.seen.append(videos.shape[2])
        light = videos.mean(dim=(1, 2, 3, 4))
        return nn.functional.pad((light[:, None] * nn.functional.one_hot(light.new_ones(1).long(), 2)) * 3, (0, 3))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> str:
    """25 frames a second; dark but for two events: 4 to 5.6 s and 12 to 15.2 s."""
    pictures = np.full((FRAMES, 64, 64, 3), 20, np.uint8)
    for event in EVENTS:
        pictures[event] = 235
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_video(path, pictures, keyframe_interval=50)
    return str(path)


def recognizer_of(tiny: str, model: nn.Module) -> Recognizer:
    recognizer = Recognizer(tiny)
    recognizer.model = model
    return recognizer


def test_events_are_found_and_refined(long_video, tiny):
    result = spot(recognizer_of(tiny, Brightness()), long_video, top_k=1)
    (bright,) = result.classes
    assert bright.index == 1
    first, second = bright.when
    for span, (start, end) in ((first, (4.0, 5.6)), (second, (12.0, 15.2))):
        assert span.start_seconds == pytest.approx(start, abs=0.1)  # 500 / 64 / 2 frames, halved once more
        assert span.end_seconds == pytest.approx(end, abs=0.1)
        assert span.score == bright.score
    assert 64 < len(result.frame_indices) <= 64 + 8
    assert result.frame_indices == sorted(set(result.frame_indices))


def test_a_model_of_several_segments_sees_fewer_moments(long_video, tiny):
    model = Brightness(num_segments=8)
    result = spot(recognizer_of(tiny, model), long_video, top_k=1)
    assert set(model.seen) == {8}
    assert [span.start_seconds for span in result.classes[0].when] == pytest.approx([4.0, 12.0], abs=0.8)


def test_what_is_seen_all_the_time_is_one_span(index_video, tiny):
    result = spot(recognizer_of(tiny, Brightness()), index_video, top_k=5)
    assert [entry.when for entry in result.classes if entry.index == 4] == [[Span(0.0, 2.4, result.classes[-1].score)]]


def test_spans_end_midway():
    assert spans([1, 2, 3, 4], [0.1, 0.8, 0.4, 0.1], 5) == [Span(1.5, 3.5, 0.8)]
    assert spans([1, 2, 3], [0.6, 0.1, 0.5], 5) == [Span(0.0, 1.5, 0.6), Span(2.5, 5, 0.5)]
    assert spans([1], [0.3], 2) == [Span(0.0, 2, 0.3)]


def test_half_of_the_best_is_seen():
    assert seen([0.1, 0.2, 0.4, 0.19]) == [1, 2]


def test_the_best_and_the_borders_are_refined():
    assert to_refine([0.1, 0.4, 0.45, 0.4, 0.41, 0.1, 0.1]) == {(0, 1), (1, 2), (2, 3), (4, 5)}
    assert to_refine([0.3]) == set()


def test_midways_lie_where_frames_are():
    assert midways([0, 10, 20, 21], {(1, 2), (0, 1), (2, 3)}) == [5, 15]


def test_the_command(long_video, tiny):
    arguments = ["recognize", long_video, "--weights", tiny, "--top-k", "2", "--when"]
    printed = CliRunner().invoke(main, arguments).stdout.splitlines()
    assert printed[0].startswith(f"{long_video}: ")
    assert all(line.rstrip().endswith(" s") for line in printed[2:4])
    entries = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["classes"]
    assert list(entries[0]["when"][0]) == ["start_seconds", "end_seconds", "score"]
    failed = CliRunner().invoke(main, [*arguments, "--all-views"])
    assert failed.exit_code == 2
    assert "--when looks in its own way" in failed.stderr
