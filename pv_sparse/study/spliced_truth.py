"""What a recogniser says of clips alone, and how often it says the same of videos that they are spliced into."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.segment_plan import Selector
from pv_sparse.data.video import SparseVideo
from pv_sparse.recognition import Recognizer
from pv_sparse.study.spliced import write_excerpt
from pv_sparse.zoo.weights import Weights

# The classes of distracting footage that do not count: so many of each file.
SET_ASIDE = 10
# Frames that distracting footage is judged by, at most.
FOOTAGE_FRAMES = 64


@dataclass(frozen=True)
class Truth:
    """What is right, by the recogniser itself.

    Attributes:
        classes: of each clip, the best class of all its frames together, but for those set aside.
        set_aside: class numbers, those of the footage.
    """

    classes: tuple[int, ...]
    set_aside: tuple[int, ...]


@dataclass(frozen=True)
class SplicedFigures:
    """Of one way to choose frames.

    Attributes:
        select: the selector's name, or `even`.
        num_segments: frames that were looked at.
        first: share of the videos whose best class, but for those set aside, is that of the clip.
        top5: share of the videos with the class of the clip among the best five of all classes.
        in_clip: share of the frames looked at that lie in the clip.
        cpu_seconds: of all videos: opening, choosing, decoding, network.
    """

    select: str
    num_segments: int
    first: float
    top5: float
    in_clip: float
    cpu_seconds: float


def truth_of(weights: Weights, clips: Sequence[Path], distractors: Sequence[Path], folder: Path) -> Truth:
    """What the recogniser says of clips and of footage alone, encoded as they are in spliced videos.

    Footage has classes of its own, and fills nine tenths of a video: they would be right of most frames, and still
    wrong. The ten best classes of each distractor are therefore set aside, for the clips and for the videos alike.

    Args:
        weights: of a model that averages over segments (TSN).
        clips, distractors: as of `splice`.
        folder: of the files of the clips and the footage alone.

    Raises:
        ValueError: two clips of one class, of which a video does not tell which it holds.
    """
    set_aside = set[int]()
    for distractor in distractors:
        alone = write_excerpt(distractor, folder / "footage", seconds=float("inf"))
        set_aside.update(_scores(weights, alone, FOOTAGE_FRAMES).topk(SET_ASIDE).indices.tolist())
    aside = tuple(sorted(set_aside))
    scores = [_scores(weights, write_excerpt(clip, folder / "clips")) for clip in clips]
    classes = tuple(_best(own, aside) for own in scores)
    if len(set(classes)) < len(classes):
        told = ", ".join(f"{clip.stem} {number}" for clip, number in zip(clips, classes, strict=True))
        raise ValueError(f"two clips are of one class ({told}): give clips that the weights tell apart")
    return Truth(classes, aside)


def figures_of(
    videos: VideoList, truth: Truth, weights: Weights, num_segments: int, select: str | Selector | None = None
) -> SplicedFigures:
    """How often a spliced video gives the class of its clip.

    Args:
        videos: of `splice`, with the clips in the order of `truth`.
        truth: of the same weights.
        weights: as of `truth_of`.
        num_segments: frames to look at.
        select: as of `Recognizer`; None looks at the middles of even segments.
    """
    recognizer = Recognizer(_with_segments(weights, num_segments), select=select)
    first, top5, in_clip = [], [], []
    begin = time.process_time()
    for path, info in videos.samples:
        look, scores = recognizer.see(path)
        assert isinstance(scores, Tensor)  # one task
        wanted = truth.classes[info["label"]]
        first.append(_best(scores, truth.set_aside) == wanted)
        top5.append(wanted in scores.topk(5).indices)
        start, end = info["event_seconds"]
        in_clip += [start - 1e-6 <= seconds < end - 1e-6 for seconds in look.frame_times_seconds]
    seconds = time.process_time() - begin
    name = "even" if select is None else select if isinstance(select, str) else type(select).__name__.lower()
    return SplicedFigures(name, num_segments, _share(first), _share(top5), _share(in_clip), seconds)


def _scores(weights: Weights, path: Path, most: int | None = None) -> Tensor:
    """(num_classes,) of all frames together, or of so many, evenly spread."""
    with SparseVideo(path, threads=1) as video:
        num_frames = video.num_frames if most is None else min(video.num_frames, most)
    _, scores = Recognizer(_with_segments(weights, num_frames)).see(path)
    assert isinstance(scores, Tensor)  # one task
    return scores


def _best(scores: Tensor, set_aside: Sequence[int]) -> int:
    kept = scores.clone()
    kept[list(set_aside)] = -torch.inf
    return int(kept.argmax())


def _with_segments(weights: Weights, num_segments: int) -> Weights:
    return replace(weights, sampling={"rule": "center", "num_segments": num_segments}, one_view={})


def _share(told: Sequence[bool]) -> float:
    return sum(told) / len(told)
