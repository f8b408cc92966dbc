"""`pv-sparse watch` as a process of its own: signals, kills, pipes, and real servers."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import decode_in_full
from stream_server import RtspServer, Session, StreamServer, transport_stream
from waiting import wait_until

pytestmark = pytest.mark.slow

NUM_FRAMES, LEAST_LINES = 100, 60
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def ts(tmp_path_factory) -> bytes:
    """4 seconds of 64x64."""
    return transport_stream(tmp_path_factory.mktemp("streams") / "small.ts", NUM_FRAMES)


def command(source: str, weights: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "pv_sparse", "watch", source, "--weights", weights, "--device", "cpu", *options]


def run(source: str, weights: str, *options: str, **arguments) -> subprocess.CompletedProcess:
    words = command(source, weights, *options)
    return subprocess.run(words, capture_output=True, env=ENVIRONMENT, timeout=120, check=False, **arguments)


def test_standard_input_to_standard_output(ts, tiny):
    done = run("-", tiny, "--fps", "0", input=ts)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["num_frames"] for line in lines] == list(range(8, NUM_FRAMES + 1))
    assert lines[-1]["frame_indices"] == list(range(NUM_FRAMES - 8, NUM_FRAMES))
    assert done.stderr.decode() == "standard input: 100 of 100 frames looked at, 93 predictions, 0 dropped\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stopped_watch_leaves_whole_lines_and_a_video_that_plays(number, code, ts, tiny, tmp_path):
    """The pipe stays open: the watch waits for more when the signal comes."""
    overlay = tmp_path / "out.mp4"
    words = command("-", tiny, "--fps", "0", "--overlay", str(overlay))
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as watch:
        watch.stdin.write(ts)
        watch.stdin.flush()
        lines = [json.loads(watch.stdout.readline()) for _ in range(LEAST_LINES)]
        watch.send_signal(number)
        rest, told = watch.communicate(timeout=60)
    assert watch.returncode == code
    lines += [json.loads(line) for line in rest.splitlines()]
    frames = len(decode_in_full(overlay))
    if number == signal.SIGKILL:
        assert frames >= 25
    else:
        assert frames == lines[-1]["num_frames"]
        assert told.decode().count("\n") == 1
        assert f"{len(lines)} predictions" in told.decode()


def test_a_kill_loses_no_line_that_was_written(ts, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    words = command("-", tiny, "--fps", "0", "--output", str(output))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as watch:
        watch.stdin.write(ts)
        watch.stdin.flush()
        wait_until(lambda: output.exists() and output.read_bytes().count(b"\n") >= LEAST_LINES, watch)
        watch.kill()
        watch.wait(timeout=60)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["num_frames"] for line in lines] == list(range(8, 8 + len(lines)))


def test_a_reader_that_has_seen_enough_is_no_error(ts, tiny):
    words = command("-", tiny, "--fps", "0")
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as watch:
        feeder = threading.Thread(target=feed, args=(watch.stdin, ts))
        feeder.start()
        json.loads(watch.stdout.readline())
        watch.stdout.close()
        told = watch.stderr.read()
        watch.wait(timeout=60)
        feeder.join()
    assert told == b""


def feed(file, content: bytes) -> None:
    try:
        while True:
            file.write(content)
    except OSError:
        file.raw.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_one_line(ts, tiny):
    with open("/dev/full", "wb") as full:
        words = command("-", tiny, "--fps", "0")
        done = subprocess.run(words, input=ts, stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "Error: standard output: No space left on device"
    assert len(done.stderr.splitlines()) == 2  # with the summary


@pytest.mark.parametrize("server", [StreamServer, RtspServer])
def test_a_live_stream_that_comes_back(server, ts, tiny, tmp_path):
    output = tmp_path / "out.jsonl"
    with server(Session([ts]), Session([ts])) as streams:
        done = run(streams.address, tiny, "--reconnects", "1", "--timeout", "5", "--fps", "0", "-o", str(output))
    told = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert told[0].endswith("the stream ended; connecting again in 0.5 s (1 of 1)")
    assert told[1].endswith("the stream is back")
    assert "frames looked at" in told[-2]
    assert told[-1].startswith(f"Error: {streams.address}: ")
    assert told[-1].endswith("gave up after 1 more try")
    assert output.exists()


def test_a_stream_that_never_starts(tiny):
    with StreamServer(Session(status=0), Session(status=0)) as streams:
        done = run(streams.address, tiny, "--reconnects", "1", "--timeout", "0.3")
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().splitlines()[-1].endswith("nothing came for 0.3 s; gave up after 1 more try")


def test_ctrl_c_does_not_wait_for_a_dead_stream(ts, tiny):
    """FFmpeg is in the middle of waiting for the server, for a long time yet."""
    with StreamServer(Session([ts], "stalls")) as streams:
        words = command(streams.address, tiny, "--timeout", "300")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as watch:
            wait_until(lambda: streams.num_clients > 0, watch)
            watch.send_signal(signal.SIGINT)
            _, told = watch.communicate(timeout=60)
    assert watch.returncode == 130
    assert b"frames looked at" in told
