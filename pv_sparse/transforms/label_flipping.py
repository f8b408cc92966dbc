"""Mirroring clips whose class says left or right: the label becomes that of the mirrored action."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pv_sparse.transforms.flipping import flip_clip
from pv_sparse.transforms.segments import get_video

Pairs = Sequence[Sequence[int]]
# By class list, as the files in model_zoo/categories/ are called: an order of classes is part of what a pair means.
LABEL_FLIPS: dict[str, tuple[tuple[int, int], ...]] = {
    # Pulling, pushing, and turning the camera.
    "something_v1": ((86, 87), (93, 94), (166, 167)),
    "something_v1_csv_order": ((66, 52), (30, 41), (2, 4)),  # mmaction2's, and Caffe ECO's
    "something_v2": ((86, 87), (93, 94), (166, 167)),
    # Sliding two fingers, swiping, and turning the hand clockwise or counterclockwise.
    "jester": ((11, 12), (16, 17), (21, 22)),
}


class RandomLabelFlip(nn.Module):
    """Mirror a sample's clip left and right, and its label with it; or neither.

    `Flip` of mmaction2 with its `flip_label_map`. Where to put it: before normalising, and in the place of
    `RandomClipFlip`, such as before `create_sparse_video_transform("train", flip_probability=0)`. The originals of TRN
    mirror without changing labels.

    Args:
        pairs: of labels that are each other's mirror image, or a name of `LABEL_FLIPS`; of several tasks,
            `{task: pairs}`. Labels in no pair stay.
        p: the chance of a flip, 0 to 1.
        video_key: of the clip in the sample, or of several clips.
        label_key: of the label: an integer, or a dict of them by task.

    Raises:
        ValueError: an unknown name, pairs that are none, or a p that is no chance.
    """

    def __init__(
        self,
        pairs: str | Pairs | Mapping[str, Pairs | str],
        p: float = 0.5,
        video_key: str = "video",
        label_key: str = "label",
    ):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p={p} is not allowed: a chance is from 0 to 1")
        self.p = p
        self.video_key = video_key
        self.label_key = label_key
        self._by_task = {task: _mirror_of(own) for task, own in pairs.items()} if isinstance(pairs, Mapping) else None
        self._mirror = {} if isinstance(pairs, Mapping) else _mirror_of(pairs)

    def forward(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A sample with clips (C, T, H, W), uint8 or float, 0 to 255 -> a new one; one draw of torch's generator.

        Raises:
            ValueError: no such keys, or a label of another form.
        """
        clip, label = get_video(sample, self.video_key), self._mirrored(sample)
        if torch.rand(()) >= self.p:
            return dict(sample)
        flipped = flip_clip(clip) if isinstance(clip, Tensor) else [flip_clip(each) for each in clip]
        return {**sample, self.video_key: flipped, self.label_key: label}

    def _mirrored(self, sample: Mapping[str, Any]) -> int | dict[str, int]:
        if self.label_key not in sample:
            raise ValueError(f"the sample has no {self.label_key!r}, only {', '.join(sample)}")
        label = sample[self.label_key]
        if self._by_task is None:
            return self._swapped(label, self._mirror)
        if not isinstance(label, Mapping) or not self._by_task.keys() <= label.keys():
            raise ValueError(f"the label is {label!r}: it must be a dict, with the tasks {', '.join(self._by_task)}")
        return {task: self._swapped(own, self._by_task.get(task, {})) for task, own in label.items()}

    @staticmethod
    def _swapped(label: Any, mirror: Mapping[int, int]) -> Any:
        if not mirror:
            return label
        if isinstance(label, bool) or not isinstance(label, int):
            raise ValueError(f"the label is {label!r}: it must be an integer, or a dict of them with pairs by task")
        return mirror.get(label, label)

    def extra_repr(self) -> str:
        return f"p={self.p}, {self._mirror if self._by_task is None else self._by_task}"


def _mirror_of(pairs: str | Pairs) -> dict[int, int]:
    """label -> its mirror image."""
    if isinstance(pairs, str):
        if pairs not in LABEL_FLIPS:
            raise ValueError(f"pairs={pairs!r} are unknown: choose one of {', '.join(LABEL_FLIPS)}, or give pairs")
        return _mirror_of(LABEL_FLIPS[pairs])
    mirror: dict[int, int] = {}
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or min(pair) < 0 or set(pair) & mirror.keys():
            raise ValueError(f"{tuple(pair)} is not allowed in pairs: give two labels, none of them twice")
        mirror |= {pair[0]: pair[1], pair[1]: pair[0]}
    return mirror
