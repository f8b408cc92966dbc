"""One connection to a source, from its opening to its end: packets in, decoded frames out."""

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from typing import Any

import av

from pv_sparse.data.closing import Closing
from pv_sparse.errors import PvSparseError
from pv_sparse.watch.clocks import Clock
from pv_sparse.watch.pipe import is_empty, standard_input
from pv_sparse.watch.sources import ADDRESS, FILE, STANDARD_INPUT, Source

Tell = Callable[[str], None]
LEAST_PART = 0.95  # of its duration that a whole recording has

# Of MPEG-TS, where streams may still appear, FFmpeg otherwise looks at 5 seconds before it shows a frame. RTSP goes
# over the connection that is there, not over UDP, which firewalls drop.
STREAM_OPTIONS = {"analyzeduration": "1000000", "rtsp_transport": "tcp"}
# No further try mends these.
LASTING_ERRORS = (
    av.error.ProtocolNotFoundError,
    av.error.DemuxerNotFoundError,
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
)


def is_told(times: int) -> bool:
    """Whether what has happened so many times is told of again: at 1, 10, 100..."""
    return times == 10 ** (len(str(times)) - 1)


class StreamError(PvSparseError):
    """A stream that broke off, or never began.

    Attributes:
        reason: what happened, without the name of the stream.
        is_lasting: whether another try would end in the same way.
    """

    def __init__(self, name: str, reason: str, is_lasting: bool = False):
        self.reason, self.is_lasting = reason, is_lasting
        super().__init__(f"{name}: {reason}")


class Connection(Closing):
    """A source that is open.

    Args:
        source: what to open.
        timeout: seconds without a packet, or without a frame, that are too many; files may take as long as they like.
        clock: ends the frames when it is stopped.

    Attributes:
        is_recording: whether it says how long it is, as a file does that a web server has, and no live stream. One that
            comes in pieces may have a duration too, of what came so far: of one file, the size must be known.
        is_timed: whether its frames have timestamps of their own; FFmpeg makes up those of Motion JPEG over HTTP.

    Raises:
        StreamError: it cannot be opened, or has no video.
    """

    def __init__(self, source: Source, timeout: float, clock: Clock):
        self._source, self._timeout, self._clock = source, timeout, clock
        self._container = self._open()
        covers = av.stream.Disposition.attached_pic  # the cover of an audio file is a video stream to FFmpeg
        streams = [stream for stream in self._container.streams.video if not stream.disposition & covers]
        if not streams or streams[0].codec_context is None:
            self.close()
            told = "its video is in a codec that FFmpeg does not know" if streams else "it holds no video stream"
            raise self._error(told, is_lasting=True)
        self._stream: Any = streams[0]
        self._stream.codec_context.thread_count = 0
        # Decoding several frames at once keeps each waiting for the others.
        self._stream.codec_context.thread_type = "AUTO" if source.kind == FILE else "SLICE"
        self.is_recording = not source.is_live or self._says_how_long()
        self.is_timed = not self._container.format.flags & av.format.Flags.no_timestamps.value
        self._num_frames = self._num_undecodable = 0
        self._end: float | None = None

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown, by the header; 0.04 where it does not tell."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(1 / rate) if rate else 0.04

    def frames(self, tell: Tell) -> Iterator[av.VideoFrame]:
        """Every frame, in the order shown.

        Packets that cannot be decoded are passed over; `tell` is told of the first, the tenth, the hundredth...

        Raises:
            StreamError: the stream broke off or stalled, or was no video after all.
        """
        since = self._clock.now()
        for packet in self._packets():
            if packet.stream.index == self._stream.index:
                for frame in self._decode(packet, tell):
                    self._num_frames += 1
                    yield frame
                    since = self._clock.now()
            if self._clock.is_stopped:
                return
            if self._source.kind != FILE and self._clock.now() - since > self._timeout:
                raise self._error(f"no frame could be decoded for {self._timeout:g} s")
        if not self._num_frames and not self._clock.is_stopped:
            raise self._error("no frame of it can be decoded")
        if self.is_recording and not self._clock.is_stopped:
            self._tell_whether_cut_off(tell)

    def close(self) -> None:
        """Allowed more than once."""
        self._container.close()

    def _open(self) -> Any:
        source, options = self._source, {} if self._source.kind == FILE else STREAM_OPTIONS
        is_pipe = source.kind == STANDARD_INPUT
        opened: Any = standard_input(self._timeout, self._clock) if is_pipe else source.address
        timeout = self._timeout if source.is_live else None
        with self._told("it cannot be opened", opened):
            # PyAV before 19 refuses metadata that is not UTF-8, unless it is told to ignore it.
            return av.open(opened, format=source.format, options=options, timeout=timeout, metadata_errors="ignore")

    def _packets(self) -> Iterator[Any]:
        """Of all streams, so that sound alone is no sign of life; up to the end."""
        packets = self._container.demux()
        while True:
            packet, asked = None, time.monotonic()
            with self._told("it broke off"), contextlib.suppress(IndexError):
                # IndexError is PyAV's, at a packet of a stream that appears only now.
                packet = next(packets, None)
                if packet is None:
                    return
            if packet is None:
                packets = self._container.demux()
            elif not packet.size and self._is_late(asked):
                raise self._stall()  # being interrupted, some of FFmpeg's readers tell as the end
            else:
                self._note_end(packet)
                yield packet

    def _decode(self, packet: Any, tell: Tell) -> list[av.VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except EOFError:
            return []
        except av.FFmpegError as error:
            self._count_undecodable(error, tell)
            return []

    def _count_undecodable(self, error: av.FFmpegError, tell: Tell) -> None:
        """What comes before the first frame is no news: one joins a stream between two keyframes."""
        if not self._num_frames:
            return
        self._num_undecodable += 1
        if is_told(self._num_undecodable):
            so_far = f", {self._num_undecodable} by now" if self._num_undecodable > 1 else ""
            tell(f"{self._source.name}: a frame cannot be decoded ({error.strerror}){so_far}: going on")

    def _says_how_long(self) -> bool:
        # A playlist is small, and no file that is open: what says how long it is are its lines, or the server's.
        name, flags = self._container.format.name, self._container.format.flags
        is_list = name.startswith(("hls", "dash")) or bool(flags & av.format.Flags.no_file.value)
        return self._container.duration is not None and (is_list or self._container.size > 0)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._end = end if self._end is None else max(self._end, end)

    def _tell_whether_cut_off(self, tell: Tell) -> None:
        duration = (self._container.duration or 0) / av.time_base
        came = (self._end or 0.0) - (self._container.start_time or 0) / av.time_base
        if self._end is not None and came + self.frame_seconds < LEAST_PART * duration:
            tell(f"{self._source.name}: the file was cut off: it says {duration:.1f} s, and {max(came, 0):.1f} s came")

    @contextlib.contextmanager
    def _told(self, what: str, opened: Any = None) -> Iterator[None]:
        """FFmpeg's errors, in our words; `opened` is what it was to open."""
        begin = time.monotonic()
        try:
            yield
        except (av.FFmpegError, TimeoutError) as error:
            if self._is_late(begin) or isinstance(error, (av.error.ExitError, TimeoutError)):
                raise self._stall() from error
            if opened is not None and self._source.kind == STANDARD_INPUT and is_empty(opened):
                raise self._error("nothing came through standard input: does what is piped into it run?") from error
            if isinstance(error, av.error.InvalidDataError):
                what = "what comes is no video" if self._source.is_live else "it is no video, or it is damaged"
            is_name_unknown = opened is not None and self._source.kind == ADDRESS and error.errno == errno.EIO
            hint = " (is the name of the host right?)" if is_name_unknown else ""  # FFmpeg has no error of its own
            raise self._error(f"{what} ({error.strerror}){hint}", isinstance(error, LASTING_ERRORS)) from error

    def _is_late(self, asked: float) -> bool:
        return self._source.is_live and time.monotonic() - asked > self._timeout

    def _stall(self) -> StreamError:
        return self._error(f"nothing came for {self._timeout:g} s")

    def _error(self, reason: str, is_lasting: bool = False) -> StreamError:
        return StreamError(self._source.name, reason, is_lasting)
