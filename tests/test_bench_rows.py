"""What each row of `pv-sparse bench` measures, by a recogniser that counts."""

from types import SimpleNamespace

import pytest
import torch

from pv_sparse.bench import rows
from pv_sparse.bench.rows import measure_weights

FRAMES, SIZE = 5, 6


class Counting:
    """Writes down what is asked of it, and by which row."""

    def __init__(self, calls: list[tuple]):
        self.calls, self.heard = calls, ["before"]  # a copy writes and hears the same
        self.weights, self.device = SimpleNamespace(name="counting"), "cpu"
        self.viewer = SimpleNamespace(look=self.look, clip=self.clip)
        self.model = self.plain

    def look(self, path):
        self.calls.append((self.row, "look", path))
        return SimpleNamespace(frames=torch.zeros(FRAMES, 3, 9, 9))

    def clip(self, look):
        self.calls.append((self.row, "clip", tuple(look.frames.shape)))
        return torch.zeros(3, FRAMES, SIZE, SIZE)

    def plain(self, videos):
        self.calls.append((self.row, "plain", tuple(videos.shape)))

    def scores_of(self, videos):
        self.calls.append((self.row, "scores_of", tuple(videos.shape)))
        return self.model(videos)

    @property
    def row(self):
        return self.heard[-1]

    def hear(self, text):
        self.heard.append(text.removeprefix("counting: "))


@pytest.fixture
def measured(monkeypatch):
    """Rows of 2 rounds after 1 run of warm-up, and all calls."""

    def optimize(model, precision, compiled, videos):
        calls.append((counting.row, precision, compiled, tuple(videos.shape)))
        assert model == counting.plain

        def optimized(videos):
            calls.append((counting.row, "optimized", tuple(videos.shape)))

        optimized.optimization = "what was done"
        return optimized

    calls = []
    counting = Counting(calls)
    monkeypatch.setattr(rows, "optimize", optimize)
    found, done = measure_weights(counting, "a.mp4", 4, 2, "bfloat16", tell=counting.hear)
    assert done == "what was done"
    assert counting.model == counting.plain  # the recogniser is as before
    return found, calls


def test_each_row_measures_what_it_says(measured):
    _, calls = measured
    batch, one, frames = (4, 3, FRAMES, SIZE, SIZE), (1, 3, FRAMES, SIZE, SIZE), (FRAMES, 3, 9, 9)
    look = [("look", "a.mp4"), ("clip", frames)]
    of_rows = {row: [call[1:] for call in calls if call[0] == row] for row in {call[0] for call in calls}}
    assert of_rows == {
        "before": look,
        "optimize": [("bfloat16", False, batch)],
        "model": [("plain", batch), ("optimized", batch)] * 3,
        "decode": [("look", "a.mp4")] * 3,
        "end to end": [*look, ("scores_of", one), ("plain", one), *look, ("scores_of", one), ("optimized", one)] * 3,
    }


def test_rows_say_what_they_are_of(measured):
    found, _ = measured
    assert [(row.what, row.optimized, row.batch_size) for row in found] == [
        ("model", False, 4),
        ("model", True, 4),
        ("decode", False, 1),
        ("end to end", False, 1),
        ("end to end", True, 1),
    ]
    assert all((row.frames, row.rounds, row.warm_ups) == (FRAMES, 2, 1) for row in found)
    assert all(row.frames_per_second == pytest.approx(FRAMES * row.videos_per_second) for row in found)
