"""Appearance: the class is what is seen, a shape of a texture and a colour; how it moves means nothing."""

from functools import partial
from itertools import product

import numpy as np

from pv_sparse.study.scenes import (
    COLOURS,
    SIZE,
    Colour,
    Paint,
    Picture,
    X,
    Y,
    changed,
    cover,
    film,
    paint,
    shift,
)

TEXTURES = ("plain", "striped")
# (colour, texture, shape) of each class.
LOOKS = tuple(product(COLOURS, TEXTURES, ("circle", "plus")))
CLASSES = tuple(" ".join(look) for look in LOOKS)
# Which of (x, y, radius) changes, and whether it grows.
MOTIONS = {
    "left": (0, False),
    "right": (0, True),
    "up": (1, False),
    "down": (1, True),
    "away": (2, False),
    "towards": (2, True),
    "still": None,
}
# The radius, in pixels.
LEAST, MOST = 18.0, 26.0
# The width of a stripe, in radii: two thirds of these pixels are left in inputs of 64 pixels, six in the smallest.
STRIPE = 0.5
DARK = (20, 20, 20)


def labels_of(scene: int) -> tuple[int]:
    """Of the one video of a scene."""
    return (scene % len(CLASSES),)


def films(scene: int, random: np.random.Generator) -> list[list[np.ndarray]]:
    """The one video of a scene, (SIZE, SIZE, 3) uint8 pictures."""
    return [film(partial(thing, scene % len(CLASSES)), random)]


def thing(label: int, random: np.random.Generator) -> Paint:
    """What a class looks like, moving in one of the ways."""
    name, texture, shape = LOOKS[label]
    colour, stripes = changed(COLOURS[name], random), changed(DARK, random)
    start, end = _way(random)

    def paint_thing(picture: Picture, progress: float) -> None:
        x, y, radius = (start + progress * (end - start)).tolist()
        surface = _striped(x, y, radius, colour, stripes) if texture == "striped" else colour
        paint(picture, cover(shape, x, y, radius), surface)

    return paint_thing


def _way(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, radius) at the start and at the end, inside the picture throughout."""
    start = np.array([*shift(random, MOST), random.uniform(LEAST, MOST)])
    low, high = random.uniform(MOST, 36), SIZE - random.uniform(MOST, 36)
    small, large = random.uniform(LEAST, 20), random.uniform(23, MOST)
    end = start.copy()
    motion = MOTIONS[str(random.choice(list(MOTIONS)))]
    if motion is not None:
        which, grows = motion
        least, most = (small, large) if which == 2 else (low, high)
        start[which], end[which] = (least, most) if grows else (most, least)
    return start, end


def _striped(x: float, y: float, radius: float, first: Colour, second: Colour) -> Picture:
    """Slanting soft-edged stripes of two colours, which move and grow with a shape."""
    width = STRIPE * radius
    across = (X - x + Y - y) / (2**0.5 * width)
    # Pixels into the nearest stripe of the second colour; below 0 outside it.
    inside = (np.abs(across % 2 - 1) - 0.5) * width
    return np.asarray(first + np.clip(0.5 + inside, 0, 1)[..., None] * (second - first), np.float32)
