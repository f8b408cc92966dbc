"""What a recogniser says of clips alone, and how often it says the same of videos that they are spliced into."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.segment_plan import Selector
from pv_sparse.data.video import SparseVideo
from pv_sparse.looking import Viewer
from pv_sparse.recognition import Recognizer
from pv_sparse.study.spliced import write_excerpt
from pv_sparse.zoo.weights import Weights

# The best classes of distracting footage, which no clip may have: so many of each file.
OF_FOOTAGE = 10
# Frames that distracting footage is judged by, at most.
FOOTAGE_FRAMES = 64
# Folders of the files of each alone.
CLIPS, FOOTAGE = "clips", "footage"


@dataclass(frozen=True)
class Truth:
    """What is right, by the recogniser itself.

    Attributes:
        classes: of each clip alone, the best class of all its frames together.
        footage: (num_classes,) log of the scores of the footage alone, the mean of all distractors.
    """

    classes: tuple[int, ...]
    footage: Tensor

    def rise(self, scores: Tensor) -> Tensor:
        """(num_classes,): how much likelier each class is in a video than in footage alone, as a difference of logs."""
        return scores.log() - self.footage


@dataclass(frozen=True)
class SplicedFigures:
    """Of one way to choose frames.

    Attributes:
        select: the selector's name, or `even`.
        num_segments: frames that were looked at.
        first: share of the videos in which, of the classes of all clips, that of the own clip rises most.
        top5: share of the videos with the class of the clip among the five of all classes that rise most.
        in_clip: share of the frames looked at that lie in the clip.
        cpu_seconds: of all videos: opening, choosing, decoding, transform, network.
        decode_cpu_seconds: the part of it before the network.
        num_videos: of the test.
    """

    select: str
    num_segments: int
    first: float
    top5: float
    in_clip: float
    cpu_seconds: float
    decode_cpu_seconds: float
    num_videos: int


def truth_of(weights: Weights, clips: Sequence[Path], distractors: Sequence[Path], folder: Path) -> Truth:
    """What the recogniser itself says of each clip alone, encoded as it is in spliced videos: its best class.

    Footage fills nine tenths of a video: the best classes of nearly every one are its own, and even of classes that it
    does not show some have a hundred times the score of others. What a video says of its clip is therefore how much its
    scores rise above those of footage alone (`Truth.rise`). No clip may be of a class of the footage.

    Args:
        weights: of a model that averages over segments (TSN).
        clips, distractors: as of `splice`.
        folder: of the files of the clips and the footage alone.

    Raises:
        ValueError: two clips of one class, or a clip of one of the ten best classes of a distractor.
    """
    classes = tuple(int(_scores(weights, write_excerpt(clip, folder / CLIPS)).argmax()) for clip in clips)
    taken, footage = dict[int, Path](), []
    for distractor in distractors:
        alone = write_excerpt(distractor, folder / FOOTAGE, seconds=float("inf"))
        footage.append(_scores(weights, alone, FOOTAGE_FRAMES))
        taken |= dict.fromkeys(footage[-1].topk(OF_FOOTAGE).indices.tolist(), distractor)
    for clip, number in zip(clips, classes, strict=True):
        if number in taken:
            raise ValueError(f"{clip} and {taken[number]} are both of class {number}: leave one of them out")
        taken[number] = clip
    return Truth(classes, torch.stack(footage).log().mean(dim=0))


class _Seen(NamedTuple):
    """Of one video: what was right, whether each frame lies in the clip, and CPU seconds before and in the network."""

    first: bool
    top5: bool
    in_clip: list[bool]
    decode_seconds: float
    model_seconds: float


def figures_of(
    videos: VideoList,
    truth: Truth,
    weights: Weights,
    num_segments: int,
    select: str | Selector | None = None,
    device: str = "cpu",
) -> SplicedFigures:
    """How often a spliced video gives the class of its clip.

    Args:
        videos: of `splice`, with the clips in the order of `truth`.
        truth: of `truth_of`, with the same weights.
        weights: as of `truth_of`.
        num_segments: frames to look at.
        select: as of `Recognizer`; None looks at the middles of even segments.
        device: as of `Recognizer`.
    """
    own = _with_segments(weights, num_segments)
    viewer, recognizer = Viewer(own, threads=1, select=select), Recognizer(own, device)
    recognizer.scores(viewer.look(videos.samples[0][0]))  # what happens once, at the first call, is no part of it
    seen = [_seen(path, info, truth, viewer, recognizer) for path, info in videos.samples]
    decode_seconds = sum(each.decode_seconds for each in seen)
    return SplicedFigures(
        select="even" if select is None else select if isinstance(select, str) else type(select).__name__.lower(),
        num_segments=num_segments,
        first=_share([each.first for each in seen]),
        top5=_share([each.top5 for each in seen]),
        in_clip=_share([own for each in seen for own in each.in_clip]),
        cpu_seconds=decode_seconds + sum(each.model_seconds for each in seen),
        decode_cpu_seconds=decode_seconds,
        num_videos=len(seen),
    )


def _seen(path: str, info: Mapping[str, Any], truth: Truth, viewer: Viewer, recognizer: Recognizer) -> _Seen:
    begin = time.process_time()
    look = viewer.look(path)
    clip = viewer.clip(look)
    decoded = time.process_time()
    scores = recognizer.scores_of(clip[None])
    end = time.process_time()
    assert isinstance(scores, Tensor)  # one task
    rise, classes, own = truth.rise(scores[0]), list(truth.classes), info["label"]
    first, last = info["event_seconds"]
    return _Seen(
        first=int(rise[classes].argmax()) == own,
        top5=classes[own] in rise.topk(5).indices,
        in_clip=[first - 1e-6 <= seconds < last - 1e-6 for seconds in look.frame_times_seconds],
        decode_seconds=decoded - begin,
        model_seconds=end - decoded,
    )


def _scores(weights: Weights, path: Path, most: int | None = None) -> Tensor:
    """(num_classes,) of all frames together, or of so many, evenly spread."""
    with SparseVideo(path, threads=1) as video:
        num_frames = video.num_frames if most is None else min(video.num_frames, most)
    _, scores = Recognizer(_with_segments(weights, num_frames)).see(path)
    assert isinstance(scores, Tensor)  # one task
    return scores


def _with_segments(weights: Weights, num_segments: int) -> Weights:
    return replace(weights, sampling={"rule": "center", "num_segments": num_segments}, one_view={})


def _share(told: Sequence[bool]) -> float:
    return sum(told) / len(told)
