"""What comes out of a watched stream, and who may look on: the printer of lines, the overlay, the web page."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pv_sparse.recognition import Recognition


@dataclass(frozen=True)
class StreamFrame:
    """A frame as it came.

    Attributes:
        picture: (3, H, W) uint8, RGB.
        number: its place in the stream, from 0, frames counted that were skipped or dropped.
        time_seconds: when it is shown, from the first frame of the stream.
    """

    picture: Tensor
    number: int
    time_seconds: float


@dataclass(frozen=True)
class WatchRecord(Recognition):
    """The result record at one moment of a stream: `path` is the source, `num_frames` what came so far.

    Attributes:
        time_seconds: of the newest frame that was seen.
        latency_seconds: to when its answer was there, from when that frame was decoded and due; in a recording, which
            waits for the model, from when the model's turn came to look at it.
        dropped_frames: so far, since the model was too slow.
    """

    time_seconds: float | None = None
    latency_seconds: float | None = None
    dropped_frames: int = 0


class Observer(Protocol):
    """Is told in the order of the stream, from one thread; must not keep it waiting."""

    def saw(self, frame: StreamFrame) -> None:
        """A frame that goes to the model."""

    def answered(self, record: WatchRecord) -> None:
        """The model's answer, about frames it was told of before."""

    def told(self, message: str) -> None:
        """What happened to the stream, in one line: it broke off, it came back, its size changed."""

    def close(self) -> None:
        """The stream has ended. Called once."""
