"""Who walks where before a camera that stands still: background, moving blobs, and a simple tracker (extra `study`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

# Of frames that are not empty in the same place: every so many make the background.
BACKGROUND_STEP = 16
THRESHOLD = 35
# Of a person, in pixels.
HEIGHTS, MAX_WIDTH, MIN_AREA = (30, 96), 60, 180
# How far off a prediction may be, in pixels, how much a height may change, and how many frames may be missed.
REACH, MAX_GROWTH, MAX_MISSED = 12.0, 1.6, 2
# Frames that a velocity is taken from.
MEMORY = 4


@dataclass(frozen=True)
class Track:
    """One person, followed.

    Attributes:
        start: number of the first frame.
        boxes: (frames, 4) float64: left, top, right and bottom in every frame from `start` on, in pixels.
    """

    start: int
    boxes: np.ndarray

    @property
    def end(self) -> int:
        """The number after that of the last frame."""
        return self.start + len(self.boxes)

    @property
    def centers(self) -> np.ndarray:
        """(frames, 2) float64: x and y."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2


def find_tracks(pictures: np.ndarray) -> list[Track]:
    """The people of a video, in the order in which they appear.

    What differs from the median of the frames moves; what moves is cut into connected blobs, of which those of a
    person's size are kept; each is linked to the nearest place where a track would go on at its own speed. People
    who walk close together are one blob, too large or one person; a track that loses its blob for more than
    `MAX_MISSED` frames ends, and its person begins another one.

    Args:
        pictures: (frames, height, width, 3) uint8, of a camera that does not move. A person is 30 to 96 pixels high
            and walks up to 12 pixels from one frame to the next.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
    """
    background = np.median(pictures[::BACKGROUND_STEP], axis=0).astype(np.uint8)
    return link([moving_boxes(picture, background) for picture in pictures])


def moving_boxes(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(boxes, 4) float64, left, top, right and bottom of what is not background and as large as a person.

    Args:
        picture, background: (height, width, 3) uint8.
    """
    cv2 = _cv2()
    difference = cv2.GaussianBlur(cv2.absdiff(np.ascontiguousarray(picture), background), (3, 3), 0).max(axis=2)
    mask = (difference > THRESHOLD).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    # Legs, coat and head are one blob; neighbours are not.
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((13, 5), np.uint8))
    left, top, width, height, area = cv2.connectedComponentsWithStats(mask)[2][1:].T
    fits = (height >= HEIGHTS[0]) & (height <= HEIGHTS[1]) & (width <= MAX_WIDTH) & (area >= MIN_AREA)
    return np.stack([left, top, left + width, top + height], axis=1)[fits].astype(np.float64)


def link(boxes: Sequence[np.ndarray]) -> list[Track]:
    """Boxes of one frame after the other to tracks, nearest first; missed frames are interpolated.

    Args:
        boxes: of each frame (boxes, 4) float64: left, top, right, bottom.
    """
    found: list[_Trail] = []
    for number, here in enumerate(boxes):
        alive = [trail for trail in found if number - trail.numbers[-1] <= MAX_MISSED + 1]
        taken = set()
        for trail, box in _matches(alive, here, number):
            alive[trail].add(number, here[box])
            taken.add(box)
        found += [_Trail([number], [box]) for index, box in enumerate(here) if index not in taken]
    return [trail.track() for trail in found]


@dataclass
class _Trail:
    """A track that may go on."""

    numbers: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def add(self, number: int, box: np.ndarray) -> None:
        self.numbers.append(number)
        self.boxes.append(box)

    def predict(self, number: int) -> np.ndarray:
        """Where its box will be: where it was, and on at the speed of the last frames."""
        if len(self.numbers) <= MEMORY:
            return self.boxes[-1]
        frames = self.numbers[-1] - self.numbers[-1 - MEMORY]
        velocity = (_center(self.boxes[-1]) - _center(self.boxes[-1 - MEMORY])) / frames
        return self.boxes[-1] + np.tile(velocity * (number - self.numbers[-1]), 2)

    def track(self) -> Track:
        every = np.arange(self.numbers[0], self.numbers[-1] + 1)
        sides = [np.interp(every, self.numbers, side) for side in np.stack(self.boxes, axis=1)]
        return Track(self.numbers[0], np.stack(sides, axis=1))


def _matches(trails: Sequence[_Trail], boxes: np.ndarray, number: int) -> Iterator[tuple[int, int]]:
    """(trail, box), each once."""
    pairs = []
    for index, trail in enumerate(trails):
        predicted = trail.predict(number)
        for other, box in enumerate(boxes):
            off = float(np.abs(_center(box) - _center(predicted)).max())
            growth = (box[3] - box[1]) / (predicted[3] - predicted[1])
            if off <= REACH and 1 / MAX_GROWTH <= growth <= MAX_GROWTH:
                pairs.append((off, index, other))
    done_trails, done_boxes = set(), set()
    for _, index, other in sorted(pairs):
        if index not in done_trails and other not in done_boxes:
            done_trails.add(index)
            done_boxes.add(other)
            yield index, other


def _center(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _cv2() -> ModuleType:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('finding people who walk needs OpenCV: pip install "pv-sparse[study]"') from error
    return cv2
