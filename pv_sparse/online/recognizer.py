"""`OnlineRecognizer`: what happens in a stream, while it happens."""

import copy
import os

import numpy as np
import torch
from torch import Tensor, nn

from pv_sparse.online.arguments import check_transform, choose_memory, find_model, find_record, is_without_values
from pv_sparse.online.heads import OnlineHead, WholeHead
from pv_sparse.online.memories import Memory, WindowMemory
from pv_sparse.online.prediction import OnlinePrediction
from pv_sparse.online.sliding import SlidingEcoHead, can_slide
from pv_sparse.online.stepping import OnlineNetwork, OnlineState, check_average, step
from pv_sparse.recognition import checked_device
from pv_sparse.transforms.evaluation import EvaluationTransform
from pv_sparse.zoo.loading import load_model
from pv_sparse.zoo.weights import Weights


class OnlineRecognizer:
    """A model, and its memory of one stream: `update(frame)` for each frame, `reset()` before another stream.

    The 2-D network sees each frame at most once; what it makes of the frame is kept as long as the memory wants it.
    Time and memory a frame do not grow with the stream. ECO's 3-D network, too, computes only what is new in a window:
    with the memory `window` of 8 frames or more, for a model as it was built, on a CPU; elsewhere it runs whole. Of a
    model that `optimize` returned, the head always runs whole; a compiled one compiles again in the first updates,
    which bring other shapes than those it was checked with.

    Weights are read when the recogniser is made: make another after changing the model.

    Averaging is P_A := average * P + (1 - average) * P_A, of scores, after softmax or sigmoid; scores that are no
    numbers are forgotten with the next. ECO's released script (scripts/online_recognition) means to average logits, but
    a slip in its shapes leaves the order of the classes as it is without. It also crops its 340x256 frames at column
    60, row 16; `EvaluationTransform` crops at the centre, column 58.

    Args:
        model: what `load_model` takes; or a module with `backbone` and `head` in eval mode, as `create_tsn` and the
            others make it and `optimize` returns it. RGB, one frame a segment.
        weights: of a module, the record that its transform and its classes are taken from.
        memory: `window`, the last frames, with a prediction each frame; `paper` or `script`, ECO's long memories, with
            a prediction each `num_frames` (`pv_sparse.online.memories`); or a `Memory`. None is `paper` for ECO,
            `window` for all others.
        num_frames: N, that the network reads at once; None is what it was made for, or 8 where any number will do.
        average: the weight of the newest scores, in (0, 1]; None is the memory's: 0.5, or 1.0 (no averaging) for
            `window`.
        transform: from a clip (3, 1, H, W) of uint8 to floats (3, 1, h, w); None is that of the weights, without them
            `EvaluationTransform()`.
        device: where the model goes; None leaves a module where it is, and loads on the CPU.

    Attributes:
        network: what stays the same; the first argument of `step`.
        state: what `step` goes from and to. Nothing in it is ever changed in place: keep it, and set it again later.

    Raises:
        WeightsError: weights that cannot be had, or that read optical flow or differences of frames.
        ValueError: a model, a memory or numbers that do not go together; told before anything is downloaded.
    """

    def __init__(
        self,
        model: nn.Module | str | os.PathLike[str] | Weights,
        *,
        weights: Weights | None = None,
        memory: str | Memory | None = None,
        num_frames: int | None = None,
        average: float | None = None,
        transform: nn.Module | None = None,
        device: str | None = None,
    ):
        if device is not None:
            checked_device(device)
        if average is not None:
            check_average(average)
        check_transform(transform)
        record = find_record(model, weights)
        net = find_model(model, record, device)
        rule = choose_memory(net, memory, num_frames)
        if record is not None and is_without_values(net):
            net = load_model(record, device=device or "cpu")
        self.network = _network(net, rule, rule.average if average is None else average, transform, record)
        self.state = OnlineState()

    def update(self, frame: Tensor | np.ndarray) -> OnlinePrediction | None:
        """The prediction that this frame completes; None until the memory is full, and between its blocks.

        Args:
            frame: (3, H, W) uint8 tensor, or (H, W, 3) uint8 array; RGB. The size may change from frame to frame where
                the transform makes one size of all, as one with a crop does.

        Raises:
            ValueError: as of `step`; the state stays as it was.
        """
        self.state, prediction = step(self.network, self.state, frame)
        return prediction

    def reset(self) -> None:
        """Forget the stream: the next frame is number 0."""
        self.state = OnlineState()


def choose_head(head: nn.Module, memory: Memory, device: torch.device) -> OnlineHead:
    """The head as it is; or, for ECO's over a window on a CPU, what computes only the new part of each."""
    # A user's rule may repeat frames. On a GPU, whether the sliding head is a gain was never measured.
    if type(memory) is WindowMemory and device.type == "cpu" and can_slide(head, memory.num_frames):
        return SlidingEcoHead(head, memory.num_frames)  # type: ignore[arg-type]
    return WholeHead(head)


def _network(
    model: nn.Module, memory: Memory, average: float, transform: nn.Module | None, weights: Weights | None
) -> OnlineNetwork:
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    head = choose_head(model.head, memory, device)  # type: ignore[arg-type]
    # The sliding head has its weights as they are now; what comes before it must be of the same model.
    backbone = copy.deepcopy(model.backbone) if isinstance(head, SlidingEcoHead) else model.backbone
    if transform is None:
        transform = weights.transform(one_view=True) if weights else EvaluationTransform()
    return OnlineNetwork(
        backbone=backbone,  # type: ignore[arg-type]
        head=head,
        transform=transform,
        memory=memory,
        average=average,
        activation=getattr(model, "activation", None),
        categories=weights.categories if weights else None,
        multi_label=weights.multi_label if weights else False,
        device=device,
        dtype=next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32),
    )
