"""The watched frames as a video, with what the model says drawn into them."""

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from pv_sparse.errors import PvSparseError
from pv_sparse.watch.captions import draw_caption
from pv_sparse.watch.lines import check_is_new
from pv_sparse.watch.observers import StreamFrame, WatchRecord

TIME_BASE = Fraction(1, 1000)
# Written in pieces, each whole in itself: what a killed process leaves behind can be played.
PIECES = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}  # FFmpeg's names, by suffix
LONGEST_GOP = 25
ENCODERS = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "crf": "23"},
    "mpeg4": {"qmin": "3", "qmax": "8"},
}


class Overlay:
    """Writes an mp4 of the frames that went to the model, each at its time, and each with the newest answer.

    The size is that of the first frame, made even; frames of another size are fitted into it.

    Args:
        path: a new file, .mp4, .m4v or .mov; that of a stream without frames is removed again.
        fps: frames of a second that are watched; 0 where that is not known. Every second can be played alone, and
            where there are more than 25 frames in it, every 25 frames.
        tell: is told what a viewer may wonder at.

    Raises:
        PvSparseError: there is such a file with something in it, or it has another suffix; or, later, it cannot be
            written.
    """

    def __init__(self, path: str, fps: float, tell: Callable[[str], None]):
        check_is_new("--overlay", path)
        self._path, self._tell = path, tell
        self._format = _format(path)
        self._gop = max(1, round(min(fps or LONGEST_GOP, LONGEST_GOP)))
        Path(path).open("ab").close()
        self._container: Any = None
        self._stream: Any = None
        self._waiting: StreamFrame | None = None
        self._record: WatchRecord | None = None
        self._start, self._last = 0.0, -1
        self._has_failed = self._is_fitting = False

    def saw(self, frame: StreamFrame) -> None:
        """The frame before is written now, since its own answer is known."""
        self._write_waiting()
        self._waiting = frame

    def answered(self, record: WatchRecord) -> None:
        self._record = record

    def told(self, message: str) -> None:
        pass

    def close(self) -> None:
        """Finish the file."""
        try:
            if not self._has_failed:
                self._write_waiting()
            if not self._has_failed and self._container is not None:
                self._try(lambda: self._container.mux(self._stream.encode(None)))
        finally:
            self._close_container()

    def _close_container(self) -> None:
        if self._container is None:
            with contextlib.suppress(OSError):
                if not Path(self._path).stat().st_size:
                    Path(self._path).unlink()
        elif self._has_failed:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
        else:
            self._try(self._container.close)

    def _write_waiting(self) -> None:
        frame, self._waiting = self._waiting, None
        if frame is not None:
            self._try(lambda: self._write(frame))

    def _write(self, frame: StreamFrame) -> None:
        if self._container is None:
            self._open(frame)
        picture = self._fitted(frame.picture)
        draw_caption(picture, frame.time_seconds, (self._record and self._record.classes) or [])
        coded = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
        self._last = max(self._last + 1, round((frame.time_seconds - self._start) / TIME_BASE))
        coded.pts, coded.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(coded))

    def _open(self, frame: StreamFrame) -> None:
        height, width = frame.picture.shape[1:]
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        self._container = av.open(self._path, "w", format=self._format, container_options=PIECES)
        self._stream = self._container.add_stream(encoder, rate=25, options=ENCODERS[encoder])
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = TIME_BASE
        self._stream.codec_context.gop_size = self._gop
        self._start = frame.time_seconds

    def _fitted(self, frame: Tensor) -> Image.Image:
        """In the video's size, black where another shape leaves room."""
        picture, size = to_pil_image(frame), (self._stream.width, self._stream.height)
        if picture.size == size:
            return picture
        canvas = Image.new("RGB", size)
        if any(own not in (side, side - 1) for own, side in zip(picture.size, size, strict=True)):
            self._say_that_it_fits(size)
            scale = min(side / own for own, side in zip(picture.size, size, strict=True))
            picture = picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))
        canvas.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
        return canvas

    def _say_that_it_fits(self, size: tuple[int, int]) -> None:
        if not self._is_fitting:
            self._tell(f"{self._path}: keeps its {size[0]}x{size[1]}; frames of another size are fitted into it")
        self._is_fitting = True

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (av.FFmpegError, OSError) as error:
            self._has_failed = True
            raise PvSparseError(f"--overlay {self._path}: {error.strerror}; what was written stays") from error
        except Exception:
            self._has_failed = True
            raise


def _format(path: str) -> str:
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise PvSparseError(f"--overlay {path}: the suffix {suffix!r} is not allowed: give one of {allowed}")
    return FORMATS[suffix.lower()]
