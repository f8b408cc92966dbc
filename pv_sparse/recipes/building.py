"""From a configuration to data, model and module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from torch import nn

from pv_sparse.data.annotations import VideoList, spread_over
from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import NumClasses
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.recipes.classes import Classes, check_label_flips, count_classes, find_classes, in_order_of
from pv_sparse.recipes.config import instantiate, plain
from pv_sparse.recipes.data import VideoDataModule
from pv_sparse.recipes.inputs import ClipInput
from pv_sparse.zoo.loading import STARTS, find_weights, load_model
from pv_sparse.zoo.state_dicts import load_exactly
from pv_sparse.zoo.weights import Weights

SPLITS = ("train", "val", "test")
LOADING = ("num_workers", "drop_last", "index")


@dataclass(frozen=True)
class Recipe:
    """What a configuration describes.

    Attributes:
        data: the videos.
        model: with its first weights.
        weights: the record that the trained model is saved with.
    """

    data: VideoDataModule
    model: SegmentNet
    weights: Weights


def build(config: DictConfig) -> Recipe:
    """Read the lists, build the model, and check that they fit.

    Raises:
        PvSparseError, OSError, ValueError, TypeError: in one line, what of the configuration does not fit.
    """
    lists = read_lists(config)
    classes = find_classes(lists)
    if "num_classes" in config.model:
        raise PvSparseError("model.num_classes cannot be given: the data have the classes (data.classes names them)")
    arguments = {**plain(config.model), "num_classes": count_classes(classes)}
    builder = arguments.pop("_target_").rpartition(".")[2]
    model = build_model(config, count_classes(classes))
    clips = ClipInput.for_model(model, arguments.get("backbone", "resnet50"), plain(config.input))
    check_label_flips(clips.label_flips, classes)
    data = VideoDataModule(
        lists["train"],
        lists["val"],
        lists.get("test"),
        clips=clips,
        batch_size=_first_batch_size(config.data.batch_size),
        seed=config.seed,
        **{key: config.data[key] for key in LOADING},
    )
    build = {"builder": builder, "arguments": {key: value for key, value in arguments.items() if key not in STARTS}}
    return Recipe(data, model, _record(str(config.out), build, clips, classes, data.multi_label))


def read_lists(config: DictConfig) -> dict[str, VideoList]:
    """The videos of each split that the node `data` tells a reader for, with labels in the order of `data.classes`."""
    node, names = config.data, plain(config.data).get("classes")
    missing = [split for split in ("train", "val") if node.get(split) is None]
    if missing:
        raise PvSparseError(
            f"data.{missing[0]} is missing: training takes a list to learn from and one to validate with"
        )
    found = {split: instantiate(node[split]) for split in SPLITS if node.get(split) is not None}
    if names:
        found = {split: in_order_of(videos, names) for split, videos in found.items()}
    limits = {"train": config.limit_train_videos, "val": config.limit_val_videos, "test": config.limit_val_videos}
    return {split: _some(videos, limits[split]) for split, videos in found.items()}


def _some(videos: VideoList, limit: int | None) -> VideoList:
    if limit is not None and limit < 1:
        raise PvSparseError(f"a limit of {limit} videos is not allowed: it must be at least 1")
    return videos if limit is None else spread_over(videos, limit)


def empty_model(config: DictConfig, num_classes: NumClasses) -> SegmentNet:
    """The model with random weights."""
    return _instantiated(config, num_classes, **{key: None for key in STARTS if key in config.model})


def build_model(config: DictConfig, num_classes: NumClasses) -> SegmentNet:
    """The model with the weights that it starts from."""
    model = _instantiated(config, num_classes)
    if config.init is not None:
        start_from(model, str(config.init), config.model["_target_"].rpartition(".")[2], num_classes)
    return model


def _instantiated(config: DictConfig, num_classes: NumClasses, **arguments: Any) -> SegmentNet:
    model = instantiate(config.model, num_classes=num_classes, **arguments)
    if not isinstance(model, SegmentNet):
        raise PvSparseError(f"{config.model['_target_']} builds a {type(model).__name__}: training takes a SegmentNet")
    return model


def start_from(model: nn.Module, source: str, builder: str, num_classes: NumClasses) -> None:
    """Fill a model with all weights of another of its kind, but for a classifier of other classes.

    Args:
        model: of as many classes.
        source: a name of the zoo, or a file.
        builder: that made the model.
        num_classes: of the model.

    Raises:
        WeightsError: weights of another model.
    """
    weights = find_weights(source)
    if weights.build["builder"] != builder:
        raise PvSparseError(
            f"init={source} is of {weights.build['builder']}, and the model is of {builder}: give a model= of its kind"
        )
    has_other_classes = _plain(num_classes) != _plain(weights.num_classes)
    loaded = load_model(weights, num_classes if has_other_classes else None)
    load_exactly(model, loaded.state_dict(), f"init={source}", builder)


def _plain(num_classes: NumClasses) -> NumClasses:
    return dict(num_classes) if isinstance(num_classes, Mapping) else num_classes


def _first_batch_size(value: int | str) -> int:
    """`auto` is found later, beginning with 1."""
    if value == "auto":
        return 1
    if isinstance(value, int) and value > 0:
        return value
    raise PvSparseError(f"data.batch_size={value} is not allowed: give a number above 0, or auto")


def _record(name: str, build: dict[str, Any], clips: ClipInput, classes: Classes, multi_label: bool) -> Weights:
    return Weights(
        name=name,
        build=build,
        file={},
        sampling=clips.sampling(training=False),
        input=clips.evaluation_input(),
        categories=classes,
        multi_label=multi_label,
    )
