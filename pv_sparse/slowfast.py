"""PySlowFast: our models and our data set under names in its registries, for its own training and test programs.

After `pv_sparse.register()`, in a configuration:

* `MODEL.MODEL_NAME` is an architecture of the zoo (`tsn_r50`), or the name of weights (`tsn_r50.mm_k400_1x1x8`), whose
  classifier is replaced where `MODEL.NUM_CLASSES` is another number; `MODEL.ARCH` is one of a single pathway (`slow`).
  `DATA.NUM_FRAMES` is the number of segments, `MODEL.DROPOUT_RATE` and `MODEL.HEAD_ACT` mean what they mean there.
* `TRAIN.DATASET` and `TEST.DATASET` are `ptvsparse`: the lists of SlowFast's Kinetics (`train.csv`, `val.csv`,
  `test.csv`), a frame from each of `DATA.NUM_FRAMES` segments in place of `DATA.SAMPLING_RATE`.

PySlowFast needs the host's git master. It starts processes for more than one GPU; each has to register too.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from pv_sparse.data.annotations import VideoList, read_path_list
from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.transforms import Normalization, create_sparse_video_transform
from pv_sparse.zoo.loading import build_model, load_model
from pv_sparse.zoo.weights import Weights, list_architectures

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "softmax": lambda: nn.Softmax(dim=-1),
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}
REGISTRIES = (("slowfast.models.build", "MODEL_REGISTRY"), ("slowfast.datasets.build", "DATASET_REGISTRY"))
Entry = tuple[Any, str, Callable[..., Any]]  # registry, name, what it makes


def entries() -> list[Entry]:
    """What belongs into PySlowFast's registries; nothing where it is not installed, or does not import."""
    if find_spec("slowfast") is None:
        return []
    try:
        models, datasets = (getattr(importlib.import_module(module), name) for module, name in REGISTRIES)
    except ImportError:
        return []
    return [(datasets, "Ptvsparse", Ptvsparse), *((models, name, make) for name, make in _model_makers())]


class SinglePathway(nn.Module):
    """A model of ours as PySlowFast calls it: a list of pathways in; scores out in eval mode, else logits."""

    def __init__(self, net: nn.Module, activation: str = "softmax"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"MODEL.HEAD_ACT={activation!r} is unknown: choose one of {', '.join(ACTIVATIONS)}")
        self.net, self.activation = net, ACTIVATIONS[activation]()

    def forward(self, x: list[Tensor], bboxes: None = None) -> Tensor:
        """[(N, C, T, H, W)] -> (N, num_classes).

        Raises:
            ValueError: several pathways.
        """
        if len(x) != 1:
            raise ValueError(f"{len(x)} pathways were given, and one is read: set MODEL.ARCH to slow, not to slowfast")
        logits: Tensor = self.net(x[0])
        return logits if self.training else self.activation(logits)


class Ptvsparse(Dataset[tuple[list[Tensor], int, int, Tensor, dict[str, Any]]]):
    """PySlowFast's Kinetics with sparse samples: ([clip], label, number, times in seconds, {}) of each clip.

    Training draws a frame from each segment, `MultiScaleCrop` and flips; validation takes the middles and a centre
    crop; a test `TEST.NUM_ENSEMBLE_VIEWS` sets of frames in `TEST.NUM_SPATIAL_CROPS` crops, 1 or 3. Files that cannot
    be read are substituted, but not in a test.

    Args:
        cfg: PySlowFast's configuration.
        mode: `train`, `val` or `test`.

    Raises:
        ValueError: settings that other data sets of PySlowFast have and this one has not.
    """

    def __init__(self, cfg: Any, mode: str):
        _check(cfg)
        is_test = mode == "test"
        self._crops = cfg.TEST.NUM_SPATIAL_CROPS if is_test else 1
        sampler = SegmentClipSampler(
            cfg.DATA.NUM_FRAMES,
            rule="random" if mode == "train" else "center",
            clips_per_video=cfg.TEST.NUM_ENSEMBLE_VIEWS if is_test else 1,
            augs_per_clip=self._crops,
        )
        self._clips = SparseVideoDataset(
            _videos(cfg, mode),
            sampler,
            _transform(cfg, mode, self._crops),
            seed=cfg.RNG_SEED,
            on_error="raise" if is_test else "substitute",
        )

    @property
    def num_videos(self) -> int:
        """Clips, as PySlowFast counts."""
        return len(self)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, number: int) -> tuple[list[Tensor], int, int, Tensor, dict[str, Any]]:
        sample = self._clips[number]
        views = sample["video"].unflatten(1, (self._crops, -1))  # (C, crops, T, H, W)
        clip = views[:, sample["aug_index"]].contiguous()
        return [clip], sample["label"], number, sample["frame_times_seconds"], {}

    def _set_epoch_num(self, epoch: float) -> None:
        """PySlowFast's `train_net` calls it before each epoch."""
        self._clips.set_epoch(int(epoch))


def _model_makers() -> Iterator[tuple[str, Callable[[Any], nn.Module]]]:
    for architecture, records in list_architectures().items():
        yield architecture, _maker(records[0], is_pretrained=False)
        yield from ((weights.name, _maker(weights, is_pretrained=True)) for weights in records)


def _maker(weights: Weights, is_pretrained: bool) -> Callable[[Any], nn.Module]:
    def make(cfg: Any) -> nn.Module:
        arguments = {"dropout": cfg.MODEL.DROPOUT_RATE}
        if "num_segments" in weights.build["arguments"]:  # the others take any number
            arguments["num_segments"] = cfg.DATA.NUM_FRAMES
        make_net = load_model if is_pretrained else build_model
        net = make_net(weights, cfg.MODEL.NUM_CLASSES, build_arguments=arguments)
        return SinglePathway(net, cfg.MODEL.HEAD_ACT).train()

    make.__name__ = make.__qualname__ = weights.name if is_pretrained else weights.architecture
    return make


def _check(cfg: Any) -> None:
    wanted = {
        "MULTIGRID.SHORT_CYCLE": not cfg.MULTIGRID.SHORT_CYCLE,
        "MULTIGRID.LONG_CYCLE": not cfg.MULTIGRID.LONG_CYCLE,
        "AUG.NUM_SAMPLE": cfg.AUG.NUM_SAMPLE <= 1,
        "TEST.NUM_SPATIAL_CROPS": cfg.TEST.NUM_SPATIAL_CROPS in (1, 3),
    }
    refused = [name for name, is_right in wanted.items() if not is_right]
    if refused:
        raise ValueError(
            f"the data set ptvsparse does not know this value of {refused[0]}: leave the default, or 3 crops"
        )


def _videos(cfg: Any, mode: str) -> VideoList:
    path = os.path.join(cfg.DATA.PATH_TO_DATA_DIR, f"{mode}.csv")
    return read_path_list(path, cfg.DATA.PATH_PREFIX)


def _transform(cfg: Any, mode: str, crops: int) -> nn.Module:
    size = cfg.DATA.TRAIN_CROP_SIZE if mode == "train" else cfg.DATA.TEST_CROP_SIZE
    # PySlowFast normalises RGB, and turns the channels round then.
    step, channel_order = (-1, "BGR") if cfg.DATA.REVERSE_INPUT_CHANNEL else (1, "RGB")
    return create_sparse_video_transform(
        mode,
        size=size,
        resize=max(size, cfg.DATA.TRAIN_JITTER_SCALES[0]),
        normalization=Normalization(cfg.DATA.MEAN[::step], cfg.DATA.STD[::step], channel_order=channel_order),
        flip_probability=0.5 if cfg.DATA.RANDOM_FLIP else 0.0,
        num_crops=crops,
    )
