"""What `pv-sparse watch` takes for a file, a camera, an address and standard input."""

import io
import os
import threading

import pytest

from pv_sparse import PvSparseError, VideoDecodeError
from pv_sparse.watch import sources
from pv_sparse.watch.clocks import Clock
from pv_sparse.watch.pipe import Pipe, standard_input
from pv_sparse.watch.sources import ADDRESS, CAMERA, FILE, STANDARD_INPUT, Source, parse_source


def test_a_path_is_a_file(index_video):
    assert parse_source(str(index_video)) == Source(FILE, str(index_video), f"file:{index_video}")
    assert parse_source(f"file://{index_video}").address == f"file:{index_video}"
    assert not parse_source(str(index_video)).is_live


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https", "udp", "tcp", "rtmp", "srt"])
def test_what_has_a_scheme_is_an_address(scheme):
    assert parse_source(f"{scheme}://host:1/live") == Source(
        ADDRESS, f"{scheme}://host:1/live", f"{scheme}://host:1/live"
    )
    assert parse_source(f"{scheme}://host").is_live


def test_a_password_is_not_shown():
    source = parse_source("rtsp://me:secret@host/a@b")
    assert source.name == "rtsp://me:***@host/a@b"
    assert source.address == "rtsp://me:secret@host/a@b"
    assert parse_source("rtsp://host:554/a@b").name == "rtsp://host:554/a@b"
    assert parse_source("rtsp://me:p@ss:w@host:1/live").name == "rtsp://me:***@host:1/live"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?token=abc", "?token=***"),
        ("?id=1&password=a/b@c&x=2", "?id=1&password=***&x=2"),
        ("?API_KEY=abc#part", "?API_KEY=***#part"),
        ("?auth=a;b=2", "?auth=***;b=2"),
        ("?keyframe=1&author=me", "?keyframe=1&author=me"),
    ],
)
def test_a_secret_in_a_query_is_not_shown(query, shown):
    source = parse_source(f"https://host/live.m3u8{query}")
    assert source.name == f"https://host/live.m3u8{shown}"
    assert source.address == f"https://host/live.m3u8{query}"


def test_a_number_is_a_camera(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/video3")
    assert sources._camera("3", "linux") == Source(CAMERA, "/dev/video3", "/dev/video3", "v4l2")
    assert sources._camera("/dev/video3", "linux").address == "/dev/video3"
    assert sources._camera("3", "darwin") == Source(CAMERA, "3", "3", "avfoundation")
    assert sources._camera("3", "linux").is_live
    with pytest.raises(FileNotFoundError, match=r"^/dev/video4: no such camera"):
        sources._camera("4", "linux")
    with pytest.raises(PvSparseError, match=r"cameras are known on linux, darwin, win32, not on sunos"):
        sources._camera("3", "sunos")


def test_what_cannot_be_a_video_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4: no such file"):
        parse_source(str(tmp_path / "nothing.mp4"))
    with pytest.raises(VideoDecodeError, match="it is a folder"):
        parse_source(str(tmp_path))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoDecodeError, match="the file is empty"):
        parse_source(str(tmp_path / "empty.mp4"))


def test_standard_input_must_not_be_a_terminal(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stdin", terminal)
    assert parse_source("-").kind == STANDARD_INPUT
    terminal.isatty = lambda: True
    with pytest.raises(PvSparseError, match="standard input is a terminal: pipe a video"):
        parse_source("-")


def test_standard_input_that_is_closed_says_so(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(PvSparseError, match="standard input is closed: pipe a video"):
        parse_source("-")


@pytest.fixture
def pipe():
    """(descriptor to read, file to write)."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        yield reading, file


def test_a_pipe_gives_what_is_there_and_ends(pipe):
    descriptor, file = pipe
    read = Pipe(descriptor, 5.0, Clock()).read
    file.write(b"abc")
    assert read(100) == b"abc"
    file.write(b"defg")
    assert read(2) == b"de"
    file.close()
    assert read(100) == b"fg"
    assert read(100) == b""


def test_a_pipe_that_nothing_comes_from_is_not_waited_for_for_ever(pipe):
    with pytest.raises(TimeoutError):
        Pipe(pipe[0], 0.05, Clock()).read(1)


def test_a_pipe_ends_when_the_clock_is_stopped(pipe):
    clock = Clock()
    threading.Timer(0.01, clock.stop).start()
    assert Pipe(pipe[0], 60.0, clock).read(1) == b""


def test_a_file_redirected_into_standard_input_can_be_sought_in(index_video, pipe):
    with open(index_video, "rb") as file:
        assert standard_input(1.0, Clock(), file.fileno()).seekable()
    assert isinstance(standard_input(1.0, Clock(), pipe[0]), Pipe)
