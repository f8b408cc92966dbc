"""One frame of a stream, as a pure function: `step(network, state, frame) -> (state, prediction)`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from pv_sparse.models.logits import Logits, map_logits, to_scores
from pv_sparse.online.heads import Maps, OnlineHead, SliceCache
from pv_sparse.online.memories import Held, Memory
from pv_sparse.online.prediction import OnlinePrediction
from pv_sparse.zoo.weights import Categories


@dataclass(frozen=True)
class OnlineNetwork:
    """What stays the same from frame to frame.

    Attributes:
        backbone: from an image (1, 3, h, w) to a tuple of maps, one a tap.
        head: from the maps of several frames to logits.
        transform: from a clip (3, 1, H, W) of uint8 to (3, 1, h, w) floats.
        memory: which frames are read, and when.
        average: the weight of the newest scores, in (0, 1].
        activation: from logits to scores where the model has one of its own.
        categories: the names of the classes.
        multi_label: whether several classes can be right: scores are sigmoids.
        device, dtype: of what the backbone takes.
    """

    backbone: nn.Module
    head: OnlineHead
    transform: nn.Module
    memory: Memory
    average: float = 1.0
    activation: nn.Module | None = None
    categories: Categories | None = None
    multi_label: bool = False
    device: torch.device = field(default_factory=partial(torch.device, "cpu"))
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        check_average(self.average)


@dataclass(frozen=True, eq=False)
class OnlineState:
    """What a stream has left behind: of the same size however long it was. Nothing of it is ever changed in place.

    Attributes:
        num_frames: that have come.
        held: the numbers of those in the memory.
        maps: what the 2-D network made of them.
        slices: what the head keeps of its last windows.
        scores: the running average.
    """

    num_frames: int = 0
    held: Held = field(default_factory=Held)
    maps: Mapping[int, Maps] = field(default_factory=dict, repr=False)
    slices: SliceCache = field(default=(), repr=False)
    scores: Logits | None = field(default=None, repr=False)


def step(
    network: OnlineNetwork, state: OnlineState, frame: Tensor | np.ndarray
) -> tuple[OnlineState, OnlinePrediction | None]:
    """The state after one more frame, and the prediction that it completes, if it does.

    Neither argument is changed, and nothing is kept elsewhere: from one state, one frame always gives the same. A frame
    that will never be read costs nothing; any other goes through the 2-D network once, now.

    Args:
        frame: (3, H, W) uint8 tensor, or (H, W, 3) uint8 array; RGB. The size may change from frame to frame where the
            transform makes one size of all.

    Raises:
        ValueError: a frame of another shape or dtype; or of which the transform makes no floats (3, 1, h, w), or
            another size than of those kept; a memory that reads what it did not hold.
    """
    with torch.inference_mode():
        after, prediction = _step(network, state, as_picture(frame))
    return after, None if prediction is None else _detached(prediction)


def check_average(average: object) -> None:
    """`ValueError` for what is no weight of the newest scores."""
    if not isinstance(average, float | int) or isinstance(average, bool) or not 0 < average <= 1:
        raise ValueError(
            f"average={average!r} is not allowed: it must be a number above 0 and at most 1 (no averaging)"
        )


def as_picture(frame: Tensor | np.ndarray) -> Tensor:
    """(3, H, W) uint8 of either kind of frame; `ValueError` for any other."""
    if isinstance(frame, np.ndarray):
        is_frame = frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
        if is_frame and frame.size:
            # Torch takes neither negative strides (BGR turned round) nor what may not be written to.
            return torch.from_numpy(np.require(frame, requirements=["C", "W"])).permute(2, 0, 1)
    elif isinstance(frame, Tensor):
        if frame.ndim == 3 and frame.shape[0] == 3 and frame.dtype == torch.uint8 and frame.numel():
            return frame
    else:
        raise ValueError(f"a {type(frame).__name__} was given as a frame: give a tensor or a NumPy array")
    raise ValueError(
        f"a frame of shape {tuple(frame.shape)} and {frame.dtype} was given: "
        "give RGB as a uint8 tensor (3, H, W) or a uint8 array (H, W, 3)"
    )


def _step(network: OnlineNetwork, state: OnlineState, picture: Tensor) -> tuple[OnlineState, OnlinePrediction | None]:
    number = state.num_frames
    held, is_due = network.memory.add(state.held, number)
    maps = _kept(network.memory, state, held, number)
    if number in held.frames:
        maps[number] = _look(network, picture, next(iter(maps.values()), None))
    if not is_due:
        return OnlineState(number + 1, held, maps, state.slices, state.scores), None
    head_logits, slices = network.head(state.slices, held.read, [maps[kept] for kept in held.read])
    newest = map_logits(_first, _scores(network, head_logits))
    scores = newest if state.scores is None else map_logits(partial(_average, network.average), newest, state.scores)
    prediction = OnlinePrediction(map_logits(_first, head_logits), scores, number, list(held.read), network.categories)
    return OnlineState(number + 1, held, maps, slices, scores), prediction


def _kept(memory: Memory, state: OnlineState, held: Held, number: int) -> dict[int, Maps]:
    """The maps of the frames before this one that are still held."""
    before = [frame for frame in held.frames if frame != number]
    lost = [frame for frame in before if frame not in state.maps]
    if lost:
        raise ValueError(
            f"the {type(memory).__name__} holds frame {lost[0]} after frame {number}, but not before it: "
            "hold a frame from when it comes until it is read last"
        )
    return {frame: state.maps[frame] for frame in before}


def _look(network: OnlineNetwork, picture: Tensor, known: Maps | None) -> Maps:
    """The maps of one frame; those of another are `known`, and must be alike."""
    clip = network.transform(picture[:, None])
    if clip.ndim != 4 or clip.shape[:2] != (3, 1) or not clip.is_floating_point():
        raise ValueError(
            f"the transform made {tuple(clip.shape)} of {clip.dtype} of a frame: it must give floats (3, 1, h, w)"
        )
    maps = tuple(network.backbone(clip.transpose(0, 1).to(network.device, network.dtype)))
    if known is not None and [m.shape for m in maps] != [m.shape for m in known]:
        raise ValueError(
            f"a frame of {picture.shape[2]}x{picture.shape[1]} pixels was given, which the transform makes another "
            "size of than of those before: crop to one size, or call reset()"
        )
    # A CUDA graph gives the same memory again and again.
    return tuple(m.clone() for m in maps) if network.device.type == "cuda" else maps


def _scores(network: OnlineNetwork, logits: Logits) -> Logits:
    if network.activation is not None:
        return map_logits(network.activation, logits)
    return to_scores(logits, network.multi_label)


def _first(values: Tensor) -> Tensor:
    """(1, num_classes) -> (num_classes,), as predictions have it."""
    return values[0].float().cpu()


def _average(weight: float, newest: Tensor, before: Tensor) -> Tensor:
    """The newest scores alone where nothing is averaged, or where those before are no numbers: they would stay so."""
    if weight == 1:
        return newest
    return torch.where(before.isfinite(), weight * newest + (1 - weight) * before, newest)


def _detached(prediction: OnlinePrediction) -> OnlinePrediction:
    """With tensors of its own, which may be written to and learned from."""
    with torch.inference_mode(False):
        logits, scores = (map_logits(Tensor.clone, own) for own in (prediction.logits, prediction.scores))
    return replace(prediction, logits=logits, scores=scores)
