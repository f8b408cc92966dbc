"""Decoding: every frame asked for is the frame that comes, on every kind of file."""

import gc
import multiprocessing
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from conftest import decode_in_full, demo_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_video import HEIGHT, WIDTH, bars, read_numbers, write_index_video
from iopath.common.file_io import PathHandler, g_pathmgr

from pv_sparse import SparseVideo, VideoDecodeError
from pv_sparse.data.container import read_packets
from pv_sparse.data.decoder import Decoder

N = 40
FORMATS = {
    "libx264": ("mp4", "mkv", "avi", "ts"),
    "libx265": ("mp4", "mkv", "ts"),
    "mpeg4": ("mp4", "mkv", "avi", "ts"),
    "ffv1": ("mp4", "mkv", "avi"),
    "libvpx-vp9": ("mp4", "mkv", "webm", "avi"),
    "libvpx": ("webm",),
}
KINDS = [(codec, container) for codec, containers in FORMATS.items() for container in containers]
# Of these, the packets do not tell: AVI has no presentation times, VP8 hides frames in packets of their own.
COUNTED = {("libx264", "avi"), ("libvpx", "webm")}
ORDER = [39, 0, 17, 17, 3, 25, 24, 11, 12, 13, 39, 38]


@pytest.mark.parametrize("gop", [1, 12, 250])
@pytest.mark.parametrize("uneven", [False, True], ids=["constant_rate", "variable_rate_late_start"])
@pytest.mark.parametrize(("codec", "container"), KINDS)
def test_every_requested_frame_is_the_requested_one(tmp_path, codec, container, gop, uneven):
    path = tmp_path / f"video.{container}"
    write_index_video(path, N, codec, gop, variable_rate=uneven, start_seconds=2.0 if uneven else 0.0)
    with SparseVideo.from_path(path) as video:
        assert video.num_frames == N
        assert read_numbers(video.frames_at(ORDER)) == ORDER
        assert read_numbers(video.frames_at(range(N))) == list(range(N))
        assert video.decoded_share > 0.95


@pytest.mark.parametrize(("codec", "container"), [kind for kind in KINDS if kind not in COUNTED])
def test_a_scan_of_the_packets_is_proof_enough(tmp_path, codec, container, monkeypatch):
    """Neither opening nor reading decodes the whole video."""
    path = write_index_video(tmp_path / f"video.{container}", N, codec)
    monkeypatch.setattr(Decoder, "all_frames", lambda self: pytest.fail("the video was decoded from end to end"))
    video = SparseVideo(path)
    assert read_numbers(video.frames_at(ORDER)) == ORDER
    assert video.keyframes == [0, 12, 24, 36]


@pytest.mark.parametrize(
    "options",
    [
        {"x264-params": "open-gop=1"},
        {"x264-params": "intra-refresh=1"},
        {"bf": "0"},
        {"x264-params": "b-pyramid=normal", "bf": "5"},
        {"tune": "zerolatency"},
    ],
    ids=["open_gop", "intra_refresh", "no_b_frames", "pyramid", "zero_latency"],
)
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_h264_as_encoders_vary_it(tmp_path, container, options):
    video = SparseVideo(write_index_video(tmp_path / f"video.{container}", N, options=options))
    assert video.num_frames == N
    assert read_numbers(video.frames_at(ORDER)) == ORDER


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_hevc_with_open_groups(tmp_path, container):
    options = {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:bframes=4"}
    video = SparseVideo(write_index_video(tmp_path / f"video.{container}", N, "libx265", options=options))
    assert read_numbers(video.frames_at(ORDER)) == ORDER


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_frames_that_are_never_shown_are_not_counted(tmp_path, codec):
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
    video = SparseVideo(write_index_video(tmp_path / "video.webm", N, codec, gop=250, options=options))
    assert video.num_frames == N
    assert read_numbers(video.frames_at(ORDER)) == ORDER


def test_mpeg4_with_b_frames_in_avi(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "video.avi", N, "mpeg4", options={"bf": "2"}))
    assert read_numbers(video.frames_at(ORDER)) == ORDER


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 0])
def test_decoder_threads_change_nothing(bikes, threads):
    wanted = [249, 3, 77, 78, 136, 137, 200]
    assert torch.equal(SparseVideo(bikes, threads).frames_at(wanted), decode_in_full(bikes)[wanted])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 59), max_size=12))
def test_any_order_and_repeats(index_video, indices):
    with SparseVideo(index_video) as video:
        assert read_numbers(video.frames_at(indices)) == indices
        assert read_numbers(video.frames_at(indices[::-1])) == indices[::-1]


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4"])
def test_real_videos_come_as_a_full_decode_shows_them(name):
    path = demo_video(name)
    everything = decode_in_full(path)
    with SparseVideo(path) as video:
        wanted = list(range(0, video.num_frames, 17))[::-1]
        assert video.num_frames == len(everything)
        assert torch.equal(video.frames_at(wanted), everything[wanted])


@pytest.mark.parametrize("pattern", ["RATRACE*", "*cartwheel*", "v_Soccer*", "basketball*"])
def test_data_set_clips_come_in_the_order_a_full_decode_shows(shared_clips, pattern):
    path = next(shared_clips.glob(pattern))
    everything = decode_in_full(path)
    with SparseVideo(path) as video:
        assert video.num_frames == len(everything)
        assert torch.equal(video.frames_at(range(video.num_frames)), everything)
        wanted = list(range(0, video.num_frames, 7))[::-1]
        assert torch.equal(video.frames_at(wanted), everything[wanted])


# What is decoded


def test_only_packets_that_matter_are_decoded(tmp_path):
    path = write_index_video(tmp_path / "video.mp4", 240, gop=30)
    video = SparseVideo(path)
    counting = video._decoder._context = CountingContext(video._decoder._context)
    video.frames_at([0, 120, 239])
    assert 3 <= counting.num_packets <= 1 + 1 + 31
    counting.num_packets = 0
    video.frames_at(range(60, 70))
    assert 10 <= counting.num_packets <= 10 + 4


class CountingContext:
    """A codec context that counts the packets which it decodes."""

    def __init__(self, context):
        vars(self).update(context=context, num_packets=0)

    def __getattr__(self, name):
        return getattr(self.context, name)

    def __setattr__(self, name, value):
        if name == "num_packets":
            vars(self)[name] = value
        else:
            setattr(self.context, name, value)

    def decode(self, packet):
        self.num_packets += packet is not None
        return self.context.decode(packet)


# Headers


def test_an_mp4_file_is_opened_without_decoding_any_of_it(tmp_path):
    path = write_index_video(tmp_path / "video.mp4", N)
    with SparseVideo(path) as video:
        assert video._decoder.source.stream.codec_context.format is None
        assert read_numbers(video.frames_at(ORDER)) == ORDER


def test_h264_that_does_not_say_how_far_its_frames_are_out_of_order(tmp_path):
    """Some encoders leave it out: FFmpeg works it out of the times that mp4 files store."""
    path = write_index_video(tmp_path / "video.mp4", N, options={"profile": "main", "bf": "5"})
    frames = SparseVideo(path).frames_at(range(N))
    with av.open(str(path)) as container:
        parameters = sequence_parameters(container.streams.video[0].codec_context.extradata)
    path.write_bytes(path.read_bytes().replace(parameters, without_usability_information(parameters)))
    with SparseVideo(path) as video:
        assert torch.equal(video.frames_at(range(N)), frames)
        assert torch.equal(video.frames_at([17, 3]), frames[[17, 3]])


def sequence_parameters(avcc: bytes) -> bytes:
    """The first sequence parameter set (SPS) of an `avcC` box: ISO/IEC 14496-15, 5.3.3.1.2."""
    return avcc[8 : 8 + int.from_bytes(avcc[6:8])]


def without_usability_information(parameters: bytes) -> bytes:
    """An SPS of the main profile without VUI, in as many bytes: ITU-T H.264, 7.3.2.1.1."""
    bits = "".join(f"{byte:08b}" for byte in parameters)
    place = 32  # past NAL header, profile, constraints and level

    def unsigned() -> int:  # Exp-Golomb, 9.1
        nonlocal place
        zeros = bits.index("1", place) - place
        place += 2 * zeros + 1
        return int(bits[place - zeros - 1 : place], 2) - 1

    unsigned(), unsigned()  # number, frame number bits
    assert unsigned() == 0, "order by type 0"
    unsigned(), unsigned()  # order bits, reference frames
    place += 1
    unsigned(), unsigned()  # width, height
    place += 2
    assert bits[place] == "0", "not cropped"
    assert bits[place + 1] == "1", "with VUI"
    shorter = bits[: place + 1] + "01"  # no VUI, then the bit that ends the set
    return bytes(int(shorter.ljust(len(bits), "0")[i : i + 8], 2) for i in range(0, len(bits), 8))


def test_a_header_that_tells_another_size_than_the_frames_have(tmp_path):
    path = write_index_video(tmp_path / "video.mp4", N)
    frames = SparseVideo(path).frames_at([3, 20])
    content = path.read_bytes()
    told, other = (b"avc1" + bytes(6) + b"\0\1" + bytes(16) + struct.pack(">2H", *s) for s in ((160, 96), (80, 48)))
    assert content.count(told) == 1
    path.write_bytes(content.replace(told, other))
    with SparseVideo(path) as video:
        assert video.frames_at([]).shape == (0, 3, 48, 80)
        assert torch.equal(video.frames_at([3, 20]), frames)
        assert (video.height, video.width) == (96, 160)
        assert video.frames_at([]).shape == (0, 3, 96, 160)


# What is known about the video


def test_times_and_rate(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "even.mp4", N, rate=Fraction(30000, 1001), start_seconds=1.0))
    assert video.average_rate == Fraction(30000, 1001)
    torch.testing.assert_close(video.frame_times_seconds, torch.arange(N, dtype=torch.float64) * 1001 / 30000)
    uneven = SparseVideo(write_index_video(tmp_path / "uneven.mkv", 9, variable_rate=True, start_seconds=2.0))
    expected = torch.tensor([0, 20, 70, 180, 200, 250, 360, 380, 430], dtype=torch.float64) / 1000
    torch.testing.assert_close(uneven.frame_times_seconds, expected)
    assert uneven.average_rate == Fraction(8000, 430)


def test_times_run_forwards_where_the_containers_do_not(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "video.avi", N))
    assert (video.frame_times_seconds.diff() > 0).all()
    assert video.average_rate == 25


def test_frames_between_two_times_are_counted_exactly(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "video.mp4", N, rate=Fraction(30000, 1001), start_seconds=1.0))
    step = Fraction(1001, 30000)
    for first in range(N):
        assert video.frames_between(first * step, (first + 3) * step) == range(first, min(first + 3, N))
    assert video.duration_seconds == N * step
    assert len(video.frames_between(-5, 100)) == N
    assert len(video.frames_between(2, 2)) == len(video.frames_between(3, 2)) == 0


def test_one_frame(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "video.mp4", 1))
    assert (video.num_frames, video.keyframes, video.frame_times_seconds.tolist()) == (1, [0], [0.0])
    assert read_numbers(video.frames_at([0, 0])) == [0, 0]


def test_a_closed_video_gives_no_frames(index_video):
    with SparseVideo(index_video) as video:
        pass
    with pytest.raises(ValueError, match=r"index\.mp4: the video was closed: read frames before close\(\), or open it"):
        video.frames_at([0])


def test_repr_and_closing_twice(index_video):
    video = SparseVideo(index_video)
    assert repr(video) == f"SparseVideo({str(index_video)!r}, num_frames=60, average_rate=25.000)"
    video.close()
    video.close()


# What comes back


def test_the_result_is_contiguous_uint8_rgb(index_video):
    frames = SparseVideo(index_video).frames_at([5, 2])
    assert frames.shape == (2, 3, HEIGHT, WIDTH)
    assert frames.dtype == torch.uint8
    assert frames.is_contiguous()
    assert SparseVideo(index_video).frames_at([]).shape == (0, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, iter])
def test_indices_of_any_kind(index_video, kind):
    assert read_numbers(SparseVideo(index_video).frames_at(kind([7, 3]))) == [7, 3]


def test_segments_are_read_row_by_row(index_video):
    assert read_numbers(SparseVideo(index_video).frames_at(torch.tensor([[1, 2], [31, 32]]))) == [1, 2, 31, 32]


@pytest.mark.parametrize(("size", "expected"), [(48, (48, 80)), ((64, 40), (64, 40)), (192, (192, 320))])
def test_frames_are_scaled_as_they_are_converted(index_video, size, expected):
    frames = SparseVideo(index_video).frames_at([33, 7], size=size)
    assert frames.shape == (2, 3, *expected)
    assert read_numbers(frames) == [33, 7]
    assert SparseVideo(index_video).frames_at([], size=size).shape == (0, 3, *expected)


@pytest.mark.parametrize("size", [(97, 161), (95, 33)])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "gray"])
def test_odd_sizes_and_other_pixel_formats(tmp_path, size, pix_fmt):
    video = SparseVideo(write_index_video(tmp_path / "video.mkv", 20, "ffv1", pix_fmt=pix_fmt, size=size))
    assert read_numbers(video.frames_at([19, 4])) == [19, 4]
    assert video.frames_at([4]).shape == (1, 3, *size)


@pytest.mark.parametrize("prefix", ["", "latin://"])
def test_metadata_that_is_not_utf8(tmp_path, prefix):
    """HMDB51's clips name files of a German Windows; here the name of the writing program is spoilt."""
    path = write_index_video(tmp_path / "video.avi", 20, "mpeg4")
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"L\xe4vf"))
    register_scheme("latin://")
    with SparseVideo(f"{prefix}{path}") as video:
        assert read_numbers(video.frames_at([19, 4])) == [19, 4]


def test_ten_bits_a_channel(tmp_path):
    video = SparseVideo(write_index_video(tmp_path / "video.mp4", 20, "libx265", pix_fmt="yuv420p10le"))
    assert read_numbers(video.frames_at([19, 4])) == [19, 4]


def test_a_rotation_noted_in_the_file_is_applied(tmp_path):
    """As telephones write it: held upright, the sensor's rows run from top to bottom of the picture."""
    path = write_index_video(tmp_path / "video.mp4", 20)
    upright = SparseVideo(path).frames_at([19])
    content = path.read_bytes()
    one, w = 1 << 16, 1 << 30
    straight = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, w)
    clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, w)
    track = content.rindex(straight)
    path.write_bytes(content[:track] + clockwise + content[track + len(clockwise) :])
    rotated = SparseVideo(path).frames_at([19])
    assert torch.equal(rotated, upright.rot90(-1, dims=(2, 3)))
    assert SparseVideo(path).frames_at([19], size=40).shape == (1, 3, 66, 40)


def test_a_size_that_changes_in_mid_video(tmp_path):
    """Transport streams may be joined from parts of different sizes; all frames come in the size of the first."""
    parts = [
        write_index_video(tmp_path / f"{s[0]}.ts", 12, size=s, start_seconds=t)
        for s, t in (((96, 160), 0), ((48, 80), 4))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with SparseVideo(joined) as video:
        assert video.num_frames == 24
        assert read_numbers(video.frames_at([0, 11, 12, 23])) == [0, 11, 0, 11]


def test_a_stream_that_appears_late_does_not_end_the_video(index_video):
    """As PyAV does at audio that begins beyond the first megabytes, which are all that is read on opening."""

    class LateAudio:
        def __init__(self, container):
            self.container, self.calls = container, 0

        def demux(self, stream):
            self.calls += 1
            for count, packet in enumerate(self.container.demux(stream)):
                yield packet
                if count == 20 and self.calls < 4:
                    raise IndexError("list index out of range")

    with av.open(str(index_video)) as container:
        late = LateAudio(container)
        packets = list(read_packets(late, container.streams.video[0]))
    assert (len(packets), late.calls) == (60, 3)


def test_an_edit_list_hides_frames(tmp_path):
    """An mp4 cut without encoding again starts with frames that are decoded but not shown."""
    whole = write_index_video(tmp_path / "whole.mp4", N, gop=250)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                shift = round(Fraction(2, 5) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    everything = decode_in_full(cut)
    with SparseVideo(cut) as video:
        assert read_numbers(everything) == list(range(10, N))
        assert video.num_frames == N - 10
        assert torch.equal(video.frames_at([29, 0, 3, 12]), everything[[29, 0, 3, 12]])


# Damage


@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        ("libx264", "mp4", {"movflags": "faststart"}),
        ("libx264", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("libx264", "mkv", {}),
        ("libx264", "avi", {}),
        ("libx264", "ts", {}),
        ("libvpx-vp9", "webm", {}),
        ("mpeg4", "avi", {}),
    ],
)
@pytest.mark.parametrize("tenths", [6, 8])
def test_a_file_cut_off_gives_what_decodes(tmp_path, codec, container, options, tenths):
    path = write_index_video(tmp_path / f"video.{container}", 100, codec, container_options=options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenths // 10])
    everything = decode_in_full(path)
    with SparseVideo(path) as video:
        assert video.num_frames == len(everything)
        # The last packet was cut through; FFmpeg mends its picture in another way each time, and those beside it.
        assert torch.equal(video.frames_at(range(video.num_frames))[:-4], everything[:-4])
        declares = container != "ts" and "frag" not in options.get("movflags", "")
        assert video.decoded_share == pytest.approx(
            len(everything) / 100 if declares else 1.0, abs=0.03 if declares else 0.2
        )


def test_audio_that_outlasts_the_video_is_not_a_missing_part(tmp_path):
    for container in ("mkv", "mp4"):
        video = SparseVideo(write_index_video(tmp_path / f"video.{container}", N, audio_seconds=6.0))
        assert (video.num_frames, video.decoded_share) == (N, 1.0)


def test_a_scan_that_promised_too_much_is_not_believed(tmp_path):
    """Packets that look whole but hold no picture: the frames are counted again, by decoding."""
    path = write_index_video(tmp_path / "video.mkv", N, gop=1, options={"bf": "0"})
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in packets[10:20]:
        content = content.replace(packet, bytes(len(packet)))
    path.write_bytes(content)
    with SparseVideo(path) as video:
        assert video.num_frames == N
        assert read_numbers(video.frames_at([5, 15])) == [5, 25]
        assert video.num_frames == N - 10
    with SparseVideo(path) as video, pytest.raises(VideoDecodeError, match="frame 35: only 30 frames can be decoded"):
        video.frames_at([15, 35])


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("libx264", "mp4"),
        ("libx264", "mkv"),
        ("libx264", "ts"),
        ("libx264", "avi"),
        ("mpeg4", "avi"),
        ("libvpx-vp9", "webm"),
    ],
)
def test_flipped_bytes_give_frames_or_one_named_error(tmp_path, codec, container):
    """Whatever the damage: frames, or a VideoDecodeError that names the file; nothing else."""
    path = write_index_video(tmp_path / f"video.{container}", N, codec)
    content = path.read_bytes()
    randomness = np.random.default_rng(0)
    for flips in (1, 5, 30) * 8:
        damaged = bytearray(content)
        for place in randomness.integers(len(content), size=flips):
            damaged[place] = randomness.integers(256)
        path.write_bytes(damaged)
        told = ""
        try:
            with SparseVideo(path, threads=1) as video:
                assert len(video.frames_at([0, video.num_frames // 2, video.num_frames - 1])) == 3
        except VideoDecodeError as error:
            told = str(error)
        assert not told or told.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"this is no video\n" * 50, "it is not a video, or its header is damaged"),
        ("zeros.mp4", bytes(5000), "it is not a video, or its header is damaged"),
    ],
)
def test_files_that_are_no_videos(tmp_path, name, content, cause):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoDecodeError, match=f"{name}: {cause}"):
        SparseVideo(path)


@pytest.mark.parametrize("has_cover", [False, True])
def test_a_file_without_video(tmp_path, has_cover):
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=16000)
        if has_cover:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic.value
            picture = av.VideoFrame.from_ndarray(bars(1), format="rgb24")
            container.mux([*cover.encode(picture), *cover.encode(None)])
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux([*tone.encode(sound), *tone.encode(None)])
    with pytest.raises(VideoDecodeError, match=r"tone\.mp4: it holds no video stream"):
        SparseVideo(path)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4: no such file"):
        SparseVideo(tmp_path / "missing.mp4")
    with pytest.raises(VideoDecodeError, match="it is a folder, not a video file"):
        SparseVideo(tmp_path)


@pytest.mark.parametrize("number", [-1, 60, 10**6])
def test_numbers_outside_the_video(index_video, number):
    with pytest.raises(IndexError, match=rf"frame {number} is outside 0 to 59, the frames of .*index\.mp4"):
        SparseVideo(index_video).frames_at([0, number])


def test_numbers_that_are_none(index_video):
    with pytest.raises(TypeError, match="frame numbers must be integers, not float64"):
        SparseVideo(index_video).frames_at([1.5])


def test_sizes_that_are_none(index_video):
    with pytest.raises(ValueError, match=r"size=0 is not allowed: give the shorter side, or \(height, width\)"):
        SparseVideo(index_video).frames_at([1], size=0)


def register_scheme(prefix: str) -> None:
    """Have iopath open `prefix` before a path as the path."""

    class Handler(PathHandler):
        def _get_supported_prefixes(self):
            return [prefix]

        def _open(self, path, mode="r", buffering=-1, **options):
            return open(path.removeprefix(prefix), mode)

    g_pathmgr.register_handler(Handler(), allow_override=True)


def test_a_uri_of_iopath_is_read_through_iopath(index_video):
    register_scheme("bucket://")
    with SparseVideo(f"bucket://{index_video}") as video:
        assert read_numbers(video.frames_at([41, 2])) == [41, 2]


def test_bars_are_read_as_they_were_drawn():
    pictures = torch.stack([torch.from_numpy(bars(number).transpose(2, 0, 1).copy()) for number in (0, 1, 682, 1023)])
    assert read_numbers(pictures) == [0, 1, 682, 1023]


def test_pathlib_and_text_are_alike(index_video):
    assert SparseVideo(Path(index_video)).path == SparseVideo(str(index_video)).path == str(index_video)


@pytest.mark.parametrize("state", ["open", "closed", "dropped"])
def test_a_forked_process_is_not_held_up_by_the_videos_of_its_parent(index_video, state):
    """Its decoders' threads stay behind in the parent: freeing a decoder in the fork would wait for them for ever."""
    held = [SparseVideo(index_video, threads=2)]
    held[0].frames_at([3, 30])
    if state == "closed":
        held[0].close()
    if state == "dropped":
        held.clear()

    def work() -> None:
        held.clear()
        gc.collect()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(timeout=30)
    is_held_up = process.is_alive()
    process.kill()
    assert not is_held_up
