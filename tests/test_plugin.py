"""The names that registration adds to the host, and that nothing of it stays."""

import copy
import pickle
import subprocess
import sys
import threading

import pytest
import pytorchvideo.data as host
from index_video import read_numbers, write_index_video
from pytorchvideo.data import LabeledVideoDataset, clip_sampling, encoded_video
from pytorchvideo.data.encoded_video import EncodedVideo
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import (
    EncodedVideoSparse,
    PvSparseError,
    SegmentClipSampler,
    register,
    registered,
    segment_indices,
    unregister,
)


def places() -> tuple:
    return (
        host.make_clip_sampler,
        clip_sampling.make_clip_sampler,
        encoded_video.select_video_class,
        LabeledVideoDataset.__reduce_ex__,
        "__reduce_ex__" in vars(LabeledVideoDataset),
    )


@pytest.fixture(autouse=True)
def untouched_host():
    """Whatever a test does, the host is as it was before."""
    before = places()
    yield
    assert places() == before


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    return str(write_index_video(tmp_path_factory.mktemp("plugin") / "v.mp4"))


def dataset_of(path, sampler, **arguments) -> LabeledVideoDataset:
    videos = [(path, {"label": number}) for number in range(4)]
    return LabeledVideoDataset(videos, sampler, SequentialSampler, decode_audio=False, **arguments)


def labels_of(loader) -> list[int]:
    return sorted(label for batch in loader for label in batch["label"].tolist())


def test_the_samplers_name_works_by_position_and_keyword():
    with registered():
        for make in (host.make_clip_sampler, clip_sampling.make_clip_sampler):
            sampler = make("segment", 3, 5, "random")
            assert isinstance(sampler, SegmentClipSampler)
            assert (sampler.num_segments, sampler.frames_per_segment, sampler.rule) == (3, 5, "random")
            assert make(sampling_type="segment", num_segments=4).num_segments == 4
            assert isinstance(make("uniform", 2.0), clip_sampling.UniformClipSampler)
        with pytest.raises(TypeError, match="num_segmnts"):
            host.make_clip_sampler("segment", num_segmnts=3)
        with pytest.raises(NotImplementedError, match="segments not supported"):
            host.make_clip_sampler("segments")
    with pytest.raises(NotImplementedError):
        host.make_clip_sampler("segment", 3)


def test_the_decoders_name_works_in_datasets_and_for_single_videos(path):
    with registered():
        sample = next(iter(dataset_of(path, host.make_clip_sampler("segment", 8), decoder="sparse")))
        video = EncodedVideo.from_path(path, decode_audio=False, decoder="sparse")
        with pytest.raises(ValueError, match="'other' is not a valid DecoderType"):
            EncodedVideo.from_path(path, decoder="other")
    assert read_numbers(sample["video"].transpose(0, 1)) == segment_indices(60, 8).flatten().tolist()
    assert sample["video_name"] == "v.mp4"
    assert isinstance(video, EncodedVideoSparse)
    assert read_numbers(video.get_clip(0.4, 0.8)["video"].transpose(0, 1)) == list(range(10, 20))


@pytest.mark.parametrize(
    ("sampler", "method"),
    [
        ("ours", "fork"),
        ("stock", "fork"),
        pytest.param("stock", "spawn", marks=pytest.mark.slow),
        pytest.param("ours", "spawn", marks=pytest.mark.slow),
        pytest.param("stock", "forkserver", marks=pytest.mark.slow),
        pytest.param("ours", "forkserver", marks=pytest.mark.slow),
    ],
)
def test_workers_that_start_afresh_deliver_every_sample(path, sampler, method):
    with registered():
        clips = SegmentClipSampler(8) if sampler == "ours" else host.make_clip_sampler("random", 0.4)
        dataset = dataset_of(path, clips, decoder="sparse")
        loader = DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context=method, timeout=120)
        assert labels_of(loader) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_pickle_brings_the_registration_along_only_where_it_is_needed(path, tmp_path):
    code = """
import pickle, sys
dataset = pickle.load(open(sys.argv[1], "rb"))
plugin = sys.modules.get("pv_sparse.plugin")
print(len(list(dataset)), plugin is not None and plugin._state.count)
"""

    def unpickled(dataset) -> str:
        (tmp_path / "dataset").write_bytes(pickle.dumps(dataset))
        command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "dataset")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with registered():
        assert unpickled(dataset_of(path, clip_sampling.UniformClipSampler(1.2), decoder="sparse")) == "8 1"
        assert unpickled(dataset_of(path, clip_sampling.UniformClipSampler(1.2))) == "8 False"


def test_copies_in_this_process_leave_the_count_alone(path):
    with registered():
        dataset = copy.deepcopy(dataset_of(path, SegmentClipSampler(8), decoder="sparse"))
        assert len(list(dataset)) == 4


def test_calls_are_counted_and_leave_no_trace():
    before = places()
    unregister()
    register()
    with registered():
        register()
        unregister()
    assert host.make_clip_sampler("segment", 3).num_segments == 3
    unregister()
    assert places() == before
    unregister()
    with registered():
        pass
    assert places() == before


def test_a_block_that_fails_leaves_no_trace():
    with pytest.raises(RuntimeError), registered():
        raise RuntimeError


def test_names_that_somebody_else_added_are_not_overwritten(monkeypatch):
    stock = clip_sampling.make_clip_sampler

    def theirs(sampling_type, *args):
        return "theirs" if sampling_type == "segment" else stock(sampling_type, *args)

    monkeypatch.setattr(clip_sampling, "make_clip_sampler", theirs)
    with pytest.raises(PvSparseError, match="knows 'segment' already, and not from pv_sparse: nothing was changed"):
        register()
    assert clip_sampling.make_clip_sampler is theirs
    monkeypatch.undo()
    monkeypatch.setattr(encoded_video, "select_video_class", lambda decoder: object)
    with pytest.raises(PvSparseError, match="knows 'sparse' already"):
        register()
    monkeypatch.undo()


def test_somebody_who_wrapped_ours_since_keeps_theirs(monkeypatch):
    monkeypatch.setattr(host, "make_clip_sampler", host.make_clip_sampler)  # undone at the end
    register()
    ours = host.make_clip_sampler

    def theirs(*args):
        return "theirs" if args == ("their name",) else ours(*args)

    host.make_clip_sampler = theirs
    unregister()
    assert host.make_clip_sampler is theirs
    with pytest.raises(NotImplementedError):
        theirs("segment", 3)
    with registered():
        assert host.make_clip_sampler("segment", 3).num_segments == 3
        assert host.make_clip_sampler("their name") == "theirs"
    assert host.make_clip_sampler is theirs
    monkeypatch.undo()


def test_threads_may_register_at_the_same_time():
    before = places()
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        for _ in range(50):
            with registered():
                assert host.make_clip_sampler("segment", 3).num_segments == 3

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places() == before
