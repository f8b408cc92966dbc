"""What the web page knows of a stream: the newest of everything, and the frames that it may have to show again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from pv_sparse.watch.lines import finite
from pv_sparse.watch.observers import StreamFrame, WatchRecord
from pv_sparse.watch.page_pictures import THUMBNAIL_PIXELS, thinned

MOST_MESSAGES = 20
# Frames kept beside those in the model's memory: an answer may name them yet. More than any memory of ours holds.
MOST_OTHERS = 64


@dataclass(frozen=True)
class Message:
    """What was told of the stream; `time_seconds` since 1970."""

    time_seconds: float
    text: str


@dataclass(frozen=True)
class Moment:
    """A stream as it stands.

    Attributes:
        version: higher than that of every moment before.
        state: "waiting" for the first frame, "live", or "ended".
        source: the stream's name, where it is known.
        weights: the model's, where they are known.
        frame: the newest that went to the model.
        record: the model's newest answer.
        messages: the last ones, oldest first.
        memory: (3, H, W) uint8 RGB, small, of the frames in the newest answer, by their numbers.
    """

    version: int = 0
    state: Literal["waiting", "live", "ended"] = "waiting"
    source: str | None = None
    weights: str | None = None
    frame: StreamFrame | None = None
    record: WatchRecord | None = None
    messages: tuple[Message, ...] = ()
    memory: Mapping[int, Tensor] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts; what is no finite number is None, as JSON wants it."""
        frame = self.frame and {"number": self.frame.number, "time_seconds": self.frame.time_seconds}
        moment = {
            "state": self.state,
            "source": self.source,
            "weights": self.weights,
            "frame": frame,
            "record": self.record and self.record.as_dict(),
            "messages": [{"time_seconds": entry.time_seconds, "text": entry.text} for entry in self.messages],
        }
        return {key: finite(value) for key, value in moment.items()}


class Board:
    """Written by one thread, read by any: `now` is replaced as a whole, so that nobody waits for a lock."""

    def __init__(self, source: str | None = None, weights: str | None = None) -> None:
        self.now = Moment(source=source, weights=weights)
        self._small: dict[int, Tensor] = {}

    def saw(self, frame: StreamFrame) -> None:
        """A copy of the frame is kept, small, while it is in memory or among the newest."""
        self._small[frame.number] = thinned(frame.picture, 2 * THUMBNAIL_PIXELS)
        others = [number for number in self._small if number not in self.now.memory]
        for number in others[:-MOST_OTHERS]:
            del self._small[number]
        self._change(state="live", frame=frame)

    def answered(self, record: WatchRecord) -> None:
        """The memory is now that of the record, and so are the names of the source and the weights."""
        memory = {n: self._small[n] for n in record.frame_indices or () if n in self._small}
        self._change(record=record, memory=memory, source=record.path, weights=record.weights)

    def told(self, message: str) -> None:
        """The message is kept with the time of day."""
        messages = (*self.now.messages, Message(time.time(), message))
        self._change(messages=messages[-MOST_MESSAGES:])

    def close(self) -> None:
        """Nothing changes any more."""
        self._change(state="ended")

    def _change(self, **changes: Any) -> None:
        self.now = replace(self.now, version=self.now.version + 1, **changes)
