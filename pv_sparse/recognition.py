"""What happens in a video: `recognize(path)`, or a `Recognizer` for many videos."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor

from pv_sparse.data.video import SparseVideo
from pv_sparse.errors import VideoDecodeError, WeightsError, one_line
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.weights import Categories, Weights

DEFAULT_WEIGHTS = "tsn_efficientnet_lite0.in1k"
# A file with less of its declared frames was cut off: a judgement on the rest would look like one on the whole.
LEAST_DECODED_SHARE = 0.95


@dataclass(frozen=True)
class ClassScore:
    """One class of a result; `score`, in [0, 1], is after softmax, or sigmoid where several classes can be right.

    `task` is the model's, where it has several (`verb`, `noun`).
    """

    index: int
    name: str
    score: float
    task: str | None = None

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
        """Plain numbers, lists and texts, as `pv-sparse recognize --json` prints them; `task` only of several tasks."""
        record = asdict(self)
        for entry in record["classes"] or ():
            if entry["task"] is None:
                del entry["task"]
        return record


@dataclass(frozen=True)
class Look:
    """What was seen of a video.

    Attributes:
        frames: (T, 3, H, W) uint8 RGB, in the video's own size.
        frame_indices: T frame numbers.
        frame_times_seconds: when each is shown, from the first frame of the video.
        num_frames: of the whole video.
        duration_seconds: of the whole video.
    """

    frames: Tensor
    frame_indices: list[int]
    frame_times_seconds: list[float]
    num_frames: int
    duration_seconds: float


def recognize(
    path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | Weights | None = None,
    top_k: int = 5,
    device: str = "cpu",
) -> Recognition:
    """The classes that a video most likely belongs to.

    Args:
        path: a video file.
        weights: what `load_model` takes; None is `tsn_efficientnet_lite0.in1k`.
        top_k: how many classes, best first, of each task.
        device: where the model runs, as torch names it.

    Raises:
        FileNotFoundError, VideoDecodeError: a video that is not there, cannot be read, or was cut off.
        WeightsError: unknown weights, weights whose file cannot be had, or that read optical flow.
    """
    return Recognizer(weights, device)(path, top_k)


class Recognizer:
    """A model ready for videos: its weights, its sampler and its transform, loaded once."""

    def __init__(self, weights: str | os.PathLike[str] | Weights | None = None, device: str = "cpu"):
        self.device = checked_device(device)
        self.weights = weights if isinstance(weights, Weights) else find_weights(os.fspath(weights or DEFAULT_WEIGHTS))
        if self.weights.modality == "flow":
            raise WeightsError(
                f"{self.weights.name} reads optical flow, a video file has RGB frames: choose weights without _flow"
            )
        self.model = load_model(self.weights, device=self.device)
        self.transform = self.weights.transform(one_view=True)

    def __call__(self, path: str | os.PathLike[str], top_k: int = 5) -> Recognition:
        """The `top_k` best classes for the video at `path`."""
        look = self.look(path)
        return self.describe(path, look, self.scores(look), top_k)

    def look(self, path: str | os.PathLike[str]) -> Look:
        """The frames that the weights want to see; `VideoDecodeError` for a file that was cut off."""
        with SparseVideo(path) as video:
            if video.decoded_share < LEAST_DECODED_SHARE:
                raise VideoDecodeError(
                    video.path,
                    f"the file was cut off: {video.decoded_share:.0%} of its declared frames can be decoded, "
                    f"{LEAST_DECODED_SHARE:.0%} are needed",
                )
            indices = self.weights.indices(video.num_frames).flatten()
            times = video.frame_times_seconds
            return Look(
                frames=video.frames_at(indices),
                frame_indices=indices.tolist(),
                frame_times_seconds=times[indices].tolist(),
                num_frames=video.num_frames,
                duration_seconds=float(video.duration_seconds),
            )

    def scores(self, look: Look) -> Logits:
        """(num_classes,): what all frames together say, after softmax or sigmoid; of several tasks, a dict."""
        return map_logits(lambda scores: scores[0], self._run(self.transform(look.frames.transpose(0, 1))[None]))

    def scores_of_each_frame(self, look: Look) -> Logits:
        """(T, num_classes): what each frame alone says, as a still video of it, as long as the model needs.

        Raises:
            WeightsError: the weights read differences of frames, and one alone has none.
        """
        if self.weights.modality != "rgb":
            raise WeightsError(f"{self.weights.name} reads differences of frames: a frame alone says nothing to it")
        frames = self.transform(look.frames.transpose(0, 1)).transpose(0, 1)  # (T, 3, H, W)
        length = getattr(self.model, "num_segments", None) or 1
        return self._run(frames[:, :, None].expand(-1, -1, length, -1, -1))

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

    @torch.inference_mode()
    def _run(self, video: Tensor) -> Logits:
        return map_logits(self._normalized, self.model(video.to(self.device)))

    def _normalized(self, logits: Tensor) -> Tensor:
        scores = logits.float()
        return (scores.sigmoid() if self.weights.multi_label else scores.softmax(dim=-1)).cpu()


def best_classes(scores: Logits, categories: Categories, top_k: int, task: str | None = None) -> list[ClassScore]:
    """The `top_k` highest of scores (num_classes,), best first; of several tasks, one after another."""
    if isinstance(scores, dict):
        of_tasks = cast(Mapping[str, tuple[str, ...]], categories)
        return [entry for name, own in scores.items() for entry in best_classes(own, of_tasks[name], top_k, name)]
    names = cast(Sequence[str], categories)
    best = scores.topk(min(top_k, len(scores)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [ClassScore(index, names[index], score, task) for index, score in pairs]


def checked_device(name: str) -> str:
    """`name`, if torch knows it and it is here; `ValueError` if not."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error).partition(". ")[0]
        raise ValueError(f"device={name!r} cannot be used ({reason}): try cpu, or cuda where there is a GPU") from error
    return name
