"""What happens in a video: `recognize(path)`, or a `Recognizer` for many videos."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pv_sparse.data.segment_plan import Selector
from pv_sparse.early_exit import EarlyExit, check_can_exit, look_until_sure
from pv_sparse.errors import WeightsError, one_line
from pv_sparse.looking import Look, Viewer
from pv_sparse.models.logits import Logits, map_logits, to_scores
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.transforms import fold_views
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.weights import Categories, Weights

DEFAULT_WEIGHTS = "tsn_efficientnet_lite0.in1k"
# Frames that go through the model at a time: all views of a published test at once would not fit every GPU.
FRAMES_AT_ONCE = 256


@dataclass(frozen=True)
class Span:
    """A time in which a class is seen, in seconds from the first frame, and its highest score in it."""

    start_seconds: float
    end_seconds: float
    score: float


@dataclass(frozen=True)
class ClassScore:
    """One class of a result; `score`, in [0, 1], is after softmax, or sigmoid where several classes can be right.

    `task` is the model's, where it has several (`verb`, `noun`). `when` is given by `spot`.
    """

    index: int
    name: str
    score: float
    task: str | None = None
    when: list[Span] | None = None

    def __str__(self) -> str:
        return self.name if self.task is None else f"{self.task}: {self.name}"


@dataclass(frozen=True)
class Recognition:
    """The result for one video; where `error` is given, the fields after `weights` are None."""

    path: str
    error: str | None
    weights: str
    num_frames: int | None = None
    frame_indices: list[int] | None = None
    frame_times_seconds: list[float] | None = None
    classes: list[ClassScore] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts, as `pv-sparse recognize --json` prints; `task` and `when` where there are."""
        record = asdict(self)
        for entry in record["classes"] or ():
            for name in ("task", "when"):
                if entry[name] is None:
                    del entry[name]
        return record


def recognize(
    path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | Weights | None = None,
    top_k: int = 5,
    device: str = "cpu",
    select: str | Selector | None = None,
    confidence: float | None = None,
    max_segments: int = 16,
) -> Recognition:
    """The classes that a video most likely belongs to.

    Args:
        path: a video file.
        weights: what `load_model` takes; None is `tsn_efficientnet_lite0.in1k`.
        top_k: how many classes, best first, of each task.
        device: where the model runs, as torch names it.
        select: where to look: `motion`, `diverse`, or a selector; None is where the weights were published to.
        confidence: stop looking when the best class has this score; None looks at all frames of the published test.
        max_segments: with `confidence`: look at so many segments at most.

    Raises:
        FileNotFoundError, VideoDecodeError: a video that is not there, cannot be read, or was cut off.
        WeightsError: unknown weights, weights whose file cannot be had, or that read optical flow.
        ValueError: an unknown device or selector, a confidence outside of (0, 1], or a model that cannot stop early.
    """
    early_exit = None if confidence is None else EarlyExit(confidence, max_segments)
    return Recognizer(weights, device, select=select, early_exit=early_exit)(path, top_k)


class Recognizer:
    """A model ready for videos: its weights, its sampler and its transform, loaded once.

    Args:
        weights: as of `recognize`.
        device: as of `recognize`.
        all_views: show all frames and crops of the published test, not those of one look.
        precision, compiled: of `pv_sparse.optimize`; without them the model runs as it is.
        select: as of `recognize`.
        early_exit: when to stop looking; None looks at all frames.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        device: str = "cpu",
        all_views: bool = False,
        precision: str | None = None,
        compiled: bool = False,
        select: str | Selector | None = None,
        early_exit: EarlyExit | None = None,
    ):
        self.device = checked_device(device)
        self.weights = weights if isinstance(weights, Weights) else find_weights(os.fspath(weights or DEFAULT_WEIGHTS))
        self.viewer = Viewer(self.weights, all_views, select=select)
        self.model = optimized(load_model(self.weights, device=self.device), precision, compiled)
        self.early_exit = early_exit
        if early_exit is not None:
            check_can_exit(self.model, self.viewer)

    def __call__(self, path: str | os.PathLike[str], top_k: int = 5) -> Recognition:
        """The `top_k` best classes for the video at `path`."""
        look, scores = self.see(path)
        return self.describe(path, look, scores, top_k)

    def see(self, path: str | os.PathLike[str]) -> tuple[Look, Logits]:
        """What was seen of a video, and the scores of all of it; with `early_exit`, no more than was needed."""
        if self.early_exit is None:
            look = self.look(path)
            return look, self.scores(look)
        with self.viewer.open(path) as video:
            return look_until_sure(cast(SegmentNet, self.model), self.viewer, video, self.early_exit)

    def look(self, path: str | os.PathLike[str]) -> Look:
        """The frames that the weights want to see; `VideoDecodeError` for a file that was cut off."""
        return self.viewer.look(path)

    def scores(self, look: Look) -> Logits:
        """(num_classes,): what all frames together say, after softmax or sigmoid; of several tasks, a dict."""
        return map_logits(lambda scores: scores[0], self.scores_of(self.viewer.clip(look)[None]))

    def scores_of(self, videos: Tensor) -> Logits:
        """Clips of `Viewer.clip` (N, C, T, H, W) -> (N, num_classes), on the CPU, after softmax or sigmoid."""
        return map_logits(Tensor.cpu, self._scores_of_views(videos))

    def scores_of_each_frame(self, look: Look) -> Logits:
        """(T, num_classes): what each frame alone says, as a still video of it, as long as the model needs.

        Raises:
            WeightsError: the weights read differences of frames, and one alone has none.
        """
        if self.weights.modality != "rgb":
            raise WeightsError(f"{self.weights.name} reads differences of frames: a frame alone says nothing to it")
        frames = self.viewer.centre_crops(look)  # (T, 3, H, W)
        length = getattr(self.model, "num_segments", None) or 1
        stills = frames[:, :, None].expand(-1, -1, length, -1, -1)
        return map_logits(Tensor.cpu, to_scores(self._logits(stills), self.weights.multi_label))

    def describe(self, path: str | os.PathLike[str], look: Look, scores: Logits, top_k: int) -> Recognition:
        """The result record for scores (num_classes,), or those of each task."""
        if top_k < 1:
            raise ValueError(f"top_k={top_k} is not allowed: it must be at least 1")
        return Recognition(
            path=os.fspath(path),
            error=None,
            weights=self.weights.name,
            num_frames=look.num_frames,
            frame_indices=look.frame_indices,
            frame_times_seconds=look.frame_times_seconds,
            classes=best_classes(scores, self.weights.categories, top_k),
        )

    def failure(self, path: str | os.PathLike[str], error: Exception) -> Recognition:
        """The result record for a video that could not be read."""
        return Recognition(path=os.fspath(path), error=one_line(error), weights=self.weights.name)

    def _scores_of_views(self, videos: Tensor) -> Logits:
        """(N, C, V * T, H, W) -> (N, num_classes), the answers to the V views averaged as their publisher does."""
        num_views = self.viewer.num_views
        logits = self._logits(fold_views(videos, num_views))
        logits = map_logits(lambda own: torch.unflatten(own, 0, (-1, num_views)), logits)
        if self.weights.view_average == "logits":
            return to_scores(map_logits(lambda own: own.mean(dim=1), logits), self.weights.multi_label)
        return map_logits(lambda own: own.mean(dim=1), to_scores(logits, self.weights.multi_label))

    @torch.inference_mode()
    def _logits(self, videos: Tensor) -> Logits:
        at_once = max(1, FRAMES_AT_ONCE // videos.shape[2])
        answers = [self.model(some.to(self.device)) for some in torch.split(videos, at_once)]
        return map_logits(lambda *each: torch.cat(each).float(), *answers)


def best_classes(scores: Logits, categories: Categories, top_k: int, task: str | None = None) -> list[ClassScore]:
    """The `top_k` highest of scores (num_classes,), best first; of several tasks, one after another."""
    if isinstance(scores, dict):
        of_tasks = cast(Mapping[str, tuple[str, ...]], categories)
        return [entry for name, own in scores.items() for entry in best_classes(own, of_tasks[name], top_k, name)]
    names = cast(Sequence[str], categories)
    best = scores.topk(min(top_k, len(scores)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [ClassScore(index, names[index], score, task) for index, score in pairs]


def optimized(model: nn.Module, precision: str | None, compiled: bool) -> nn.Module:
    """What `pv_sparse.optimize` makes of the model; where neither is asked for, the model itself."""
    if precision is None and not compiled:
        return model
    from pv_sparse.inference import optimize

    return optimize(model, precision or "float32", compiled)


def default_device(name: str | None) -> str:
    """`name`; where it is None, `cuda` where torch sees a GPU, else `cpu`."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def checked_device(name: str) -> str:
    """`name`, if torch knows it and it is here; `ValueError` if not."""
    try:
        torch.empty(0, device=name).cpu()  # "meta" has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error).partition(". ")[0]
        raise ValueError(f"device={name!r} cannot be used ({reason}): try cpu, or cuda where there is a GPU") from error
    return name
