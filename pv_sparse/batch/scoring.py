"""From the clips of a chunk to the rows of its videos, through the model."""

from collections.abc import Iterable
from dataclasses import asdict
from operator import itemgetter
from typing import Any, cast

import numpy as np
import torch

from pv_sparse.batch.clips import Clip, split_transform, to_model
from pv_sparse.batch.job import Chunk, Job
from pv_sparse.models.features import check_has_features, video_features
from pv_sparse.models.logits import map_logits
from pv_sparse.recognition import FRAMES_AT_ONCE, Recognition, Recognizer, best_classes
from pv_sparse.transforms import fold_views

Row = dict[str, Any]


class Scorer:
    """A model and what is written of its answers.

    Args:
        job: weights and options.
        device: where the model runs.
        compiled: of `pv_sparse.optimize`.
    """

    def __init__(self, job: Job, device: str, compiled: bool = False):
        self.features, self.top_k = job.features, job.top_k
        self.recognizer = Recognizer(job.weights, device, job.all_views, job.precision, compiled)
        if job.features:
            check_has_features(self.recognizer.model)
        self.normalize = split_transform(job.weights, job.all_views)[1].to(device)

    def rows(self, chunk: Chunk, outcomes: Iterable[Clip | str]) -> list[Row]:
        """A row for each video of the chunk, in its order; clips of one shape go through the model together.

        Args:
            chunk: the videos.
            outcomes: of each, its clip, or what is wrong with it.
        """
        clips = dict(zip(chunk.numbers, outcomes, strict=True))
        answers: dict[int, Any] = {}
        for numbers in self._batches(clips):
            pixels = np.stack([cast(Clip, clips[number]).pixels for number in numbers])
            answers |= zip(numbers, self._answers(pixels), strict=True)
        return [
            self._row(number, path, clips[number], answers.get(number))
            for number, path in zip(chunk.numbers, chunk.paths, strict=True)
        ]

    def _batches(self, clips: dict[int, Clip | str]) -> Iterable[list[int]]:
        """Numbers of one shape; of all views of a published test, few at a time, for memory's sake."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, clip in clips.items():
            if isinstance(clip, Clip):
                by_shape.setdefault(clip.pixels.shape, []).append(number)
        for shape, numbers in by_shape.items():
            at_once = max(1, FRAMES_AT_ONCE // shape[1])
            yield from (numbers[start : start + at_once] for start in range(0, len(numbers), at_once))

    def _answers(self, pixels: np.ndarray) -> list[Any]:
        """(N, C, T, H, W) uint8 -> of each video, its best classes or its features."""
        videos = to_model(pixels, self.normalize, self.recognizer.device)
        if self.features:
            return [*self._features_of(videos)]
        scores, categories = self.recognizer.scores_of(videos), self.recognizer.weights.categories
        of_each = [map_logits(itemgetter(number), scores) for number in range(len(videos))]
        return [best_classes(own, categories, self.top_k) for own in of_each]

    @torch.inference_mode()
    def _features_of(self, videos: torch.Tensor) -> np.ndarray:
        """(N, C, V * T, H, W) -> (N, S, C') or (N, D); of several views, (N, V, ...)."""
        num_views = self.recognizer.viewer.num_views
        views = fold_views(videos, num_views)
        at_once = max(1, FRAMES_AT_ONCE // views.shape[2])
        model = self.recognizer.model
        features = torch.cat([video_features(model, some).cpu() for some in torch.split(views, at_once)])
        return (torch.unflatten(features, 0, (-1, num_views)) if num_views > 1 else features).numpy()

    def _row(self, number: int, path: str, clip: Clip | str, answer: Any) -> Row:
        name = self.recognizer.weights.name
        if isinstance(clip, str):
            return _as_row(number, Recognition(path, clip, name), None, self.features)
        seen = Recognition(path, None, name, clip.num_frames, clip.frame_indices, clip.frame_times_seconds)
        return _as_row(number, seen, answer, self.features)


def _as_row(number: int, seen: Recognition, answer: Any, features: bool) -> Row:
    row = {"number": number, **asdict(seen)}
    if not features:
        return {**row, "classes": None if answer is None else [asdict(entry) for entry in answer]}
    del row["classes"]
    shape = None if answer is None else [*answer.shape]
    return {**row, "features": None if answer is None else answer.ravel(), "features_shape": shape}
