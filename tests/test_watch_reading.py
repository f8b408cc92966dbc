"""Reading streams: connections that end, stall, drop and change; frames skipped and dropped; times that go on."""

import contextlib
import dataclasses
import itertools
import os
import random
import threading
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from file_server import Fault, FileServer
from index_video import bars, read_number, write_index_video
from odd_videos import _write_audio
from stream_server import FakeClock, RtspServer, Session, StreamServer, transport_stream

from pv_sparse import SparseVideo
from pv_sparse.watch import connection
from pv_sparse.watch.arrivals import Arrival, StreamTimes
from pv_sparse.watch.clocks import Pace
from pv_sparse.watch.connection import StreamError
from pv_sparse.watch.mailbox import FRAMES, MESSAGES, Mailbox
from pv_sparse.watch.pipe import Pipe
from pv_sparse.watch.reading import Reader, Reading
from pv_sparse.watch.sources import ADDRESS, CAMERA, STANDARD_INPUT, Source, parse_source
from pv_sparse.watch.watching import Counts, Names, watch

NUM_FRAMES = 50


@pytest.fixture(scope="module")
def ts(tmp_path_factory) -> bytes:
    """2 seconds of 64x64."""
    return transport_stream(tmp_path_factory.mktemp("streams") / "small.ts", NUM_FRAMES)


@pytest.fixture(scope="module")
def wide_ts(tmp_path_factory) -> bytes:
    return transport_stream(tmp_path_factory.mktemp("streams") / "wide.ts", NUM_FRAMES, size=(64, 96))


@dataclasses.dataclass
class Outcome:
    """What came out of a reader, and how it ended."""

    reader: Reader
    arrivals: list[Arrival]
    messages: list[str]
    error: Exception | None

    @property
    def numbers(self) -> list[int]:
        return [arrival.number for arrival in self.arrivals]

    @property
    def dropped(self) -> int:
        return self.reader.mailbox.dropped


def read(source: Source | str, clock=None, waits_first: bool = False, **chosen) -> Outcome:
    """Read to the end; with `waits_first`, nothing is taken before the reader has read all."""
    source = parse_source(source) if isinstance(source, str) else source
    chosen = {"timeout": 2.0, "reconnects": 0, "fps": 0.0, **chosen}
    outcome = Outcome(Reader(source, Reading(**chosen), clock or FakeClock()), [], [], None)
    with outcome.reader as reader:
        if waits_first:
            reader._thread.join()
        try:
            while True:
                item = reader.mailbox.take()
                if isinstance(item, Arrival):
                    outcome.arrivals.append(item)
                elif item is not None:
                    outcome.messages.append(item.partition(": ")[2])
        except EOFError:
            pass
        except Exception as error:
            outcome.error = error
    assert not reader._thread.is_alive()
    return outcome


def serve(server: StreamServer, clock=None, **chosen) -> Outcome:
    with server:
        return read(server.address, clock, **chosen)


# Files


def test_every_frame_of_a_file_comes_with_its_number_and_time(index_video):
    outcome = read(str(index_video))
    assert outcome.numbers == list(range(60))
    assert [arrival.time_seconds for arrival in outcome.arrivals] == pytest.approx([n / 25 for n in range(60)])
    assert [read_number(arrival.picture()) for arrival in outcome.arrivals[::13]] == list(range(0, 60, 13))
    assert (outcome.dropped, outcome.messages, outcome.error) == (0, [], None)


def test_pictures_are_those_of_a_sparse_video(index_video):
    arrival = read(str(index_video), fps=0.5).arrivals[1]
    with SparseVideo(index_video) as video:
        assert arrival.picture().equal(video.frames_at([arrival.number])[0])


@pytest.mark.parametrize(("fps", "expected"), [(8, [0, 4, 7, 10, 13, 16, 19, 22, 25]), (1, [0, 25]), (25, range(26))])
def test_the_first_frame_of_each_part_of_a_second_is_due(tmp_path, fps, expected):
    path = write_index_video(tmp_path / "video.mp4", 26, size=(64, 64))
    outcome = read(str(path), fps=fps)
    assert outcome.numbers == list(expected)
    assert (outcome.dropped, outcome.reader.num_frames) == (0, 26)


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])
def test_all_frames_are_due_at_the_rate_of_a_file_of_milliseconds(tmp_path, suffix):
    codec = "flv" if suffix == ".flv" else "libx264"
    path = write_index_video(tmp_path / f"video{suffix}", 60, rate=30, size=(64, 64), codec=codec)
    assert read(str(path), fps=30).numbers == list(range(60))


@pytest.mark.parametrize("rate", [24, 30, 60])
@pytest.mark.parametrize("fps", [8, 15, None])
def test_times_that_were_rounded_make_no_difference(rate, fps):
    reader = Reader(Source(ADDRESS, "x", "x"), Reading(fps=fps or rate), FakeClock())
    numbers = [n for n in range(600) if reader._is_due(round(n * 1000 / rate) / 1000, 0.001)]
    assert numbers == [-(-k * rate // (fps or rate)) for k in range(600 * (fps or rate) // rate)]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    assert max(steps) - min(steps) <= 1


def test_times_of_frames_whose_timestamps_are_out_of_order(tmp_path):
    path = write_index_video(tmp_path / "h264.avi", 60)
    times = [arrival.time_seconds for arrival in read(str(path)).arrivals]
    with SparseVideo(path) as video:
        assert times == pytest.approx(video.frame_times_seconds.tolist(), abs=1 / 25 + 1e-6)
        assert times[-1] == pytest.approx(float(video.frame_times_seconds[-1]))


def test_the_latency_of_a_file_is_that_of_the_model(index_video):
    """Not of the frames that wait for it."""
    clock, records = FakeClock(), []

    def look(picture):
        clock.wait(0.1)
        return SimpleNamespace(frame_indices=[0], best=lambda top_k: [])

    observer = SimpleNamespace(saw=lambda frame: None, answered=records.append)
    with Reader(parse_source(str(index_video)), Reading(fps=0.0), clock) as reader:
        watch(reader, SimpleNamespace(update=look), [observer], Names("video", "none", 1), clock, Counts())
    assert [record.latency_seconds for record in records] == pytest.approx([0.1] * 60)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_file_that_was_cut_off_is_told(tmp_path, suffix):
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    path = write_index_video(tmp_path / f"video{suffix}", 100, size=(64, 64), container_options=options)
    assert read(str(path)).messages == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    outcome = read(str(path))
    assert_matches(r"the file was cut off: it says 4\.0 s, and [12]\.\d s came", outcome.messages[-1])


def test_a_file_waits_for_the_model(index_video):
    """Only so many frames are decoded ahead."""
    with Reader(parse_source(str(index_video)), Reading(fps=0.0), FakeClock()) as reader:
        while reader.num_frames <= FRAMES:
            assert reader._thread.is_alive()
        assert reader.mailbox.take().number == 0
        assert reader.mailbox.dropped == 0
    assert not reader._thread.is_alive()


def test_in_real_time_a_file_is_paced_by_its_own_times_and_frames_are_dropped(index_video):
    clock = FakeClock()
    outcome = read(str(index_video), clock, waits_first=True, realtime=True)
    assert clock.now() == pytest.approx(59 / 25)
    assert clock.waits == pytest.approx([1 / 25] * 59)
    assert outcome.numbers == [59]
    assert outcome.dropped == 59
    assert outcome.arrivals[0].came_at == pytest.approx(59 / 25)


def test_a_size_that_changes_is_told(tmp_path, ts, wide_ts):
    (tmp_path / "both.ts").write_bytes(ts + wide_ts)
    outcome = read(str(tmp_path / "both.ts"))
    assert outcome.messages == ["the frames changed from 64x64 to 96x64 at 2.00 s"]
    assert outcome.arrivals[0].picture().shape == (3, 64, 64)
    assert outcome.arrivals[-1].picture().shape == (3, 64, 96)
    assert outcome.arrivals[-1].time_seconds == pytest.approx((2 * NUM_FRAMES - 1) / 25)


def test_sizes_that_go_on_changing_are_told_now_and_then():
    reader = Reader(Source(ADDRESS, "x", "x"), Reading(), FakeClock())
    for number in range(102):
        reader._watch_size(SimpleNamespace(width=64 + number % 2, height=48, rotation=-90))
    told = [reader.mailbox.take() for _ in range(3)]
    assert told[0] == "x: the frames changed from 48x64 to 48x65 at 0.00 s"  # turned, as the picture is
    assert ["10 changes by now" in told[1], "100 changes by now" in told[2]] == [True, True]
    assert reader.mailbox.take() is None


def test_a_frame_that_cannot_be_decoded_is_told_and_passed_over(tmp_path):
    path = tmp_path / "damaged.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(bars(number, 64, 64), format="rgb24")
            for packet in stream.encode(frame):
                damaged = av.Packet(b"no picture" if number in (7, 12) else bytes(packet))
                damaged.stream, damaged.time_base = stream, packet.time_base
                damaged.pts, damaged.dts = packet.pts, packet.dts
                container.mux(damaged)
    outcome = read(str(path))
    assert [read_number(arrival.picture()) for arrival in outcome.arrivals] == [
        n for n in range(20) if n not in (7, 12)
    ]
    assert outcome.messages == ["a frame cannot be decoded (Invalid data found when processing input): going on"]
    assert outcome.error is None


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"this is no video\n" * 100, "it is no video, or it is damaged"), (None, "it holds no video")],
)
def test_what_is_no_video_says_so(tmp_path, content, told):
    path = tmp_path / "sound.m4a"
    if content is None:
        _write_audio(path)
    else:
        path.write_bytes(content)
    outcome = read(str(path))
    assert isinstance(outcome.error, StreamError)
    assert told in str(outcome.error)
    assert str(path) in str(outcome.error)


def test_standard_input_is_read_from_a_pipe(ts, monkeypatch):
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        monkeypatch.setattr(connection, "standard_input", lambda timeout, clock: Pipe(reading, timeout, clock))
        file.write(ts)
        file.close()
        outcome = read(Source(STANDARD_INPUT, "standard input", "-"))
    assert outcome.numbers == list(range(NUM_FRAMES))
    assert (outcome.dropped, outcome.error) == (0, None)


def test_standard_input_that_nothing_comes_from_ends_in_an_error(ts, monkeypatch):
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        monkeypatch.setattr(connection, "standard_input", lambda timeout, clock: Pipe(reading, timeout, clock))
        file.write(ts)
        outcome = read(Source(STANDARD_INPUT, "standard input", "-"), timeout=0.05)
    assert str(outcome.error) == "standard input: nothing came for 0.05 s"
    assert len(outcome.arrivals) > NUM_FRAMES - 5  # all but those that the decoder still held back


def test_standard_input_without_a_byte_says_so(monkeypatch):
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb"):
        monkeypatch.setattr(connection, "standard_input", lambda timeout, clock: Pipe(reading, timeout, clock))
        outcome = read(Source(STANDARD_INPUT, "standard input", "-"))
    assert "nothing came through standard input" in str(outcome.error)


@pytest.mark.skipif(not os.path.exists("/dev/null") or os.uname().sysname != "Linux", reason="needs Linux's cameras")
def test_what_is_no_camera_says_so():
    outcome = read(Source(CAMERA, "/dev/video0", "/dev/null", "v4l2"))
    assert_matches(r"/dev/video0: it cannot be opened \(Inappropriate ioctl for device\)", str(outcome.error))


# Live streams


class HandedOver(FakeClock):
    """While it waits, what lies in the mailbox is taken. Once, `late` seconds pass too, between two frames."""

    mailbox: Mailbox
    late = 0.0
    _is_held = False

    def now(self) -> float:
        """Only the reader asks. A frame that it has held back is as late as it was then."""
        if self.late and not self._is_held:
            self._hand_over()
            self.seconds, self.late = self.seconds + self.late, 0.0
        self._is_held = False
        return super().now()

    def wait(self, seconds: float) -> None:
        self._hand_over()
        super().wait(seconds)
        self._is_held = True

    def _hand_over(self) -> None:
        with self.mailbox._changed:
            self.mailbox._changed.wait_for(lambda: not self.mailbox._num_frames or self.mailbox._is_closed, 10)


def test_bursts_play_at_their_own_rate(ts):
    """As segments of HLS come, the second one late."""
    clock, comes, arrivals = HandedOver(), threading.Event(), []
    half = len(ts) // 188 // 2 * 188
    with StreamServer(Session([ts[:half], comes, ts[half:]])) as server:
        reader = Reader(parse_source(server.address), Reading(timeout=10.0, reconnects=0, fps=0.0), clock)
        clock.mailbox = reader.mailbox
        with reader, contextlib.suppress(EOFError):
            while True:
                item = reader.mailbox.take()
                arrivals += [item] if isinstance(item, Arrival) else []
                if len(arrivals) == 5 and not comes.is_set():
                    clock.late = 3.0
                    comes.set()
    assert ([arrival.number for arrival in arrivals], reader.mailbox.dropped) == (list(range(NUM_FRAMES)), 0)
    steps = [after.came_at - before.came_at for before, after in itertools.pairwise(arrivals)]
    assert sorted(steps)[:-1] == pytest.approx([0.99 / 25] * (NUM_FRAMES - 2))
    assert max(steps) >= 3 - 1e-6


BOTH = pytest.mark.parametrize("server", [StreamServer, RtspServer])


@BOTH
def test_of_a_live_stream_only_the_newest_frame_waits(server, ts):
    outcome = serve(server(Session([ts])), waits_first=True)
    assert outcome.error is None
    assert outcome.reader.num_frames >= NUM_FRAMES - 1  # over RTSP, the last one has no end
    assert outcome.numbers == [outcome.reader.num_frames - 1]
    assert outcome.dropped == outcome.reader.num_frames - 1


@BOTH
def test_frames_that_are_not_due_are_not_dropped(server, ts):
    outcome = serve(server(Session([ts])), waits_first=True, fps=1)
    assert outcome.numbers == [25]
    assert outcome.dropped == 1


@BOTH
@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("ends", "the stream ended"),
        ("stalls", "nothing came for 1 s"),
        ("drops", r"(it broke off|it cannot be opened|what comes is no video) .*"),
    ],
)
def test_a_stream_that_breaks_off_is_connected_to_again(server, then, told, ts, wide_ts):
    clock = FakeClock()
    streams = server(Session([ts], then), Session([wide_ts]))
    # No less: a machine that is busy with other things takes a while for each of the four answers of an RTSP server.
    outcome = serve(streams, clock, reconnects=1, timeout=1.0 if then == "stalls" else 2.0)
    first, second, *_ = outcome.messages
    assert 0.5 in clock.waits
    assert streams.num_clients >= 3  # a client that was reset may come back by itself
    assert_matches(rf"{told}; connecting again in 0\.5 s \(1 of 1\)", first)
    assert second in ("the stream is back", "the stream is there")  # a reset can overtake what was sent
    assert any(message.startswith("the frames changed from 64x64 to 96x64") for message in outcome.messages) == (
        second == "the stream is back"
    )
    assert outcome.arrivals[-1].picture().shape == (3, 64, 96)
    assert_matches(".*; gave up after 1 more try", str(outcome.error))


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{pattern}$"):
        raise ValueError(text)


@BOTH
def test_a_stream_that_never_starts_is_given_up(server):
    streams = server(*[Session(status=0)] * 3)
    outcome = serve(streams, timeout=0.1, reconnects=2)
    assert streams.num_clients >= 3
    assert outcome.arrivals == []
    assert_matches(r".*: nothing came for 0\.1 s; gave up after 2 more tries", str(outcome.error))


def test_waits_grow_up_to_ten_seconds():
    clock = FakeClock()
    streams = StreamServer()
    outcome = serve(streams, clock, reconnects=8)
    assert clock.waits == [0.5, 1, 2, 4, 8, 10, 10, 10]
    assert streams.num_clients >= 9
    assert len(outcome.messages) == 8
    assert "(8 of 8)" in outcome.messages[-1]


def test_tries_are_counted_anew_once_frames_came(ts):
    clock = FakeClock()
    streams = StreamServer(*[Session([ts])] * 4)
    outcome = serve(streams, clock, reconnects=1)
    assert streams.num_clients >= 5
    assert [wait for wait in clock.waits if wait > 0.1] == [0.5] * 4
    assert outcome.reader.num_frames == 4 * NUM_FRAMES


def test_numbers_and_times_go_on_over_connections(ts):
    streams = StreamServer(Session([ts]), *[Session(status=404)] * 3, Session([ts]))
    outcome = serve(streams, FakeClock(), reconnects=4)
    last = outcome.arrivals[-1]
    assert last.number == 2 * NUM_FRAMES - 1
    assert last.time_seconds == pytest.approx(0.5 + 1 + 2 + 4 + (1 + 0.99) * (NUM_FRAMES - 1) / 25)


@pytest.mark.parametrize(("status", "told"), [(401, "401"), (403, "403")])
def test_no_further_try_is_made_where_none_can_help(status, told):
    streams = StreamServer(Session(status=status), Session([b""]))
    outcome = serve(streams, reconnects=5)
    assert len(streams.sessions) == 1
    assert told in str(outcome.error)
    assert "Protocol not found" in str(read(Source(ADDRESS, "no://where", "no://where"), reconnects=5).error)


def test_no_error_is_lasting_once_frames_came(ts):
    outcome = serve(StreamServer(Session([ts]), Session(status=401), Session([ts])), reconnects=2)
    assert outcome.reader.num_frames == 2 * NUM_FRAMES


def test_a_host_that_is_unknown_is_asked_about(monkeypatch):
    def fail(*_, **__):
        raise av.error.OSError(5, "Input/output error")

    monkeypatch.setattr(connection.av, "open", fail)
    error = read(Source(ADDRESS, "http://x", "http://x")).error
    assert str(error) == "http://x: it cannot be opened (Input/output error) (is the name of the host right?)"


def test_a_reader_that_does_not_answer_ends_the_watch(monkeypatch):
    clock, asked, release = FakeClock(), threading.Event(), threading.Event()

    def hang(*_, **__):
        asked.set()
        release.wait(10)
        raise av.error.OSError(5, "Input/output error")

    monkeypatch.setattr(connection.av, "open", hang)
    with Reader(Source(ADDRESS, "x", "x"), Reading(timeout=2.0), clock) as reader:
        assert asked.wait(10)
        clock.seconds = 9.0
        reader.check()
        clock.seconds = 9.1
        with pytest.raises(StreamError, match="x: nothing came for 9 s, and its reader does not answer"):
            watch(reader, SimpleNamespace(), [], Names("x", "none", 1), clock, Counts())
        clock.stop()
        release.set()


def test_a_fragmented_mp4_that_comes_in_chunks_is_live(tmp_path):
    """It has a duration: that of its first fragments."""
    options = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
    content = write_index_video(tmp_path / "live.mp4", NUM_FRAMES, container_options=options).read_bytes()
    outcome = serve(StreamServer(Session([content]), Session([content])), reconnects=1)
    assert outcome.messages[0].startswith("the stream ended; connecting again")
    assert outcome.reader.num_frames == 2 * NUM_FRAMES


def test_what_is_no_video_is_told_of_an_address():
    outcome = serve(StreamServer(Session([b"x" * 20000])))
    assert "what comes is no video" in str(outcome.error)


def test_sound_alone_is_no_sign_of_life(tmp_path):
    """The pictures end after 2 seconds, the sound goes on."""

    class QuickClock(FakeClock):
        def now(self) -> float:
            self.seconds += 0.1
            return self.seconds

    content = transport_stream(tmp_path / "sound.ts", NUM_FRAMES, audio_seconds=20.0)
    outcome = serve(StreamServer(Session([content])), QuickClock(), timeout=5.0)
    assert "no frame could be decoded for 5 s" in str(outcome.error)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> bytes:
    """An mp4 whose header comes first."""
    path = tmp_path_factory.mktemp("streams") / "front.mp4"
    return write_index_video(path, NUM_FRAMES, container_options={"movflags": "faststart"}).read_bytes()


def test_a_recording_at_an_address_is_read_like_a_file(recording):
    """It says how long it is. All of it is looked at, and once."""
    with FileServer({"video.mp4": recording}) as server:
        outcome = read(server.url("video.mp4"), reconnects=3)
    assert outcome.numbers == list(range(NUM_FRAMES))
    assert (outcome.dropped, outcome.messages, outcome.error) == (0, [], None)


def test_a_recording_that_breaks_off_does_not_begin_again(recording):
    with FileServer({"video.mp4": recording}) as server:
        server.faults["video.mp4"] = [Fault(after=len(recording) * 2 // 3)]
        outcome = read(server.url("video.mp4"), reconnects=3)
    assert 0 < len(outcome.numbers) < NUM_FRAMES
    assert outcome.numbers == list(range(len(outcome.numbers)))
    assert not any("connecting" in message for message in outcome.messages)
    assert "it broke off" in str(outcome.error)


def test_a_stream_is_left_when_the_clock_is_stopped(ts):
    clock = FakeClock()
    with StreamServer(Session([ts, threading.Event()])) as server:
        with Reader(parse_source(server.address), Reading(timeout=2.0, fps=0.0), clock) as reader:
            while not isinstance(reader.mailbox.take(), Arrival):
                pass
        assert clock.is_stopped
    assert not reader._thread.is_alive()


# Parts


def frame(seconds: float | None) -> SimpleNamespace:
    pts = None if seconds is None else round(seconds * 1000)
    return SimpleNamespace(pts=pts, time_base=Fraction(1, 1000))


def times_of(stamps, nows=None, live=False, frame_seconds=0.1) -> list[float]:
    times = StreamTimes()
    nows = nows or [0.0] * len(stamps)
    return [times.seconds(frame(stamp), now, live, frame_seconds) for stamp, now in zip(stamps, nows, strict=True)]


def test_times_count_from_the_first_frame():
    assert times_of([7.0, 7.5, 9.0]) == pytest.approx([0, 0.5, 2])
    assert times_of([7.0, 7.5, 100.0]) == pytest.approx([0, 0.5, 93])


def test_times_go_on_where_timestamps_go_back_or_lack():
    assert times_of([5.0, 5.5, 1.0, 1.5]) == pytest.approx([0, 0.5, 0.6, 1.1])
    assert times_of([None, None, None]) == pytest.approx([0, 0.1, 0.2])
    assert times_of([5.0, 5.5, 1.0, 1.5], [3.0, 3.5, 6.0, 6.5], live=True) == pytest.approx([0, 0.5, 3, 3.5])
    assert times_of([5.0, 5.5, 99.0, 99.5], [3.0, 3.5, 4.0, 4.5], live=True) == pytest.approx([0, 0.5, 1, 1.5])
    assert times_of([None, None], [3.0, 3.5], live=True) == pytest.approx([0, 0.5])


def test_a_count_of_frames_does_not_go_astray_from_timestamps():
    stamps = [n / 10 for n in (0, 2, 3, 1, 5, 6, 4, 30, 32, 31, 33)]
    times = times_of(stamps)
    assert times[:7] == pytest.approx([0, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6])
    assert times[7:] == pytest.approx([3.0, 3.1, 3.2, 3.3])
    assert times_of([0, 0.2, 0.1, *(1 + n / 7 for n in range(100))])[-1] == pytest.approx(1 + 99 / 7, abs=1e-3)


@pytest.mark.parametrize("keeps", [False, True])
def test_frames_are_held_back_until_they_are_shown(keeps):
    clock = FakeClock()
    pace = Pace(clock, keeps)
    part = 1.0 if keeps else 0.99
    for seconds in (3, 4, 5, 1000, 1001):  # they leap
        pace.hold(seconds)
    assert clock.waits == pytest.approx([part] * 3)
    clock.seconds += 1.5
    for seconds in (1002, 1003):  # one comes late
        pace.hold(seconds)
    assert clock.waits[3:] == pytest.approx([0.5 if keeps else 0.99])


@pytest.mark.parametrize("live", [False, True])
def test_times_never_go_back(live):
    draw = random.Random(0)
    for _ in range(200):
        stamps = [draw.choice([None, draw.uniform(0, 1000), 5 + index / 25]) for index in range(20)]
        times = times_of(stamps, [index / 25 for index in range(20)], live)
        assert times == sorted(times)
        assert times[0] == 0


def arrival(number: int) -> Arrival:
    return Arrival(av.VideoFrame.from_ndarray(np.zeros((2, 2, 3), np.uint8)), number, number / 25, 0.0)


def test_a_mailbox_keeps_the_order_of_frames_and_messages():
    mailbox = Mailbox()
    mailbox.put(arrival(0), replaces=False)
    mailbox.tell("a")
    mailbox.put(arrival(1), replaces=False)
    mailbox.close(StreamError("x", "broke"))
    assert (mailbox.take().number, mailbox.take(), mailbox.take().number) == (0, "a", 1)
    with pytest.raises(StreamError, match="x: broke"):
        mailbox.take()


def test_a_newer_frame_takes_the_place_of_an_older_and_messages_stay():
    mailbox = Mailbox()
    mailbox.put(arrival(0), replaces=True)
    mailbox.tell("a")
    mailbox.put(arrival(1), replaces=True)
    assert (mailbox.take(), mailbox.take().number, mailbox.dropped) == ("a", 1, 1)
    assert mailbox.take() is None


def test_a_mailbox_is_bounded():
    mailbox = Mailbox()
    for number in range(3 * MESSAGES):
        mailbox.tell(str(number))
    assert [mailbox.take() for _ in range(MESSAGES)] == [str(number) for number in range(2 * MESSAGES, 3 * MESSAGES)]


def test_who_waits_for_room_is_let_go_when_the_mailbox_is_closed():
    mailbox = Mailbox()
    for number in range(FRAMES):
        assert mailbox.put(arrival(number), replaces=False)
    threading.Timer(0.01, mailbox.close).start()
    assert not mailbox.put(arrival(FRAMES), replaces=False)
