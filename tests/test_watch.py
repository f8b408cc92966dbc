"""`pv-sparse watch` from a source to its lines and its overlay, in this process."""

import json
import math
import signal
import sys
from types import SimpleNamespace

import av
import click
import pytest
import torch
from conftest import CLASSES, decode_in_full
from index_video import write_index_video
from odd_videos import _turned, _write_changing_size
from stream_server import FakeClock, Session, StreamServer, transport_stream
from test_cli import run

from pv_sparse import (
    OnlineRecognizer,
    PvSparseError,
    SparseVideo,
    VideoDecodeError,
)
from pv_sparse import watch_command as command
from pv_sparse.recognition import DEFAULT_WEIGHTS, ClassScore
from pv_sparse.watch.captions import draw_caption
from pv_sparse.watch.connection import StreamError
from pv_sparse.watch.lines import LineFile
from pv_sparse.watch.observers import StreamFrame, WatchRecord
from pv_sparse.watch.overlay import Overlay
from pv_sparse.watch.reading import Reader
from pv_sparse.watch.watching import RECENT_FRAMES, ShownFrames
from pv_sparse.watch_command import WatchOptions


@pytest.fixture
def video(tmp_path) -> str:
    """26 frames of 64x64, 25 a second."""
    return str(write_index_video(tmp_path / "video.mp4", 26, size=(64, 64)))


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def watched(source, tmp_path, clock=None, **options) -> list[dict]:
    output = tmp_path / "out.jsonl"
    command.run(source, WatchOptions(output=str(output), **options), clock)
    return lines_of(output)


class Model:
    """Stands in for a recogniser: an answer for every frame, about this and the one before."""

    def __init__(self, before=lambda: None):
        self.before, self.num_frames = before, 0

    def update(self, frame):
        self.before()
        self.num_frames += 1
        indices = [max(0, self.num_frames - 2), self.num_frames - 1]
        classes = [ClassScore(number, name, 1 / 2**number) for number, name in enumerate(CLASSES)]
        return SimpleNamespace(frame_indices=indices, best=lambda top_k: classes[:top_k])


@pytest.fixture
def stand_in(monkeypatch) -> Model:
    model = Model()
    monkeypatch.setattr(command, "load_online", lambda options: (model, "stand-in"))
    return model


# Lines


def test_each_line_says_what_was_seen_and_when(video, tiny, tmp_path, capsys):
    lines = watched(video, tmp_path, weights=tiny, fps=25, top_k=3, device="cpu")
    assert len(lines) == 26 - 7
    numbers = list(range(18, 26))
    last = lines[-1]
    assert last["frame_indices"] == numbers
    assert last["frame_times_seconds"] == pytest.approx([number / 25 for number in numbers])
    assert (last["path"], last["weights"], last["error"]) == (video, tiny, None)
    assert (last["num_frames"], last["dropped_frames"], last["time_seconds"]) == (26, 0, 1.0)
    assert last["latency_seconds"] > 0
    told = capsys.readouterr()
    assert told.err == f"{video}: 26 of 26 frames looked at, 19 predictions, 0 dropped\n"
    assert told.out == ""
    recognizer = OnlineRecognizer(tiny)
    with SparseVideo(video) as frames:
        predictions = [recognizer.update(frame) for frame in frames.frames_at(range(26))]
    for line, prediction in zip(lines, predictions[7:], strict=True):
        assert [entry["name"] for entry in line["classes"]] == [entry.name for entry in prediction.best(3)]
        assert [entry["score"] for entry in line["classes"]] == pytest.approx([e.score for e in prediction.best(3)])


def test_frames_that_are_skipped_count_in_the_numbers(video, tmp_path, stand_in):
    lines = watched(video, tmp_path)
    assert [line["frame_indices"][-1] for line in lines] == [0, 4, 7, 10, 13, 16, 19, 22, 25]
    assert lines[-1]["frame_indices"] == [22, 25]
    assert lines[-1]["num_frames"] == 26


def test_lines_go_to_standard_output(video, stand_in, capsys):
    command.run(video, WatchOptions(fps=1, top_k=1))
    told = capsys.readouterr()
    assert [json.loads(line)["classes"] for line in told.out.splitlines()] == [
        [{"index": 0, "name": "walk", "score": 1.0}]
    ] * 2
    assert told.err.count("\n") == 1


def test_a_slow_model_sees_the_newest_frames_and_every_line_counts_the_dropped(tmp_path, monkeypatch, capsys):
    content = transport_stream(tmp_path / "live.ts", 50)
    readers = []

    class KnownReader(Reader):
        def __init__(self, *args):
            super().__init__(*args)
            readers.append(self)

    def be_busy():
        readers[0]._thread.join()  # until all has come

    monkeypatch.setattr(command, "Reader", KnownReader)
    monkeypatch.setattr(command, "load_online", lambda options: (Model(before=be_busy), "stand-in"))
    with StreamServer(Session([content])) as server:
        lines = watched(server.address, tmp_path, fps=0, reconnects=0)
    # Before the model is busy it takes one frame, and after it the newest; where it was quick, that is one.
    assert lines[-1]["frame_indices"][-1] == 49
    assert [line["dropped_frames"] for line in lines] == [50 - len(lines)] * len(lines)
    assert len(lines) <= 2
    told = f"{len(lines)} of 50 frames looked at, {len(lines)} predictions, {50 - len(lines)} dropped"
    assert f"{told} because the model was too slow" in capsys.readouterr().err


def test_what_happens_to_a_live_stream_is_told_on_standard_error(tmp_path, stand_in, capsys):
    content = transport_stream(tmp_path / "live.ts", 50)
    with StreamServer(Session([content]), Session([content])) as server, pytest.raises(StreamError, match="gave up"):
        watched(server.address, tmp_path, FakeClock(), reconnects=1)
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("live: the stream ended; connecting again in 0.5 s (1 of 1)")
    assert told[1].endswith("live: the stream is back")
    assert "of 100 frames looked at" in told[-1]
    assert lines_of(tmp_path / "out.jsonl")  # what was written stays


def test_a_stream_that_never_starts_leaves_one_line(tmp_path, stand_in, capsys):
    with StreamServer() as server, pytest.raises(StreamError, match=r"cannot be opened.*gave up after 2 more tries"):
        watched(server.address, tmp_path, FakeClock(), reconnects=2)
    assert len(capsys.readouterr().err.splitlines()) == 2  # one for each further try


def test_nobody_reads_the_lines_any_more(video, stand_in, monkeypatch, capsys):
    def broken(text, err=False):
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", broken)
    monkeypatch.setattr("pv_sparse.watch.lines._give_up_standard_output", lambda: None)
    with pytest.raises(BrokenPipeError):
        command.run(video, WatchOptions())
    assert capsys.readouterr().err == ""


def test_nothing_is_written_over_and_nothing_found_late(video, tmp_path, stand_in):
    taken = tmp_path / "taken"
    taken.write_text("mine\n")
    with pytest.raises(PvSparseError, match=r"--output .*taken: it is there already"):
        command.run(video, WatchOptions(output=str(taken)))
    with pytest.raises(PvSparseError, match=r"--overlay .*taken: it is there already"):
        command.run(video, WatchOptions(overlay=str(taken)))
    with pytest.raises(PvSparseError, match=r"--output .*: there is no folder"):
        command.run(video, WatchOptions(output=str(tmp_path / "no" / "out.jsonl")))
    assert taken.read_text() == "mine\n"
    assert stand_in.num_frames == 0
    taken.write_text("")
    command.run(video, WatchOptions(output=str(taken)))
    assert lines_of(taken)


def test_a_source_that_is_no_video_is_told_before_anything_is_loaded(tmp_path):
    with pytest.raises(FileNotFoundError):
        command.run(str(tmp_path / "no.mp4"), WatchOptions(weights="none such"))
    with pytest.raises(VideoDecodeError, match="folder"):
        command.run(str(tmp_path), WatchOptions(weights="none such"))


def test_a_full_disk_keeps_whole_lines(video, small_disk, stand_in, capsys):
    fill(small_disk, leaving=8192)
    with pytest.raises(PvSparseError, match=r"--output .*: No space left on device; the lines before stay"):
        watched(video, small_disk, fps=0)
    lines = lines_of(small_disk / "out.jsonl")
    assert [line["num_frames"] for line in lines] == list(range(1, len(lines) + 1))
    assert 0 < len(lines) < 26
    assert "frames looked at" in capsys.readouterr().err


def fill(folder, leaving: int) -> None:
    """All of a file system but so many bytes."""
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(file.seek(0, 2) - leaving)


def test_a_score_that_is_no_number_is_null(video, tmp_path, monkeypatch, capsys):
    classes = [ClassScore(0, "walk", math.nan), ClassScore(1, "run", math.inf)]
    answer = SimpleNamespace(frame_indices=[0], best=lambda top_k: classes)
    model = SimpleNamespace(update=lambda frame: answer)
    monkeypatch.setattr(command, "load_online", lambda options: (model, "stand-in"))
    lines = watched(video, tmp_path, fps=1, overlay=str(tmp_path / "out.mp4"))
    command.run(video, WatchOptions(fps=1))
    for line in [*lines, *map(json.loads, capsys.readouterr().out.splitlines())]:
        assert [entry["score"] for entry in line["classes"]] == [None, None]
    assert [caption_pixels(frame) for frame in decode_in_full(tmp_path / "out.mp4")] == [0, 0]


def test_two_outputs_in_one_file_are_refused(video, tmp_path, stand_in):
    path = tmp_path / "out.mp4"
    twin = tmp_path / "twin.mp4"
    twin.symlink_to(path)
    for overlay in (path, tmp_path / ".." / tmp_path.name / "out.mp4", twin):
        with pytest.raises(PvSparseError, match=r"--output .* and --overlay .* are the same file"):
            command.run(video, WatchOptions(output=str(path), overlay=str(overlay)))
    assert not path.exists()


# Overlay


def test_the_overlay_of_a_turned_video_is_upright(tmp_path, stand_in):
    source = write_index_video(tmp_path / "turned.mp4", 12)
    source.write_bytes(_turned(source.read_bytes(), (0, 1, -1, 0)))
    watched(str(source), tmp_path, overlay=str(tmp_path / "out.mp4"), fps=0, top_k=1)
    found = decode_in_full(tmp_path / "out.mp4")
    with SparseVideo(source) as frames:
        expected = frames.frames_at(range(12))
    assert found.shape == expected.shape == (12, 3, 160, 96)
    between = slice(20, -20)  # the captions
    assert (found.float() - expected.float())[:, :, between].abs().mean() < 8


@pytest.mark.parametrize("name", ["out.avi", "out", "out.jsonl"])
def test_an_overlay_of_another_suffix_is_refused(name, tmp_path):
    with pytest.raises(PvSparseError, match=r"--overlay .*out.*: the suffix '.*' is not allowed: give one of .mp4"):
        Overlay(str(tmp_path / name), 8.0, pytest.fail)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["out.mov", "out.m4v", "OUT.MP4"])
def test_an_overlay_of_a_suffix_like_mp4(name, tmp_path):
    overlay = Overlay(str(tmp_path / name), 8.0, pytest.fail)
    show(overlay, 3)
    overlay.close()
    assert len(decode_in_full(tmp_path / name)) == 3


@pytest.mark.parametrize(("fps", "gop"), [(0, 25), (0.2, 1), (8, 8), (1000, 25)])
def test_an_overlay_has_a_keyframe_at_least_every_25_frames(fps, gop, tmp_path):
    overlay = Overlay(str(tmp_path / "out.mp4"), fps, pytest.fail)
    show(overlay, 52)
    overlay.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == list(range(0, 52, gop))


def show(overlay: Overlay, num_frames: int) -> None:
    for number in range(num_frames):
        overlay.saw(StreamFrame(torch.zeros(3, 64, 64, dtype=torch.uint8), number, number / 8))


def test_an_overlay_that_cannot_write_its_last_frame_still_is_a_whole_file(tmp_path, monkeypatch):
    overlay = Overlay(str(tmp_path / "out.mp4"), 8.0, pytest.fail)
    show(overlay, 3)

    def fail(*_):
        raise ArithmeticError("no caption")

    monkeypatch.setattr("pv_sparse.watch.overlay.draw_caption", fail)
    with pytest.raises(ArithmeticError, match="no caption"):
        overlay.close()
    assert len(decode_in_full(tmp_path / "out.mp4")) == 2


def test_the_overlay_holds_the_frames_that_were_looked_at_at_their_times(video, tmp_path, stand_in):
    overlay = tmp_path / "overlay.mp4"
    watched(video, tmp_path, overlay=str(overlay))
    with av.open(str(overlay)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert times == pytest.approx([number / 25 for number in (0, 4, 7, 10, 13, 16, 19, 22, 25)], abs=2e-3)
    assert decode_in_full(overlay).shape == (9, 3, 64, 64)


def caption_pixels(frame: torch.Tensor) -> int:
    """Those of a bar's blue, (42, 111, 176), as far as a codec keeps it."""
    colour = torch.tensor([42, 111, 176]).reshape(3, 1, 1)
    return int(((frame.int() - colour).abs() < 40).all(dim=0).sum())


def test_each_frame_of_the_overlay_has_its_own_answer(tmp_path):
    """Bars as wide as the scores: a full one, then a tenth of one."""
    overlay = Overlay(str(tmp_path / "out.mp4"), 8.0, lambda message: None)
    for number, score in enumerate([1.0, 0.1]):
        overlay.saw(StreamFrame(torch.zeros(3, 120, 160, dtype=torch.uint8), number, number / 8))
        overlay.answered(record(score))
    overlay.close()
    first, second = decode_in_full(tmp_path / "out.mp4")
    assert caption_pixels(first) > 1000
    assert 0 < caption_pixels(second) < caption_pixels(first) / 4


def record(score: float) -> WatchRecord:
    return WatchRecord(path="x", error=None, weights="y", classes=[ClassScore(0, "walk", score)])


def test_another_size_is_fitted_into_the_first(tmp_path, stand_in, capsys):
    source = _write_changing_size(tmp_path)  # 160x96, then 128x64
    watched(str(source), tmp_path, overlay=str(tmp_path / "out.mp4"), fps=0)
    frames = decode_in_full(tmp_path / "out.mp4")
    assert frames.shape == (24, 3, 96, 160)
    told = capsys.readouterr().err
    assert told.count("keeps its 160x96; frames of another size are fitted into it") == 1
    assert "the frames changed from 160x96 to 128x64" in told


def test_odd_sizes_become_even(tmp_path):
    overlay = Overlay(str(tmp_path / "out.mp4"), 0, pytest.fail)
    for number in range(3):
        overlay.saw(StreamFrame(torch.full((3, 65, 97), 200, dtype=torch.uint8), number, number / 8))
    overlay.close()
    assert decode_in_full(tmp_path / "out.mp4").shape == (3, 3, 66, 98)


def test_times_that_stand_still_still_make_a_video(tmp_path):
    overlay = Overlay(str(tmp_path / "out.mp4"), 8.0, pytest.fail)
    for number in range(4):
        overlay.saw(StreamFrame(torch.zeros(3, 64, 64, dtype=torch.uint8), number, 5.0))
    overlay.close()
    assert len(decode_in_full(tmp_path / "out.mp4")) == 4


def test_an_overlay_without_frames_is_removed_again(tmp_path):
    overlay = Overlay(str(tmp_path / "out.mp4"), 8.0, pytest.fail)
    assert (tmp_path / "out.mp4").exists()
    overlay.close()
    assert not (tmp_path / "out.mp4").exists()


def test_an_overlay_on_a_full_disk_is_told_and_the_lines_go_on_so_far(tmp_path, small_disk, stand_in):
    source = write_index_video(tmp_path / "long.mp4", 60, size=(64, 64))
    fill(small_disk, leaving=8192)
    overlay = small_disk / "overlay.mp4"
    with pytest.raises(PvSparseError, match=r"--overlay .*overlay.mp4: No space left on device; what was written"):
        watched(str(source), tmp_path, overlay=str(overlay), fps=0)
    assert lines_of(tmp_path / "out.jsonl")


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (1280, 720)])
def test_captions_fit_frames_of_every_size(size):
    from PIL import Image

    picture = Image.new("RGB", size)
    draw_caption(picture, 3723.5, [ClassScore(0, "a very long name of a class" * 5, 0.5)] * 20)
    assert picture.size == size
    assert picture.getbbox() is not None


# What is remembered


def test_places_of_frames_are_kept_as_long_as_a_memory_can_want_them():
    shown = ShownFrames()
    for index in range(20_000):
        shown.add(10 * index, index / 2)
        if index % 16 == 15:
            memory = [0, index // 2, index]
            numbers, times = shown.places(memory) if index < 32 else shown.places([0, index])
            assert numbers[0] == 0
            assert numbers[-1] == 10 * index
            assert times[-1] == index / 2
            assert len(shown) <= RECENT_FRAMES + 16


def test_places_are_kept_where_no_answer_ever_comes():
    shown = ShownFrames()
    for index in range(5 * RECENT_FRAMES):
        shown.add(index, 0.0)
    assert len(shown) <= 2 * RECENT_FRAMES


# The model


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"precision": "float32", "compiled": True}])
def test_an_optimized_model_is_asked_for(options, tiny, monkeypatch):
    from pv_sparse import inference

    asked = []
    monkeypatch.setattr(inference, "optimize", lambda model, *given: asked.append(given) or model)
    model, name = command.load_online(WatchOptions(weights=tiny, device="cpu", **options))
    assert asked == [(options["precision"], options.get("compiled", False))]
    assert name == tiny
    assert model.network.categories == CLASSES


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_an_optimized_model_says_the_same_of_a_stream(precision, tolerance, video, tiny, tmp_path, capsys):
    lines = watched(video, tmp_path, weights=tiny, top_k=len(CLASSES), device="cpu", precision=precision)
    assert precision in capsys.readouterr().err.splitlines()[0]  # what was done, and how far the answers moved
    recognizer = OnlineRecognizer(tiny)
    with SparseVideo(video) as frames:
        predictions = [recognizer.update(frame) for frame in frames.frames_at(lines[0]["frame_indices"])]
    expected = {entry.name: entry.score for entry in predictions[-1].best(len(CLASSES))}
    assert {entry["name"]: entry["score"] for entry in lines[0]["classes"]} == pytest.approx(expected, abs=tolerance)


def test_a_memory_that_does_not_fit_is_told_by_its_option(video, tiny):
    with pytest.raises(PvSparseError, match=r"^--memory script does not take the 8 frames .*tiny.safetensors: try"):
        command.run(video, WatchOptions(weights=tiny, memory="script", device="cpu"))


@pytest.mark.parametrize("option", ["--fps", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_no_options(option, value, video, stand_in):
    told = run("watch", video, option, value, code=1).stderr
    assert told.startswith(f"Error: {option} {value} is not allowed: give a finite number")
    assert told.count("\n") == 1


def test_in_real_time_a_file_is_read_as_fast_as_it_plays(video, stand_in, monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(command, "Clock", lambda: clock)
    lines = [json.loads(line) for line in run("watch", video, "--realtime", "--fps", 0).stdout.splitlines()]
    assert sum(clock.waits) == pytest.approx(25 / 25)
    assert lines[-1]["num_frames"] == 26
    # No time passes for the model, yet a frame may come before it took the one before.
    assert len(lines) + lines[-1]["dropped_frames"] == 26


def test_the_page_is_an_observer(video, tmp_path, stand_in, monkeypatch):
    told = []

    class PageObserver:
        def __init__(self, host, port, source, weights):
            told.append((host, port, source, weights))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            told.append("exit")

        def saw(self, frame):
            told.append(frame.number)

        def answered(self, record):
            told.append(record.num_frames)

        def close(self):
            told.append("close")

    page = SimpleNamespace(PageObserver=PageObserver)
    monkeypatch.setitem(sys.modules, "pv_sparse.watch.page", page)
    watched(video, tmp_path, fps=1, serve=True, port=1)
    assert told == [("127.0.0.1", 1, video, DEFAULT_WEIGHTS), 0, 1, 25, 26, "close", "exit"]


def test_a_stop_ends_the_watch_as_if_the_stream_had(tmp_path, monkeypatch, capsys):
    source, clock = write_index_video(tmp_path / "long.mp4", 60, size=(64, 64)), FakeClock()
    model = Model(before=lambda: model.num_frames == 9 and clock.stop())
    monkeypatch.setattr(command, "load_online", lambda options: (model, "stand-in"))
    lines = watched(str(source), tmp_path, clock, overlay=str(tmp_path / "out.mp4"), fps=0)
    assert len(lines) == 10
    assert len(decode_in_full(tmp_path / "out.mp4")) == 10
    assert "10 of" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_watch_and_is_the_exit_code(number, code, tmp_path, monkeypatch):
    source = write_index_video(tmp_path / "long.mp4", 60, size=(64, 64))
    model = Model(before=lambda: model.num_frames == 9 and signal.raise_signal(number))
    monkeypatch.setattr(command, "load_online", lambda options: (model, "stand-in"))
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        watched(str(source), tmp_path, fps=0)
    assert stop.value.code == code
    assert len(lines_of(tmp_path / "out.jsonl")) == 10
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def unable_to_close(monkeypatch) -> None:
    close = LineFile.close

    def fail(self):
        close(self)
        raise PvSparseError("the lines cannot be closed")

    monkeypatch.setattr(LineFile, "close", fail)


def test_an_error_on_closing_is_the_error_where_there_is_no_other(video, tmp_path, stand_in, monkeypatch):
    unable_to_close(monkeypatch)
    with pytest.raises(PvSparseError, match="the lines cannot be closed"):
        watched(video, tmp_path)


def test_an_error_on_closing_does_not_hide_the_one_before(video, tmp_path, monkeypatch, capsys):
    unable_to_close(monkeypatch)

    def fail():
        raise PvSparseError("the model broke")

    monkeypatch.setattr(command, "load_online", lambda options: (Model(before=fail), "stand-in"))
    with pytest.raises(PvSparseError, match="the model broke"):
        watched(video, tmp_path)
    assert capsys.readouterr().err.splitlines()[-1] == "the lines cannot be closed"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_error_on_closing_does_not_change_the_exit_code_of_a_signal(
    number, code, video, tmp_path, monkeypatch, capsys
):
    unable_to_close(monkeypatch)
    model = Model(before=lambda: model.num_frames == 1 and signal.raise_signal(number))
    monkeypatch.setattr(command, "load_online", lambda options: (model, "stand-in"))
    with pytest.raises(SystemExit) as stop:
        watched(video, tmp_path)
    assert stop.value.code == code
    assert capsys.readouterr().err.splitlines()[-1] == "the lines cannot be closed"


def test_a_second_signal_ends_the_program_where_it_is(tmp_path, monkeypatch):
    source = write_index_video(tmp_path / "long.mp4", 60, size=(64, 64))

    def be_impatient():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    monkeypatch.setattr(command, "load_online", lambda options: (Model(before=be_impatient), "stand-in"))
    with pytest.raises(SystemExit) as stop:
        watched(str(source), tmp_path)
    assert stop.value.code == 130
