"""Small JPEGs of a stream's frames, made only when somebody looks, and each once for all who do."""

import io
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from pv_sparse.watch.observers import StreamFrame

# Longer sides, about: a picture of more costs tens of milliseconds, which the model needs.
PICTURE_PIXELS = 640
THUMBNAIL_PIXELS = 160
PICTURES_A_SECOND = 15
QUALITY = 80


def thinned(picture: Tensor, longer_side: int) -> Tensor:
    """A copy of (3, H, W) with every n-th row and column, the longer side near `longer_side` or as it was."""
    step = max(1, round(max(picture.shape[1:]) / longer_side))
    return picture[:, ::step, ::step].clone()


def jpeg(picture: Tensor, longer_side: int | None = None) -> str:
    """A JPEG in base64 of (3, H, W) uint8 RGB, its longer side `longer_side` at most."""
    image = to_pil_image(picture)
    if longer_side is not None:
        image.thumbnail((longer_side, longer_side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return b64encode(content.getvalue()).decode()


@dataclass(frozen=True)
class Picture:
    """A frame's number, its time in the stream, and its JPEG in base64."""

    number: int
    time_seconds: float
    jpeg: str


class Pictures:
    """The JPEGs of now; for one thread.

    Args:
        clock: seconds, that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._newest: Picture | None = None
        self._next_seconds = clock()
        self._thumbnails: dict[int, str] = {}

    def newest(self, frame: StreamFrame, is_last: bool) -> Picture:
        """That of the frame, or of one before it where that one is but a moment old."""
        now, interval = self._clock(), 1 / PICTURES_A_SECOND
        is_due = is_last or now >= self._next_seconds
        if self._newest is None or (is_due and self._newest.number != frame.number):
            self._next_seconds = max(self._next_seconds, now - interval) + interval
            shown = jpeg(thinned(frame.picture, PICTURE_PIXELS))
            self._newest = Picture(frame.number, frame.time_seconds, shown)
        return self._newest

    def thumbnails(self, memory: Mapping[int, Tensor]) -> dict[int, str]:
        """The JPEGs of the frames in memory, by number; those of other frames are forgotten."""
        known = self._thumbnails
        self._thumbnails = {n: known.get(n) or jpeg(small, THUMBNAIL_PIXELS) for n, small in memory.items()}
        return self._thumbnails
