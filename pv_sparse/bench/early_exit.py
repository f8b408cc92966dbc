"""What early exit does to labelled videos: every round is run once, and beside it looks at fixed numbers of frames."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from pv_sparse.bench.timing import Clock, device_clock
from pv_sparse.data.annotations import VideoList
from pv_sparse.early_exit import Round, look_at_once, look_in_rounds
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.recognition import Recognizer
from pv_sparse.zoo.weights import Weights, classes_told

FIXED = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Answer:
    """What is said of a video after some of it was seen.

    Attributes:
        num_segments: that were looked at.
        cpu_seconds: that it took from the opening of the file on, decoding and network together.
        logits: (num_classes,) float32, on the CPU.
    """

    num_segments: int
    cpu_seconds: float
    logits: Tensor


@dataclass(frozen=True)
class Watched:
    """A video, and what is said of it.

    Attributes:
        path: of the file.
        label: its class number.
        rounds: the answer after each round; the last has seen all segments.
        fixed: by the number of segments that are looked at at once.
    """

    path: str
    label: int
    rounds: tuple[Answer, ...]
    fixed: dict[int, Answer]


def labelled_for(weights: Weights, videos: VideoList, root: str) -> list[tuple[str, int]]:
    """Each path with the number that its class has in the weights.

    Raises:
        PvSparseError: weights of several tasks or with several classes at a time; a folder that is none of the classes.
    """
    names = weights.categories
    if isinstance(names, dict) or weights.multi_label:
        kind = f"several tasks ({classes_told(weights.num_classes)})" if isinstance(names, dict) else "several classes"
        raise PvSparseError(
            f"{weights.name} names {kind} for a video, and folders one class: give weights of one task and one class"
        )
    unknown = [name for name in videos.classes if name not in names]
    if unknown:
        raise PvSparseError(
            f"{root}: the folder {unknown[0]!r} is none of the {len(names)} classes of {weights.name} "
            f"({', '.join(names[:3])}, ...): name each folder as its class, or give the weights of these videos"
        )
    return [(path, names.index(videos.classes[info["label"]])) for path, info in videos.samples]


def fixed_counts(max_segments: int) -> list[int]:
    """How many segments are looked at at once, ascending; `max_segments` is what all is compared to."""
    return sorted({count for count in FIXED if count < max_segments} | {max_segments})


def watch(
    recognizer: Recognizer,
    videos: Sequence[tuple[str, int]],
    max_segments: int,
    tell: Callable[[str], object] = lambda _: None,
) -> tuple[list[Watched], dict[str, str]]:
    """Every video in turn: round after round, and each fixed number of segments; the first once before, uncounted.

    Args:
        recognizer: whose model can stop early (`check_can_exit`).
        videos: (path, class number).
        max_segments: of the rounds.
        tell: hears what is measured next.

    Returns:
        The videos, in order, and what failed of those that cannot be read: {path: why}.
    """
    found, failed = [], {}
    for number, (path, label) in enumerate([*videos[:1], *videos]):
        tell(f"video {number} of {len(videos)}")
        try:
            watched = _watched(recognizer, path, label, max_segments, turn=number // 2)
        except (PvSparseError, OSError) as error:
            failed[path] = one_line(error)
        else:
            found += [watched] if number else []
    return found, failed


def _watched(recognizer: Recognizer, path: str, label: int, max_segments: int, turn: int) -> Watched:
    """What is first with a video finds it in no cache: each way of looking has its turn to be that."""
    ways: list[int | None] = [None, *fixed_counts(max_segments)]
    first = turn % len(ways)
    found: dict[int | None, tuple[Answer, ...]] = {}
    for count in ways[first:] + ways[:first]:
        if count is None:
            found[None] = tuple(_answers(recognizer, path, max_segments, look_in_rounds))
        else:
            found[count] = tuple(_answers(recognizer, path, count, look_at_once))
    rounds = found.pop(None)
    return Watched(path, label, rounds, {count: found[count][0] for count in fixed_counts(max_segments)})


def _answers(
    recognizer: Recognizer, path: str, num_segments: int, look: Callable[..., Iterator[Round]]
) -> Iterator[Answer]:
    """With the seconds from the first opening, which are the same work in both ways of looking."""
    clock, model = device_clock(recognizer.device), cast(SegmentNet, recognizer.model)
    begun = _now(clock)
    with recognizer.viewer.open(path) as video:
        for known in look(model, recognizer.viewer, video, num_segments):
            yield Answer(len(known.looks), _now(clock) - begun, cast(Tensor, known.logits))


def _now(clock: Clock) -> float:
    clock.wait()
    return clock.cpu()
