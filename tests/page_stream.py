"""A made-up stream for the web page, and a reader of what the page's server sends."""

import json
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse

import torch

from pv_sparse.recognition import ClassScore
from pv_sparse.watch.observers import Observer, StreamFrame, WatchRecord

FRAMES_A_SECOND = 8


def frame(number: int, height: int = 48, width: int = 64) -> StreamFrame:
    """Of one colour, which its number decides."""
    colour = torch.tensor([number * 40 % 256, number * 90 % 256, 200], dtype=torch.uint8)
    return StreamFrame(colour[:, None, None].expand(3, height, width).clone(), number, number / FRAMES_A_SECOND)


def record(numbers: Sequence[int], scores: dict[str, float] | None = None, **fields) -> WatchRecord:
    """An answer about the frames of these numbers; `scores` by class."""
    scores = scores or {"walk": 0.75, "run": 0.25}
    return WatchRecord(
        path="camera 0",
        error=None,
        weights="tsn_tiny.made_up",
        num_frames=numbers[-1] + 1,
        frame_indices=list(numbers),
        frame_times_seconds=[number / FRAMES_A_SECOND for number in numbers],
        classes=[ClassScore(index, name, score) for index, (name, score) in enumerate(scores.items())],
        **{"time_seconds": numbers[-1] / FRAMES_A_SECOND, "latency_seconds": 0.0123, "dropped_frames": 3, **fields},
    )


def show(page: Observer, number: int, memory: Sequence[int], scores: dict[str, float] | None = None) -> None:
    """A frame and an answer that goes with it."""
    page.saw(frame(number))
    page.answered(record(memory, scores))


def updates_of(response: HTTPResponse) -> Iterator[dict]:
    """The Server-Sent Events of a response, as they come."""
    for line in response:
        if line.startswith(b"data: "):
            yield json.loads(line[len(b"data: ") :])
