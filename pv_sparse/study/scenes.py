"""What generated videos show: soft-edged shapes, painted over a noisy ground that small distractors cross."""

from collections.abc import Callable

import numpy as np

# Pixels of each side.
SIZE = 96
# The middle of each pixel; y points down.
Y, X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) + 0.5
# Frames of a video, the last not included.
NUM_FRAMES = (60, 121)
# The standard deviation of what is added to each value.
NOISE = 6.0

Plane = np.ndarray  # (SIZE, SIZE) float32
Colour = np.ndarray  # (3,) from 0 to 255
Picture = np.ndarray  # (SIZE, SIZE, 3) float32 from 0 to 255
Paint = Callable[[Picture, float], None]  # in place, and how far the event is, from 0 to 1

# How far a point lies outside a shape of radius 1 around the origin; below 0 it lies inside.
SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "circle": lambda x, y: np.hypot(x, y) - 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) - 0.85,
    "triangle": lambda x, y: np.maximum(0.87 * abs(x) - 0.5 * y - 0.5, y - 0.75),
    "cross": lambda x, y: np.maximum(np.minimum(abs(x), abs(y)) - 0.3, np.maximum(abs(x), abs(y)) - 1),
    "plus": lambda x, y: np.maximum(np.minimum(abs(x), abs(y)) - 0.17, np.maximum(abs(x), abs(y)) - 1),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.72) - 0.28,
}
COLOURS = {
    "red": (225, 50, 45),
    "green": (50, 190, 70),
    "blue": (50, 80, 230),
    "yellow": (235, 215, 50),
    "white": (235, 235, 235),
}


def film(event: Callable[[np.random.Generator], Paint], random: np.random.Generator) -> list[np.ndarray]:
    """A video in which an event happens, from 60 to 120 pictures of (SIZE, SIZE, 3) uint8 RGB.

    All draws are symmetrical in time: up to a quarter of the video goes by before the event begins, and after it ends;
    from one to three distractors go from anywhere to anywhere. Played backwards, it is as likely as forwards.

    Args:
        event: draws what happens, and gives what paints it.
        random: of all draws.
    """
    num_frames = int(random.integers(*NUM_FRAMES))
    paint_event, back = event(random), ground(random)
    begin, end = random.uniform(0, 0.25), random.uniform(0.75, 1)
    distractors = [distractor(random) for _ in range(int(random.integers(1, 4)))]
    pictures = []
    for time in np.linspace(0, 1, num_frames).tolist():
        picture = back.copy()
        paint_event(picture, float(np.clip((time - begin) / (end - begin), 0, 1)))
        for paint_distractor in distractors:
            paint_distractor(picture, time)
        picture += random.standard_normal(picture.shape, dtype=np.float32) * NOISE
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def ground(random: np.random.Generator) -> Picture:
    """A dim slope from one colour to another, with blotches."""
    first, second = random.uniform(20, 100, (2, 3))
    angle = random.uniform(0, 2 * np.pi)
    slope = ((X - SIZE / 2) * np.cos(angle) + (Y - SIZE / 2) * np.sin(angle)) / SIZE + 0.5
    blotches = np.kron(random.normal(0, 8, (SIZE // 8, SIZE // 8)), np.ones((8, 8)))
    picture = first + slope[..., None] * (second - first) + blotches[..., None]
    return picture.astype(np.float32)


def distractor(random: np.random.Generator) -> Paint:
    """A small thing that goes straight on through the whole video, and means nothing."""
    radius = random.uniform(2.0, 3.5)
    colour, start, end = bright_colour(random), *random.uniform(0, SIZE, (2, 2))
    shape = str(random.choice(["circle", "square", "cross"]))

    def paint_distractor(picture: Picture, time: float) -> None:
        x, y = start + time * (end - start)
        paint(picture, cover(shape, x, y, radius), colour)

    return paint_distractor


def cover(shape: str, x: float, y: float, radius: float) -> Plane:
    """How much of each pixel a shape covers, from 0 to 1."""
    outside = SHAPES[shape]((X - x) / radius, (Y - y) / radius) * radius
    return np.clip(0.5 - outside, 0, 1)


def box(left: float, top: float, right: float, bottom: float) -> Plane:
    """How much of each pixel an upright rectangle covers, from 0 to 1."""
    outside = np.maximum(np.maximum(left - X, X - right), np.maximum(top - Y, Y - bottom))
    return np.clip(0.5 - outside, 0, 1)


def rays(x: float, y: float, number: int = 8) -> Plane:
    """How much of each pixel thin lines cover that go out from a place, from 0 to 1."""
    angle = np.arctan2(Y - y, X - x)
    off = np.abs(np.mod(angle * number / (2 * np.pi) + 0.5, 1) - 0.5) * (2 * np.pi / number)
    return np.clip(1.2 - off * np.hypot(X - x, Y - y), 0, 1).astype(np.float32)


def paint(picture: Picture, mask: Plane, colour: Colour | Picture) -> None:
    """In place: the share `mask` of each pixel gets the colour."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size:
        # Shapes are small: to compute where they are takes half the time of everywhere.
        where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        seen, new = picture[where], colour[where] if colour.ndim == 3 else colour
        seen += mask[where][..., None] * (new - seen)


def bright_colour(random: np.random.Generator) -> Colour:
    """One of `COLOURS`, somewhat changed."""
    return changed(COLOURS[str(random.choice(list(COLOURS)))], random)


def changed(colour: tuple[int, int, int], random: np.random.Generator) -> Colour:
    """Somewhat, and differently each time."""
    return np.clip(colour + random.normal(0, 12, 3), 0, 255).astype(np.float32)


def shift(random: np.random.Generator, margin: float) -> np.ndarray:
    """A place (x, y) at least `margin` pixels inside."""
    return random.uniform(margin, SIZE - margin, 2)
