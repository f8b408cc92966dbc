"""Long videos in which what tells the class takes a few percent of the time, and the rest is alike for all classes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pv_sparse.study import appearance20, order20
from pv_sparse.study.scenes import SHAPES, SIZE, Colour, Paint, Picture, Plane, X, Y, distractor, ground, paint

RATE = 5
# Seconds.
LENGTHS = (60, 240)
SCENE_LENGTHS = (5.0, 20.0)
# Share of the video that the event takes.
SHARES = (0.03, 0.1)
# Frames from a cut, or from an end of the video, to an event that no cut announces; at least.
MARGIN = RATE
# Shapes that no class of `appearance20` has.
NEUTRAL = ("square", "triangle", "ring")
# Half of trimmed videos': h264 at so few frames a second keeps it, and most of a packet would be noise.
NOISE = 3.0
# To draw noise is most of the work: this many fields, wider than a picture, are drawn for a video.
NOISE_FIELDS, NOISE_SIZE = 24, SIZE + 32

DrawEvent = Callable[[np.random.Generator], Paint]


@dataclass(frozen=True)
class Plan:
    """Where the event lies in a video.

    Attributes:
        num_frames: of the video.
        begin, end: the frames of the event, `end` not included.
        has_cut: the event begins with a scene of its own, and the scene before goes on after it; else the event happens
            in a scene that goes on around it.
    """

    num_frames: int
    begin: int
    end: int
    has_cut: bool


def plan_of(num_kinds: int, scene: int, random: np.random.Generator) -> Plan:
    """The plan of the videos of a scene, drawn first, so that it is known without painting or decoding.

    Args:
        num_kinds: of scenes, which come one after the other.
        scene: its number; of the scenes of each kind every other has a cut.
        random: of the scene, with nothing drawn from it.
    """
    num_frames = int(random.integers(LENGTHS[0] * RATE, LENGTHS[1] * RATE + 1))
    least, most = np.ceil(SHARES[0] * num_frames), np.floor(SHARES[1] * num_frames)
    length = int(random.integers(least, most + 1))
    begin = int(random.integers(MARGIN, num_frames - length - MARGIN + 1))
    return Plan(num_frames, begin, begin + length, has_cut=(scene + scene // num_kinds) % 2 == 0)


def event_info(num_kinds: int, scene: int, random: np.random.Generator) -> dict[str, Any]:
    """What lists tell of the videos of a scene besides the label: `event_seconds` (start, end); as of `plan_of`."""
    plan = plan_of(num_kinds, scene, random)
    return {"event_seconds": (plan.begin / RATE, plan.end / RATE)}


def appearance_films(scene: int, random: np.random.Generator) -> list[Iterator[np.ndarray]]:
    """The one video of a scene: in it a thing of `appearance20` is seen; (SIZE, SIZE, 3) uint8 pictures."""
    num_classes = len(appearance20.CLASSES)
    plan = plan_of(num_classes, scene, random)
    return [film(plan, partial(appearance20.thing, scene % num_classes), int(random.integers(2**63)))]


def order_films(scene: int, random: np.random.Generator) -> list[Iterator[np.ndarray]]:
    """The two videos of a scene: in them the same event of `order20` goes forwards and backwards, all else is alike."""
    num_events = len(order20.EVENTS)
    plan, seed = plan_of(num_events, scene, random), int(random.integers(2**63))
    return [film(plan, order20.EVENTS[scene % num_events], seed, is_backwards) for is_backwards in (False, True)]


def film(plan: Plan, draw_event: DrawEvent, seed: int, is_backwards: bool = False) -> Iterator[np.ndarray]:
    """A video of a plan, (SIZE, SIZE, 3) uint8 RGB pictures painted as they are asked for.

    As in trimmed videos, up to a quarter of the event's own time goes by before it begins, and after it ends.

    Args:
        plan: when the event happens.
        draw_event: draws it, and gives what paints it.
        seed: of all draws.
        is_backwards: the event is played backwards; everything else is the same.
    """
    random = np.random.default_rng(seed)
    paint_event, lead_in, lead_out = draw_event(random), random.uniform(0, 0.25), random.uniform(0.75, 1)
    noise = _noise(plan.num_frames, random)
    for frame, (stage, stage_frame) in enumerate(_stages(plan, random)):
        picture = stage.below(stage_frame)
        if plan.begin <= frame < plan.end:
            time = (frame - plan.begin) / (plan.end - plan.begin - 1)
            time = 1 - time if is_backwards else time
            paint_event(picture, float(np.clip((time - lead_in) / (lead_out - lead_in), 0, 1)))
        stage.paint_above(picture, stage_frame)
        picture += next(noise)
        yield picture.clip(0, 255, out=picture).astype(np.uint8)


class Stage:
    """A scene of nothing: ground, with small things that cross it and large grey ones that wander about and turn.

    Args:
        random: of all draws.
        num_frames: for which it is shown.
    """

    def __init__(self, random: np.random.Generator, num_frames: int):
        self.num_frames = num_frames
        self._ground = ground(random)
        shapes = random.permutation(NEUTRAL)[: random.integers(1, 3)]
        self._neutral = [neutral_thing(str(shape), random) for shape in shapes]
        self._distractors = [distractor(random) for _ in range(int(random.integers(1, 4)))]

    def below(self, frame: int) -> Picture:
        """A new picture, of what is behind an event."""
        picture = self._ground.copy()
        for paint_neutral in self._neutral:
            paint_neutral(picture, frame / RATE)
        return picture

    def paint_above(self, picture: Picture, frame: int) -> None:
        """In place, what is in front of an event."""
        for paint_distractor in self._distractors:
            paint_distractor(picture, frame / self.num_frames)


def neutral_thing(shape: str, random: np.random.Generator) -> Paint:
    """A large dull thing that swings to and fro and turns; it is painted at a time in seconds, of any length."""
    colour: Colour = random.uniform(70, 150) + random.normal(0, 5, 3)
    radius, spin, angle = random.uniform(9, 17), random.uniform(-0.8, 0.8), random.uniform(0, 2 * np.pi)
    middle, swing = random.uniform(30, SIZE - 30, 2), random.uniform(8, 30, 2)
    pace, phase = 2 * np.pi / random.uniform(6, 20, 2), random.uniform(0, 2 * np.pi, 2)

    def paint_neutral(picture: Picture, seconds: float) -> None:
        x, y = (middle + swing * np.sin(pace * seconds + phase)).tolist()
        paint(picture, _turned(shape, x, y, radius, angle + spin * seconds), colour)

    return paint_neutral


def _stages(plan: Plan, random: np.random.Generator) -> Iterator[tuple[Stage, int]]:
    """For each frame of a video the scene that it shows, and which of the scene's frames it is."""
    chain, own = _chain(plan, random), Stage(random, plan.end - plan.begin)
    for frame in range(plan.num_frames):
        if plan.has_cut and plan.begin <= frame < plan.end:
            yield own, frame - plan.begin
        else:
            yield next(chain)


def _chain(plan: Plan, random: np.random.Generator) -> Iterator[tuple[Stage, int]]:
    """One scene after the other, without end; with no cut, that of the event is longer by the event."""
    shown, needs_host = 0, not plan.has_cut
    while True:
        length = round(RATE * random.uniform(*SCENE_LENGTHS))
        if needs_host and shown + length > plan.begin - MARGIN:
            length = max(length, plan.begin - shown + MARGIN) + plan.end - plan.begin
            needs_host = False
        stage = Stage(random, length)
        for frame in range(length):
            yield stage, frame
        shown += length


def _turned(shape: str, x: float, y: float, radius: float, angle: float) -> Plane:
    """How much of each pixel a turned shape covers, from 0 to 1."""
    right, down = np.float32(np.cos(angle) / radius), np.float32(np.sin(angle) / radius)
    across, along = X - np.float32(x), Y - np.float32(y)
    outside = SHAPES[shape](across * right + along * down, along * right - across * down) * radius
    return np.clip(0.5 - outside, 0, 1)


def _noise(num_frames: int, random: np.random.Generator) -> Iterator[Picture]:
    """For each picture a window of one of the fields."""
    fields = random.standard_normal((NOISE_FIELDS, NOISE_SIZE, NOISE_SIZE, 3), dtype=np.float32) * np.float32(NOISE)
    places = NOISE_SIZE - SIZE + 1
    for field, top, left in random.integers((NOISE_FIELDS, places, places), size=(num_frames, 3)).tolist():
        yield fields[field, top : top + SIZE, left : left + SIZE]
