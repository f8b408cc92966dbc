"""The host's dataset factories, with our decoder behind them; `sparse_decoding` for a dataset that is there already."""

from collections.abc import Callable
from typing import Any

import pytorchvideo.data as host
import torch
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipSampler
from torch.utils.data import RandomSampler, Sampler

from pv_sparse.data.path_handler import SparseVideoPathHandler

Transform = Callable[[dict[str, Any]], Any]


def labeled_video_dataset(
    data_path: str,
    clip_sampler: ClipSampler,
    video_sampler: type[Sampler[int]] = RandomSampler,
    transform: Transform | None = None,
    video_path_prefix: str = "",
    decode_audio: bool = True,
    decoder: str = "pyav",
) -> LabeledVideoDataset:
    """Videos of a list or of folders by class: the host's function of this name, and `sparse_decoding`.

    `Kinetics` and `Ucf101` are this function too, as they are in the host.

    Args:
        data_path: a file with a path and a label on each line, or a folder with a folder of videos for each class.
        clip_sampler: `SegmentClipSampler`, or one of the host's.
        video_sampler: a class that says in which order videos come, and which of them in which process.
        transform: of each sample.
        video_path_prefix: before each path of a list.
        decode_audio: taken and not used: audio is not decoded.
        decoder: taken and not used: the decoder is ours.
    """
    return sparse_decoding(
        host.labeled_video_dataset(
            data_path, clip_sampler, video_sampler, transform, video_path_prefix, decode_audio, decoder
        )
    )


Kinetics = Ucf101 = labeled_video_dataset


def Hmdb51(  # noqa: N802
    data_path: Any,
    clip_sampler: ClipSampler,
    video_sampler: type[Sampler[int]] = RandomSampler,
    transform: Transform | None = None,
    video_path_prefix: str = "",
    split_id: int = 1,
    split_type: str = "train",
    decode_audio: bool = True,
    decoder: str = "pyav",
) -> LabeledVideoDataset:
    """HMDB51: the host's function of this name, and `sparse_decoding`.

    Args:
        data_path: the folder of the splits (`brush_hair_test_split1.txt` and so on).
        split_id: 1, 2 or 3.
        split_type: `train`, `test` or `unused`.
        video_path_prefix: the folder of the videos.

    The other arguments are those of `labeled_video_dataset`; labels are the names of the classes.
    """
    return sparse_decoding(
        host.Hmdb51(
            data_path,
            clip_sampler,
            video_sampler,
            transform,
            video_path_prefix,
            split_id,
            split_type,
            decode_audio,
            decoder,
        )
    )


def sparse_decoding(dataset: LabeledVideoDataset, dtype: str = "float32") -> LabeledVideoDataset:
    """Have a dataset of the host decode with `SparseVideo`, and let it be sent to spawned workers.

    The generator that the host gives its `RandomSampler` cannot be sent to a worker that starts afresh (spawn,
    forkserver); one of the same state that can takes its place. The order of the videos stays what it was, the same in
    all workers; persistent workers, which in the host repeat it, have another in each epoch.

    Args:
        dataset: a `LabeledVideoDataset`, as nearly all factories of the host return; it is changed.
        dtype: of the clips, see `SparseVideoPathHandler`.

    Returns:
        The same dataset.

    Raises:
        TypeError: another dataset, such as the host's own SSv2 and Charades.
    """
    if not isinstance(dataset, LabeledVideoDataset):
        raise TypeError(
            f"sparse_decoding takes the host's LabeledVideoDataset, not {type(dataset).__name__}: "
            "pv_sparse.data has SSv2 and Charades of its own"
        )
    dataset.video_path_handler = SparseVideoPathHandler(dtype)
    if dataset._video_random_generator is not None:
        generator = _generator_with(dataset._video_random_generator.get_state().numpy().tobytes())
        dataset._video_random_generator = dataset._video_sampler.generator = generator
    return dataset


class _SendableGenerator(torch.Generator):
    """A generator that is pickled as its state, and that persistent workers may seed alike in every epoch."""

    _given: tuple[int | None, int] = (None, 0)

    def manual_seed(self, seed: int) -> torch.Generator:
        """In a worker, a seed that is given again stands for the next order; the same in all workers.

        The host seeds each epoch with what its workers were started with: persistent workers would repeat one order.
        """
        last, times = self._given
        times = times + 1 if seed == last and torch.utils.data.get_worker_info() is not None else 0
        self._given = seed, times
        return super().manual_seed(seed + times)

    def __reduce__(self) -> tuple[Any, ...]:
        return _generator_with, (self.get_state().numpy().tobytes(),)


def _generator_with(state: bytes) -> _SendableGenerator:
    generator = _SendableGenerator()
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
