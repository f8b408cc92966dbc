"""The thread that reads a stream: connects, and again where it breaks off; decodes; passes on the frames due."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import av

from pv_sparse.watch.arrivals import Arrival, StreamTimes
from pv_sparse.watch.clocks import Clock, Pace
from pv_sparse.watch.connection import Connection, StreamError, is_told
from pv_sparse.watch.mailbox import Mailbox
from pv_sparse.watch.sources import Source

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0
JOIN_SECONDS = 1.0
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Reading:
    """How a stream is read.

    Attributes:
        timeout: seconds without a frame of a live stream, or a byte of standard input, that are too many. FFmpeg keeps
            to it where it waits for a network; where it waits for something else and more than twice as long, the
            watch ends.
        reconnects: tries in a row after a live stream broke off.
        fps: frames of a second of the stream that are passed on; 0 is all.
        realtime: whether files are read as fast as they play, and frames dropped where nobody takes them.
    """

    timeout: float = 10.0
    reconnects: int = 10
    fps: float = 8.0
    realtime: bool = False


class Reader:
    """Reads a source in a thread of its own, into `mailbox`. A context manager: the thread runs inside.

    Of a live stream, only the newest frame waits in the mailbox: what nobody took is dropped. Its frames are held back
    until they are shown, so that those which come in one burst do not drop each other. A recording is read no faster
    than its frames are taken.

    Attributes:
        num_frames: decoded so far.
    """

    def __init__(self, source: Source, reading: Reading, clock: Clock):
        self.mailbox = Mailbox()
        self.num_frames = 0
        self._source, self._reading, self._clock = source, reading, clock
        self._times = StreamTimes()
        self._size: tuple[int, int] | None = None
        self._num_sizes = 0
        self._last_slot = -1
        self._live_pace, self._file_pace = Pace(clock, keeps=False), Pace(clock, keeps=True)
        self._asked_at: float | None = None
        # A thread that FFmpeg keeps waiting for a dead stream must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="pv-sparse reader", daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.stop()
        self.mailbox.close()
        self._thread.join(JOIN_SECONDS)

    def check(self) -> None:
        """That the thread goes on: what FFmpeg asks of others, such as a name of a host, has no timeout.

        Raises:
            StreamError: of a live stream nothing came for far longer than the timeout.
        """
        asked = self._asked_at
        # FFmpeg has one timeout for the opening, and one for finding out what the streams are.
        most = 2 * self._reading.timeout + GRACE_SECONDS
        if asked is not None and self._source.is_live and self._clock.now() - asked > most:
            raise StreamError(self._source.name, f"nothing came for {most:g} s, and its reader does not answer")

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:
            self.mailbox.close(error)
        else:
            self.mailbox.close()

    def _read(self) -> None:
        for connection, frame in self._frames():
            is_live = not connection.is_recording
            seconds = self._times.seconds(frame, self._clock.now(), is_live, connection.frame_seconds)
            number, self.num_frames = self.num_frames, self.num_frames + 1
            self._watch_size(frame)
            if is_live and connection.is_timed:
                self._live_pace.hold(seconds)
            elif self._reading.realtime and not is_live:
                self._file_pace.hold(seconds)
            if self._is_due(seconds, _rounding(frame, connection.frame_seconds)):
                replaces = self._reading.realtime or is_live
                arrival = Arrival(frame, number, seconds, self._clock.now() if replaces else None)
                if not self.mailbox.put(arrival, replaces):
                    return

    def _frames(self) -> Iterator[tuple[Connection, av.VideoFrame]]:
        """Of one connection after another, until one has really ended."""
        failures = 0
        while not self._clock.is_stopped:
            self._times.reconnect()
            self._live_pace.restart()
            connection, self._asked_at = None, self._clock.now()
            try:
                with Connection(self._source, self._reading.timeout, self._clock) as connection:
                    for frame in connection.frames(self.mailbox.tell):
                        if failures:
                            told = "back" if self.num_frames else "there"
                            self.mailbox.tell(f"{self._source.name}: the stream is {told}")
                            failures = 0
                        self._asked_at = None
                        yield connection, frame
                        self._asked_at = self._clock.now()
                    if connection.is_recording or not self._reading.reconnects:
                        return
                reason = "the stream ended"
            except StreamError as error:
                if not self._is_worth_a_try(error, connection):
                    raise
                reason = error.reason
            failures, self._asked_at = failures + 1, None
            self._wait(failures, reason)

    def _is_worth_a_try(self, error: StreamError, connection: Connection | None) -> bool:
        """A recording would begin again. After a frame has come, no error need last."""
        is_recording = connection.is_recording if connection is not None else not self._source.is_live
        return self._reading.reconnects > 0 and not is_recording and not (error.is_lasting and not self.num_frames)

    def _wait(self, failures: int, reason: str) -> None:
        """Longer after each failure. `StreamError` when it was one too many."""
        tries = self._reading.reconnects
        if failures > tries:
            times = "1 more try" if tries == 1 else f"{tries} more tries"
            raise StreamError(self._source.name, f"{reason}; gave up after {times}")
        seconds = min(FIRST_WAIT_SECONDS * 2 ** min(failures - 1, 10), LONGEST_WAIT_SECONDS)
        told = f"{reason}; connecting again in {seconds:g} s ({failures} of {tries})"
        if not self._clock.is_stopped:
            self.mailbox.tell(f"{self._source.name}: {told}")
        self._clock.wait(seconds)

    def _watch_size(self, frame: av.VideoFrame) -> None:
        """Told of are the first change, the tenth, the hundredth..."""
        size = (frame.height, frame.width) if round(frame.rotation / 90) % 2 else (frame.width, frame.height)
        before, self._size = self._size, size
        if before is None or size == before:
            return
        self._num_sizes += 1
        if is_told(self._num_sizes):
            so_far = f", {self._num_sizes} changes by now" if self._num_sizes > 1 else ""
            told = f"the frames changed from {before[0]}x{before[1]} to {size[0]}x{size[1]}"
            self.mailbox.tell(f"{self._source.name}: {told} at {self._times.last:.2f} s{so_far}")

    def _is_due(self, seconds: float, rounding: float) -> bool:
        """The first frame of each 1 / fps seconds is; its time may be `rounding` seconds too early."""
        if not self._reading.fps:
            return True
        slot = int((seconds + rounding) * self._reading.fps + 1e-6)
        is_first, self._last_slot = slot > self._last_slot, max(slot, self._last_slot)
        return is_first


def _rounding(frame: av.VideoFrame, frame_seconds: float) -> float:
    """How far off the time of a frame may be: containers such as Matroska and FLV have timestamps of milliseconds.

    In others the timestamps count the frames, and are exact.
    """
    tick = 0.0 if frame.time_base is None else float(frame.time_base)
    return tick if tick < frame_seconds / 4 else 0.0
