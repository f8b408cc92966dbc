"""Order: ten things that happen, each with its twin, which shows the same frames the other way round."""

from collections.abc import Callable
from functools import partial

import numpy as np

from pv_sparse.study.scenes import (
    COLOURS,
    SHAPES,
    SIZE,
    Paint,
    Picture,
    box,
    bright_colour,
    cover,
    film,
    paint,
    rays,
    shift,
)

# What happens, and what happens when it is played backwards.
TWINS = (
    ("moves left", "moves right"),
    ("moves up", "moves down"),
    ("comes towards", "goes away"),
    ("covers", "uncovers"),
    ("puts in", "takes out"),
    ("appears", "vanishes"),
    ("fills", "empties"),
    ("meets", "parts"),
    ("circle before cross", "cross before circle"),
    ("red before blue", "blue before red"),
)
CLASSES = tuple(name for pair in TWINS for name in pair)
MIDDLE = SIZE / 2


def labels_of(scene: int) -> tuple[int, int]:
    """Of the two videos of a scene, which are twins."""
    twin = scene % len(TWINS)
    return 2 * twin, 2 * twin + 1


def films(scene: int, random: np.random.Generator) -> list[list[np.ndarray]]:
    """The two videos of a scene, (SIZE, SIZE, 3) uint8 pictures: the same, forwards and backwards."""
    pictures = film(EVENTS[scene % len(TWINS)], random)
    return [pictures, pictures[::-1]]


def _shape(random: np.random.Generator) -> str:
    return str(random.choice(list(SHAPES)))


def _moves(random: np.random.Generator, is_upright: bool) -> Paint:
    """A shape goes along a road, or up and down a shaft."""
    shape, colour, radius = _shape(random), bright_colour(random), random.uniform(9, 15)
    across = random.uniform(radius, SIZE - radius)
    far, near = SIZE - random.uniform(radius, 26), random.uniform(radius, 26)
    road = random.uniform(25, 50) * np.ones(3)
    edges = (across - radius - 3, across + radius + 3)

    def paint_event(picture: Picture, progress: float) -> None:
        sides = (edges[0], 0, edges[1], SIZE) if is_upright else (0, edges[0], SIZE, edges[1])
        paint(picture, box(*sides), road)
        along = far + progress * (near - far)
        x, y = (across, along) if is_upright else (along, across)
        paint(picture, cover(shape, x, y, radius), colour)

    return paint_event


def _comes_towards(random: np.random.Generator) -> Paint:
    """A shape grows in the middle of rays, as at the end of a tunnel."""
    shape, colour = _shape(random), bright_colour(random)
    x, y = shift(random, 34)
    least, most = random.uniform(4, 8), random.uniform(24, 34)
    tunnel = rays(x, y)

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, 0.6 * tunnel, np.full(3, 190.0))
        paint(picture, cover(shape, x, y, least * (most / least) ** progress), colour)

    return paint_event


def _covers(random: np.random.Generator) -> Paint:
    """A panel slides over a shape."""
    shape, colour, panel = _shape(random), bright_colour(random), random.uniform(110, 170, 3)
    radius = random.uniform(11, 16)
    half = radius + random.uniform(3, 6)
    x, y = shift(random, half)
    side = 1 if x < MIDDLE else -1
    away = side * (2 * half + random.uniform(0, 6))

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, cover(shape, x, y, radius), colour)
        left = x + away * (1 - progress) - half
        paint(picture, box(left, y - half, left + 2 * half, y + half), panel)

    return paint_event


def _puts_in(random: np.random.Generator) -> Paint:
    """A shape sinks into an open box, whose front hides it."""
    shape, colour, wood = _shape(random), bright_colour(random), np.array([150, 105, 60]) + random.normal(0, 12, 3)
    radius = random.uniform(8, 12)
    x, half = random.uniform(22, SIZE - 22), radius + random.uniform(4, 8)
    rim = random.uniform(52, 64)
    start, end = random.uniform(radius, 22), rim + radius + 3

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, box(x - half, rim - 4, x + half, rim), 0.5 * wood)
        paint(picture, cover(shape, x, start + progress * (end - start), radius), colour)
        paint(picture, box(x - half, rim, x + half, end + radius + 3), wood)

    return paint_event


def _appears(random: np.random.Generator) -> Paint:
    """A shape fades in, inside a bright frame."""
    shape, colour, radius = _shape(random), bright_colour(random), random.uniform(13, 20)
    half = radius + 6
    x, y = shift(random, half + 2)

    def paint_event(picture: Picture, progress: float) -> None:
        outer, inner = (box(x - half - w, y - half - w, x + half + w, y + half + w) for w in (2, 0))
        paint(picture, outer - inner, np.full(3, 225.0))
        paint(picture, progress * cover(shape, x, y, radius), colour)

    return paint_event


def _fills(random: np.random.Generator) -> Paint:
    """A level rises in a glass."""
    colour, half = bright_colour(random), random.uniform(10, 18)
    x = random.uniform(half + 4, SIZE - half - 4)
    top, bottom = random.uniform(10, 24), random.uniform(72, 86)

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, box(x - half - 3, top - 3, x + half + 3, bottom + 3), np.full(3, 210.0))
        paint(picture, box(x - half, top - 3, x + half, bottom), np.full(3, 15.0))
        paint(picture, box(x - half, bottom - progress * (bottom - top), x + half, bottom), colour)

    return paint_event


def _meets(random: np.random.Generator) -> Paint:
    """Two of a kind come together from both sides."""
    shape, colour, radius = _shape(random), bright_colour(random), random.uniform(8, 12)
    y, x = random.uniform(radius, SIZE - radius), random.uniform(44, SIZE - 44)
    apart = random.uniform(28, 34)

    def paint_event(picture: Picture, progress: float) -> None:
        distance = radius + (1 - progress) * (apart - radius)
        for side in (-1, 1):
            paint(picture, cover(shape, x + side * distance, y, radius), colour)

    return paint_event


def _circle_before_cross(random: np.random.Generator) -> Paint:
    """A bright screen shows the one, and then the other."""
    colour, radius = bright_colour(random) * 0.5, random.uniform(14, 18)
    half = radius + 5
    x, y = shift(random, half + 2)

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, box(x - half, y - half, x + half, y + half), np.full(3, 215.0))
        shape = "circle" if progress < 0.5 else "cross"
        paint(picture, _seen(progress) * cover(shape, x, y, radius), colour)

    return paint_event


def _red_before_blue(random: np.random.Generator) -> Paint:
    """Of two lamps in a dark case one lights up, and then the other; which hangs on which side is drawn."""
    radius = random.uniform(8, 11)
    across, up = 2 * radius + 4, radius + 3
    x, y = random.uniform(across, SIZE - across), random.uniform(up, SIZE - up)
    side = random.choice([-1, 1])

    def paint_event(picture: Picture, progress: float) -> None:
        paint(picture, box(x - across, y - up, x + across, y + up), np.full(3, 10.0))
        for name, place, lit in (("red", -side, progress < 0.5), ("blue", side, progress >= 0.5)):
            lamp = cover("circle", x + place * (radius + 1), y, radius)
            colour = np.array(COLOURS[name], np.float32)
            paint(picture, lamp, (0.2 + 0.8 * lit * _seen(progress)) * colour)

    return paint_event


def _seen(progress: float) -> float:
    """How much there is to see of two things that come and go, one in each half."""
    return float(min(1, 3 * abs(np.sin(2 * np.pi * progress))))


# What draws the event of the first class of each pair, in their order.
EVENTS: tuple[Callable[[np.random.Generator], Paint], ...] = (
    partial(_moves, is_upright=False),
    partial(_moves, is_upright=True),
    _comes_towards,
    _covers,
    _puts_in,
    _appears,
    _fills,
    _meets,
    _circle_before_cross,
    _red_before_blue,
)
