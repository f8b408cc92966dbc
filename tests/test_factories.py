"""The host's factories with our decoder behind them."""

import inspect
import pickle
from fractions import Fraction

import pytest
import pytorchvideo.data as host
import torch
from index_video import read_numbers, write_index_video
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import make_clip_sampler
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from pv_sparse import SegmentClipSampler, segment_indices, sparse_decoding
from pv_sparse import data as ours

FACTORIES = ["Charades", "Hmdb51", "Kinetics", "SSv2", "Ucf101", "labeled_video_dataset"]
CLASSES = ["jump", "walk"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A folder of two classes with four videos each, of 30 to 37 frames."""
    folder = tmp_path_factory.mktemp("classes")
    for number in range(8):
        path = folder / CLASSES[number % 2] / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_index_video(path, num_frames=30 + number)
    return folder


def numbers_of(sample) -> list[int]:
    return read_numbers(sample["video"].transpose(0, 1))


@pytest.mark.parametrize("name", FACTORIES)
def test_signatures_are_the_hosts(name):
    def arguments(factory):
        return [(p.name, p.default, p.kind) for p in inspect.signature(factory).parameters.values()]

    assert arguments(getattr(ours, name)) == arguments(getattr(host, name))


@pytest.mark.parametrize("name", ["Kinetics", "Ucf101", "labeled_video_dataset"])
def test_folders_by_class_become_samples(classes, name):
    dataset = getattr(ours, name)(str(classes), SegmentClipSampler(8), SequentialSampler)
    assert type(dataset) is LabeledVideoDataset
    samples = list(dataset)
    assert (dataset.num_videos, len(samples)) == (8, 8)
    for sample in samples:
        number = int(sample["video_name"].removesuffix(".mp4"))
        assert sample["label"] == number % 2
        assert numbers_of(sample) == segment_indices(30 + number, 8).flatten().tolist()


def test_lists_with_a_prefix_become_samples(classes, tmp_path):
    (tmp_path / "train.csv").write_text("jump/0.mp4 5\nwalk/1.mp4 6\n")
    dataset = ours.Kinetics(
        str(tmp_path / "train.csv"), SegmentClipSampler(4), SequentialSampler, video_path_prefix=str(classes)
    )
    assert [(sample["label"], sample["video_name"]) for sample in dataset] == [(5, "0.mp4"), (6, "1.mp4")]


def test_hmdb51_reads_its_splits(classes, tmp_path):
    tags = "a_b_c_d_e_f_0.avi"
    write_index_video(tmp_path / "videos.avi", 40, codec="mpeg4")
    (tmp_path / "jump").mkdir()
    (tmp_path / "videos.avi").rename(tmp_path / "jump" / tags)
    (tmp_path / "jump_test_split1.txt").write_text(f"{tags} 1 \n")
    dataset = ours.Hmdb51(tmp_path, SegmentClipSampler(8), SequentialSampler, video_path_prefix=str(tmp_path))
    (sample,) = dataset
    assert sample["label"] == "jump"
    assert numbers_of(sample) == segment_indices(40, 8).flatten().tolist()


WORKERS = ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "forkserver"))]


@pytest.mark.parametrize("method", WORKERS)
def test_the_hosts_random_order_reaches_every_video_once_in_any_worker(classes, method):
    dataset = ours.Kinetics(str(classes), SegmentClipSampler(8, rule="random"))
    assert isinstance(dataset.video_sampler, RandomSampler)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=method, persistent_workers=True, timeout=120
    )
    orders = [[name for batch in loader for name in batch["video_name"]] for _ in range(3)]
    for order in orders:
        assert sorted(order) == [f"{number}.mp4" for number in range(8)]
    assert len({tuple(order) for order in orders}) == 3


def test_a_pickled_dataset_keeps_one_generator_and_its_state(classes):
    dataset = ours.Kinetics(str(classes), SegmentClipSampler(8))
    dataset._video_random_generator.manual_seed(5)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._video_random_generator is copy.video_sampler.generator
    assert list(copy.video_sampler) == list(dataset.video_sampler)


def test_an_existing_dataset_keeps_its_order_and_decodes_as_asked(classes):
    def stock() -> LabeledVideoDataset:
        return host.labeled_video_dataset(str(classes), SegmentClipSampler(8))

    dataset = stock()
    assert sparse_decoding(dataset, dtype="uint8") is dataset
    assert list(dataset.video_sampler) == list(stock().video_sampler)
    assert next(iter(dataset))["video"].dtype == torch.uint8


def test_stock_samplers_work_in_our_factories(classes):
    dataset = ours.Ucf101(str(classes), make_clip_sampler("uniform", Fraction(2, 5)), SequentialSampler)
    sample = next(iter(dataset))
    assert numbers_of(sample) == list(range(10))


def test_other_datasets_are_refused():
    with pytest.raises(TypeError, match=r"takes the host's LabeledVideoDataset, not list: pv_sparse.data has SSv2"):
        sparse_decoding([])
