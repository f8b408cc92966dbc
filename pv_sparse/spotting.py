"""When each class is seen in a long video: scores of moments spread over it, and once more between the best ones.

A light temporal localisation, without proposals or training. A TSN is shown the frame of a moment as a still; a model
that reads the order of several segments (TRN, ECO) is shown so many, spread over the moment's share of the video.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter

import torch

from pv_sparse.data.video import SparseVideo
from pv_sparse.looking import look_at
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.recognition import ClassScore, Recognition, Recognizer, Span, best_classes

MOST_MOMENTS = 64
# A model that is shown several frames of each moment is shown fewer moments.
MOST_FRAMES = 128
# Pictures in their own size would fill the memory; one at a time, the frames between them would be decoded again.
FRAMES_AT_ONCE = 32
# Of its highest score: what a class has where it is seen.
SEEN_SHARE = 0.5


def spot(recognizer: Recognizer, path: str | os.PathLike[str], top_k: int = 5) -> Recognition:
    """The classes with the highest score in any moment, and when each was seen.

    Moments are up to 64, or 128 frames in all, at equal distances; then further ones, midway from the best one to its
    neighbours, and where a class comes or goes. A class is seen where its score is at least half of its highest, and
    until midway to the next moment where it is not.

    Args:
        recognizer: says what is in a moment; the views, frames and early exit that it would choose do not count.
        path: a video file.
        top_k: how many classes, best first, of each task.

    Returns:
        `classes` with their highest score, in [0, 1], and with `when`, in order of time; `frame_indices` of all frames
        that were looked at.

    Raises:
        FileNotFoundError, VideoDecodeError: a video that is not there, cannot be read, or was cut off.
        ValueError: `top_k` below 1.
    """
    with recognizer.viewer.open(path) as video:
        glance = _Glance(recognizer, video)
        glance.look(glance.spread())
        pairs = {pair for entry in glance.best(top_k) for pair in to_refine(glance.scores_of(entry))}
        glance.look(midways(glance.places, pairs))
        duration = float(video.duration_seconds)
        best = glance.best(top_k)
        classes = [replace(entry, when=spans(glance.seconds(), glance.scores_of(entry), duration)) for entry in best]
        frames = sorted(glance.frames)
        return Recognition(
            path=os.fspath(path),
            error=None,
            weights=recognizer.weights.name,
            num_frames=video.num_frames,
            frame_indices=frames,
            frame_times_seconds=video.frame_times_seconds[frames].tolist(),
            classes=classes,
        )


def seen(scores: Sequence[float]) -> list[int]:
    """The moments in which a class is seen."""
    least = SEEN_SHARE * max(scores)
    return [number for number, score in enumerate(scores) if score >= least]


def to_refine(scores: Sequence[float]) -> set[tuple[int, int]]:
    """Neighbours between which another moment tells more: those of the best one, and where a span begins or ends."""
    is_seen = set(seen(scores))
    best = max(is_seen, key=scores.__getitem__)
    pairs = pairwise(range(len(scores)))
    return {pair for pair in pairs if best in pair or len(is_seen.intersection(pair)) == 1}


def midways(places: Sequence[float], pairs: Iterable[tuple[int, int]]) -> list[float]:
    """Places midway between pairs of known ones, ascending, where a frame lies between them.

    Args:
        places: numbers of frames, whole or not.
        pairs: positions in `places`, the lower place first.
    """
    return sorted((places[a] + places[b]) / 2 for a, b in pairs if places[b] - places[a] >= 2)


def spans(seconds: Sequence[float], scores: Sequence[float], duration: float) -> list[Span]:
    """The times in which a class is seen, in order.

    Args:
        seconds: of the moments, ascending.
        scores: of the class in each.
        duration: of the video, in seconds.
    """
    borders = [0.0, *((a + b) / 2 for a, b in pairwise(seconds)), duration]
    found: list[Span] = []
    for number in seen(scores):
        begins = found and found[-1].end_seconds == borders[number]
        start = found.pop() if begins else Span(borders[number], 0.0, 0.0)
        found.append(Span(start.start_seconds, borders[number + 1], max(start.score, scores[number])))
    return found


class _Glance:
    """What a model says of moments of a video: places, which are numbers of frames, whole or not."""

    def __init__(self, recognizer: Recognizer, video: SparseVideo):
        self.places: list[float] = []
        self.frames: set[int] = set()
        self._recognizer, self._video = recognizer, video
        self._scores: list[Logits] = []  # of each place, (num_classes,)
        self._num_segments = getattr(recognizer.model, "num_segments", None) or 1
        self._length = recognizer.viewer.segments(video, 1).shape[1]
        num_moments = MOST_FRAMES // (self._num_segments * self._length)
        self._count = min(MOST_MOMENTS, max(1, num_moments), video.num_frames)

    def spread(self) -> list[float]:
        """The first places: the middles of parts of equal length."""
        return [(number + 0.5) * self._video.num_frames / self._count - 0.5 for number in range(self._count)]

    def look(self, places: Sequence[float]) -> None:
        """Show the model these as well."""
        at_once = max(1, FRAMES_AT_ONCE // (self._num_segments * self._length))
        parts = [places[first : first + at_once] for first in range(0, len(places), at_once)]
        scores = [*self._scores, *(scores for part in parts for scores in self._scores_at(part))]
        order = sorted(range(len(scores)), key=[*self.places, *places].__getitem__)
        self.places = sorted([*self.places, *places])
        self._scores = [scores[i] for i in order]

    def best(self, top_k: int) -> list[ClassScore]:
        """The classes by their highest score."""
        highest = map_logits(lambda *each: torch.stack(each).amax(dim=0), *self._scores)
        return best_classes(highest, self._recognizer.weights.categories, top_k)

    def scores_of(self, entry: ClassScore) -> list[float]:
        """Of a class at each place."""
        of_task = [scores[entry.task or ""] if isinstance(scores, dict) else scores for scores in self._scores]
        return [float(scores[entry.index]) for scores in of_task]

    def seconds(self) -> list[float]:
        """Of each place."""
        times = self._video.frame_times_seconds
        return [float(times[min(round(place), len(times) - 1)]) for place in self.places]

    def _scores_at(self, places: Sequence[float]) -> list[Logits]:
        frames = [self._frames_at(place) for place in places]
        self.frames.update(*frames)
        look = look_at(self._video, torch.tensor(frames).flatten())
        of_each = torch.chunk(look.frames, len(places))
        clips = [self._recognizer.viewer.clip(replace(look, frames=own)) for own in of_each]
        scores = self._recognizer.scores_of(torch.stack(clips))
        return [map_logits(itemgetter(number), scores) for number in range(len(places))]

    def _frames_at(self, place: float) -> list[int]:
        """As many segments as the model reads, around the place, over its share of the video."""
        step = self._video.num_frames / self._count / self._num_segments
        middles = [place + (number - (self._num_segments - 1) / 2) * step for number in range(self._num_segments)]
        starts = [round(middle - (self._length - 1) / 2) for middle in middles]
        last = self._video.num_frames - 1
        return [min(max(start + i, 0), last) for start in starts for i in range(self._length)]
