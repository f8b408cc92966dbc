"""Decoded frames on their way to the model, and when in the stream each is shown."""

from dataclasses import dataclass

import av
from torch import Tensor

from pv_sparse.data.pictures import Pictures
from pv_sparse.watch.clocks import LEAP_SECONDS

# A recording's timestamps that go back by less stand out of order, as those of H.264 with B-frames in AVI do.
REORDERED_SECONDS = 1.0
REORDERED_FRAMES = 50  # that are counted evenly after such a step
MOST_ASTRAY_SECONDS = 0.5  # that a count of frames may be from the timestamps


@dataclass(frozen=True, eq=False)
class Arrival:
    """A frame that was decoded, and not converted yet.

    Attributes:
        frame: in the decoder's own format.
        number: its place in the stream, from 0.
        time_seconds: when it is shown, from the first frame of the stream.
        came_at: by the clock, when it was decoded and due; None in a recording, which waits until it is taken.
    """

    frame: av.VideoFrame
    number: int
    time_seconds: float
    came_at: float | None

    def picture(self) -> Tensor:
        """(3, H, W) uint8, RGB, contiguous; a rotation noted in the stream is applied."""
        pictures = Pictures([0], (self.frame.height, self.frame.width), None)
        pictures.put(0, self.frame)
        return pictures.stacked()[0]


class StreamTimes:
    """Seconds from the first frame of a stream, which never go back.

    Frames are as far apart as their timestamps say. Each connection starts anew, and so it goes on after timestamps
    that go back, or that are missing: a live stream at the time that has really passed, a recording one frame on. A
    live stream starts anew too where they leap ahead by more than `LEAP_SECONDS`. Where timestamps of a recording
    stand out of order, its frames are counted, and are as far apart as its rate says.

    Attributes:
        last: of the newest frame.
    """

    def __init__(self) -> None:
        self.last = 0.0
        self._first: float | None = None
        self._offset: float | None = None
        self._num_uneven = 0
        self._base, self._num_since = 0.0, 0

    def reconnect(self) -> None:
        """The next frame is of another connection."""
        self._offset = None

    def seconds(self, frame: av.VideoFrame, now: float, live: bool, frame_seconds: float) -> float:
        """When this frame is shown.

        Args:
            frame: the next one.
            now: the clock's time.
            live: whether frames come when they are shown.
            frame_seconds: how long a frame of a recording is shown.
        """
        stamp = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        if stamp is not None and self._offset is not None:
            seconds = stamp + self._offset
            if not live:
                seconds = self._in_order(seconds, frame_seconds)
            if self._follows(seconds, live):
                self.last = seconds
                return self.last
        if self._first is None:
            self._first = now
        elif live:
            self.last = max(self.last, now - self._first)
        else:
            self.last += frame_seconds
        self._offset = None if stamp is None else self.last - stamp
        self._base, self._num_since, self._num_uneven = self.last, 0, 0
        return self.last

    def _in_order(self, seconds: float, frame_seconds: float) -> float:
        """The same time where timestamps rise; counted from the last known place where they did not of late."""
        if seconds <= self.last - REORDERED_SECONDS:
            return seconds
        is_back = seconds < self.last
        self._num_uneven = REORDERED_FRAMES if is_back else max(self._num_uneven - 1, 0)
        self._num_since += 1
        counted = self._base + self._num_since * frame_seconds
        if not is_back and abs(counted - seconds) > MOST_ASTRAY_SECONDS:
            self._base, self._num_since = seconds, 0
            counted = seconds
        return max(self.last, counted) if self._num_uneven else seconds

    def _follows(self, seconds: float, live: bool) -> bool:
        return seconds >= self.last and not (live and seconds - self.last > LEAP_SECONDS)
