"""The contact sheet: what a selector thinks of each frame, and when each class was seen."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from index_video import write_index_video
from PIL import Image, ImageColor
from torch import nn

from pv_sparse import Recognizer
from pv_sparse.cli import main
from pv_sparse.data.encoding import write_video
from pv_sparse.drawing import ACCENT
from pv_sparse.looking import Look, Viewer, look_at
from pv_sparse.recognition import ClassScore, Span
from pv_sparse.sheet import CURVE_FILL, CURVE_HEIGHT, LINE, MARGIN, draw_sheet
from pv_sparse.zoo.loading import find_weights

WIDTH = 1008  # of the timeline
EVENT = range(30, 45)


@dataclass(frozen=True)
class Once:
    """Frames 30 to 44 are worth 2, those before half of that, those after nothing; it may be asked once."""

    calls: list[int]

    def weights(self, video, num_segments):
        self.calls.append(num_segments)
        weights = np.zeros(video.num_frames)
        weights[: EVENT.start] = 1
        weights[EVENT] = 2
        return weights


def look_of(num_frames: int, weights: np.ndarray | None) -> Look:
    """Of two frames of no interest."""
    frames = torch.full((2, 3, 48, 64), 90, dtype=torch.uint8)
    return Look(frames, [0, num_frames - 1], [0.0, 1.0], num_frames, 2.0, weights)


def sheet_of(look: Look, best=(), select: str | None = None) -> np.ndarray:
    """(H, W, 3) uint8."""
    entry = ClassScore(0, "walk", 0.5)
    return np.asarray(draw_sheet("title", look, [entry] * len(look.frames), best or [entry], select))


def is_of(pixels: np.ndarray, *colours: str) -> np.ndarray:
    return np.any([np.all(pixels == ImageColor.getrgb(colour), axis=-1) for colour in colours], axis=0)


def heights(sheet: np.ndarray) -> np.ndarray:
    """(WIDTH,): how many pixels the curve takes in each column."""
    floor = int(np.flatnonzero(is_of(sheet, CURVE_FILL).any(axis=1))[-1])
    area = sheet[floor - CURVE_HEIGHT + 4 : floor + 1, MARGIN : MARGIN + WIDTH]
    return is_of(area, CURVE_FILL, ACCENT).sum(axis=0)


def column(frame: int, num_frames: int) -> int:
    """Where a frame's mark stands on the timeline."""
    return round(frame / (num_frames - 1) * (WIDTH - 3)) + 1


def test_the_curve_is_high_where_frames_are_worth_it(index_video, tiny):
    calls: list[int] = []
    look = Viewer(find_weights(tiny), select=Once(calls)).look(index_video)
    assert calls == [8]
    assert look.frame_weights.shape == (60,)
    curve = heights(sheet_of(look))
    high = CURVE_HEIGHT - 4
    assert abs(int(curve[column(37, 60)]) - high) <= 1
    assert abs(int(curve[column(10, 60)]) - high // 2) <= 1
    assert curve[column(55, 60)] <= 1
    rises, falls = np.flatnonzero(np.diff((curve > high * 0.75).astype(int)))
    assert abs(rises - (column(29, 60) + column(30, 60)) / 2) <= 2
    assert abs(falls - (column(44, 60) + column(45, 60)) / 2) <= 2


def test_without_a_selector_the_sheet_is_what_it_was():
    """What the curve adds are rows of pixels; the rest stays as it is."""
    weights = np.arange(1.0, 61.0)
    plain, more = sheet_of(look_of(60, None)), sheet_of(look_of(60, weights), select="motion")
    added = len(more) - len(plain)
    assert added == LINE + CURVE_HEIGHT
    start = int(np.flatnonzero((plain != more[: len(plain)]).any(axis=(1, 2)))[0])
    caption = more[start - 10 : start + added]
    assert is_of(caption, CURVE_FILL).any()
    assert any(np.array_equal(np.delete(more, np.s_[at : at + added], 0), plain) for at in range(start - 20, start + 1))


def test_the_caption_names_the_selector():
    sheets = [sheet_of(look_of(60, np.ones(60)), select=name) for name in (None, "motion", "diverse")]
    assert not np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[1], sheets[2])


def test_a_short_peak_of_a_long_video_is_not_lost():
    weights = np.full(200_000, 0.1)
    weights[123_456] = 3.0
    curve = heights(sheet_of(look_of(len(weights), weights)))
    assert abs(int(curve.argmax()) - column(123_456, len(weights))) <= 1
    assert curve.max() >= CURVE_HEIGHT - 5
    assert np.sum(curve > CURVE_HEIGHT / 2) <= 3


@pytest.mark.parametrize("weights", [np.ones(1), np.zeros(1), np.zeros(50), np.ones(50)])
def test_all_alike(weights):
    curve = sheet_of(look_of(len(weights), weights))
    assert is_of(curve, CURVE_FILL).any() == bool(weights.any())


def test_spans_stand_at_their_times():
    best = [
        ClassScore(1, "run", 0.9, when=[Span(0.5, 1.0, 0.9), Span(1.5, 2.0, 0.6)]),
        ClassScore(0, "walk", 0.4, when=[Span(0.0, 0.25, 0.4)]),
    ]
    sheet = sheet_of(look_of(60, None), best)
    blue = is_of(sheet, ACCENT)[:, MARGIN : MARGIN + WIDTH]
    rows = [row for row in blue if row.sum() > 10]
    assert len(rows) == 2 * 6
    for row, ends in ((rows[0], [0.5, 1.0, 1.5, 2.0]), (rows[-1], [0.0, 0.25])):
        expected = np.zeros(WIDTH, bool)
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            expected[round(start * WIDTH / 2) : round(end * WIDTH / 2)] = True
        assert np.array_equal(row, expected)


def test_marks_of_moments_stand_on_the_scale_of_the_spans():
    """In seconds, not in frame numbers: frames need not come at one rate."""
    best = [ClassScore(1, "run", 0.9, when=[Span(0.9, 1.1, 0.9)])]
    sheet = sheet_of(replace(look_of(60, None), frame_indices=[2, 10], frame_times_seconds=[0.0, 1.0]), best)
    blue = is_of(sheet, ACCENT)[:, MARGIN : MARGIN + WIDTH]
    (mark,) = {tuple(np.flatnonzero(row)) for row in blue if row[0]}
    assert mark == (0, 1, 2, 502, 503, 504)


class Brightness(nn.Module):
    """Class 1 where it is bright."""

    def forward(self, videos):
        light = videos.mean(dim=(1, 2, 3, 4))
        return nn.functional.pad(light[:, None] * 3, (1, 5))


def test_when_shows_the_best_moments(tiny, tmp_path, monkeypatch):
    """Two events, the second brighter in its middle; a frame of each, and few frames held at a time."""
    pictures = np.full((500, 64, 64, 3), 20, np.uint8)
    pictures[100:140], pictures[300:380], pictures[330:350] = 200, 200, 240
    write_video(tmp_path / "long.mp4", pictures, keyframe_interval=50)
    looks: list[Look] = []
    monkeypatch.setattr("pv_sparse.recognition.load_model", lambda *_, **__: Brightness())
    monkeypatch.setattr(
        "pv_sparse.recognize_command.look_at", lambda *given: looks.append(look_at(*given)) or looks[-1]
    )
    arguments = ["recognize", str(tmp_path / "long.mp4"), "--weights", tiny, "--top-k", "1", "--when"]
    done = CliRunner().invoke(main, [*arguments, "--sheet", str(tmp_path / "sheet.png")])
    assert done.exit_code == 0, done.output
    assert done.stdout == CliRunner().invoke(main, arguments).stdout
    assert max(len(look.frames) for look in looks) <= 8
    first, second = looks[-1].frame_indices
    assert first in range(100, 140)
    assert second in range(330, 350)
    with Image.open(tmp_path / "sheet.png") as sheet:
        blue = is_of(np.asarray(sheet), ACCENT)[:, MARGIN : MARGIN + WIDTH]
    bar = blue[np.argmax(blue.sum(axis=1))]
    assert bar[[column(120, 500), column(340, 500)]].all()
    assert not bar[[column(50, 500), column(220, 500), column(450, 500)]].any()


def test_what_is_drawn_follows_from_the_options(index_video, tiny, tmp_path):
    def drawn(*options: str) -> np.ndarray:
        path = tmp_path / "sheet.png"
        arguments = ["recognize", str(index_video), "--weights", tiny, "--sheet", str(path), *options]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        return np.asarray(Image.open(path))

    plain = drawn()
    assert np.array_equal(plain, drawn("--select", "even"))
    assert not is_of(plain, CURVE_FILL).any()
    assert is_of(drawn("--select", "motion"), CURVE_FILL).any()
    assert not is_of(drawn("--when"), CURVE_FILL).any()


def test_a_video_of_one_frame(tiny, tmp_path):
    path = write_index_video(tmp_path / "one.mp4", 1)
    for options in (["--select", "diverse"], ["--when"]):
        arguments = ["recognize", str(path), "--weights", tiny, "--sheet", str(tmp_path / "sheet.png"), *options]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output


def test_the_weights_of_an_early_exit_are_found_with_its_segments(index_video, tiny):
    calls: list[int] = []
    viewer = Recognizer(tiny, select=Once(calls)).viewer
    with viewer.open(index_video) as video:
        segments, weights = viewer.segments_and_weights(video, 4)
        assert calls == [4]
        assert segments.shape == (4, 1)
        assert weights.max() == 2
        assert torch.equal(viewer.segments(video, 4), segments)
    assert Viewer(find_weights(tiny)).look(index_video).frame_weights is None
