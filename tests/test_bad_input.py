"""Damaged and odd files: the frames of a full decode, as many as there are, or one error that names file and cause."""

import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import torch
from conftest import open_container
from index_video import read_number, write_index_video
from odd_videos import TENTHS, write_all

from pv_sparse import SparseVideo, VideoDecodeError, segment_indices

SECONDS = 2.0
CUT = [f"cut_{base}_{tenth}" for base in ("front", "pieces", "mkv", "ts", "avi") for tenth in TENTHS]
FLIPPED = [f"flipped_{base}_{seed}" for base in ("mp4", "front", "pieces", "mkv", "ts", "avi") for seed in range(3)]
OTHERS = [
    "whole_mp4",
    "whole_front",
    "whole_pieces",
    "whole_mkv",
    "whole_ts",
    "whole_avi",
    "without_moov_2",
    "without_moov_6",
    "zero_length",
    "text",
    "mp4_signature_alone",
    "garbage_after",
    "mp4_named_avi",
    "mkv_named_mp4",
    "without_suffix",
    "ts_from_the_middle",
    "ts_after_garbage",
    "ts_with_lost_packets",
    "huge_duration",
    "zero_timescale",
    "offsets_past_the_end",
    "more_samples_than_there_are",
    "times_of_more_samples",
    "trimmed_by_an_edit_list",
    "edit_list_of_a_moment",
    "rotated_1",
    "rotated_2",
    "rotated_3",
    "one_frame",
    "two_frames",
    "odd_size",
    "ten_bits",
    "ten_bits_hevc",
    "full_range",
    "all_intra",
    "one_keyframe",
    "variable_rate",
    "late_start",
    "audio_longer",
    "vp8",
    "vp9",
    "ffv1",
    "mjpeg",
    "mpeg2",
    "flv",
    "mpeg4_b_frames",
    "h264_in_avi",
    "gif",
    "picture",
    "audio_alone",
    "changing_size",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    made = write_all(tmp_path_factory.mktemp("odd"))
    assert sorted(made) == sorted([*CUT, *FLIPPED, *OTHERS])
    return made


def shown_in_full(path: Path) -> list[torch.Tensor]:
    """Every frame of a plain decode in one thread, upright; none where there is no video."""
    try:
        container = open_container(path)
    except (av.FFmpegError, UnicodeDecodeError):
        return []
    with container:
        streams = [stream for stream in container.streams.video if stream.codec_context is not None]
        return [_upright(frame) for frame in _decoded(container, streams[0])] if streams else []


def _decoded(container, stream) -> list[av.VideoFrame]:
    stream.codec_context.thread_count = 1
    frames = []
    with contextlib.suppress(av.FFmpegError, IndexError):
        for packet in container.demux(stream):
            with contextlib.suppress(av.FFmpegError):
                frames += packet.decode()
    return frames


def _upright(frame: av.VideoFrame) -> torch.Tensor:
    picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    return torch.rot90(picture, round(frame.rotation / 90) % 4, dims=(1, 2))


def is_right(frame: torch.Tensor, number: int, full: list[torch.Tensor], is_count_right: bool) -> bool:
    """The frame of the full decode; or, where that lost frames elsewhere, the one that the number belongs to.

    Where packets look whole and decode to nothing, the numbers after them are off until the loss is met: then the frame
    is still one of the video's. A frame of another size than the first is scaled: only what it shows can be compared.
    """
    if number < len(full) and frame.shape != full[number].shape:
        return read_number(frame) == read_number(full[number])
    if number < len(full) and torch.equal(frame, full[number]):
        return True
    lost = not is_count_right and any(torch.equal(frame, other) for other in full)
    return lost or read_number(frame) == number


def read(path: Path, choose, threads: int = 1) -> tuple[list[int], torch.Tensor] | VideoDecodeError:
    started = time.process_time()
    try:
        with SparseVideo(path, threads) as video:
            numbers = choose(video)
            return numbers, video.frames_at(numbers)
    except VideoDecodeError as error:
        return error
    finally:
        assert time.process_time() - started < SECONDS


def middles(video: SparseVideo) -> list[int]:
    return segment_indices(video.num_frames, 3).flatten().tolist()


@pytest.mark.parametrize("name", [*CUT, *FLIPPED, *OTHERS])
def test_a_file_gives_its_frames_or_one_error(files, name):
    full = shown_in_full(files[name])
    whole = read(files[name], lambda video: range(video.num_frames))
    if isinstance(whole, VideoDecodeError):
        assert whole.path == str(files[name])
        assert whole.cause
        assert str(files[name]) in str(whole)
        assert not full or whole.frame is not None, "an error at a frame, where there are others"
    else:
        assert len(whole[1]) == len(full), "as many as there are"
        assert all(is_right(frame, number, full, True) for number, frame in zip(*whole, strict=True))
    # Decoders conceal flipped bytes in another way when they decode frames in parallel: there, one thread is compared.
    threads = 1 if name in FLIPPED else 0
    for some in (read(files[name], middles), read(files[name], lambda video: [video.num_frames - 1, 0], threads)):
        if not isinstance(some, VideoDecodeError):
            is_count_right = not isinstance(whole, VideoDecodeError)
            assert all(is_right(frame, number, full, is_count_right) for number, frame in zip(*some, strict=True))
        else:
            assert isinstance(whole, VideoDecodeError)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zero_length", "the file is empty"),
        ("text", "it is not a video, or its header is damaged"),
        ("without_moov_6", "it is not a video, or its header is damaged"),
        ("audio_alone", "it holds no video stream"),
    ],
)
def test_the_cause_is_told(files, name, words):
    with pytest.raises(VideoDecodeError, match=words):
        SparseVideo(files[name])


@pytest.mark.slow
def test_two_thousand_opens_and_reads_leave_memory_and_file_descriptors_flat(files):
    chosen = [
        files[name] for name in ("whole_mp4", "whole_avi", "cut_mkv_5", "zero_length", "flipped_ts_0", "vp8", "text")
    ]

    def used() -> tuple[int, float]:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return len(list(Path("/proc/self/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    for number in range(2400):
        if number == 400:
            descriptors, megabytes = used()
        read(chosen[number % len(chosen)], lambda video: [0, video.num_frames - 1])
    after = used()
    assert after[0] == descriptors
    assert after[1] - megabytes < 16


@pytest.mark.slow
def test_memory_does_not_grow_with_the_videos_length(tmp_path):
    code = (
        "import resource, sys\nfrom pv_sparse import SparseVideo, segment_indices\n"
        "with SparseVideo(sys.argv[1], threads=1) as v: v.frames_at(segment_indices(v.num_frames, 8))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    peaks = []
    for seconds in (4, 40):
        path = write_index_video(tmp_path / f"{seconds}.mp4", 25 * seconds, size=(240, 320), gop=50)
        peaks.append(float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code, str(path)])))
    assert peaks[1] - peaks[0] < 8
