"""Which frames of a stream the network reads: rules on frame numbers alone, without frames.

`window`: the last N. `paper` and `script`: blocks of N frames, of which half are new and half remembered, as ECO
(Zolfaghari et al., ECCV 2018) describes it in Algorithm 1, and as its released script does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

SCRIPT_QUOTAS = ((16,), (8, 8), (4, 4, 8), (2, 2, 4, 8), (1, 1, 2, 4, 8))


@dataclass(frozen=True)
class Held:
    """What a memory holds, as frame numbers.

    Attributes:
        slots: what the network reads next time or has read last, oldest first.
        queue: those of the block under way that will be read.
    """

    slots: tuple[tuple[int, ...], ...] = ()
    queue: tuple[int, ...] = ()

    @property
    def read(self) -> tuple[int, ...]:
        """The frames of all slots, in order."""
        return sum(self.slots, ())

    @property
    def frames(self) -> tuple[int, ...]:
        """All that must be kept."""
        return self.read + self.queue


class Memory(Protocol):
    """A rule. It keeps nothing itself: `Held` goes in and comes out.

    Attributes:
        num_frames: N, that the network reads at once.
        average: the weight of the newest scores that goes with this memory; 1.0 where nothing is averaged.
    """

    @property
    def num_frames(self) -> int: ...

    @property
    def average(self) -> float: ...

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        """What is held after frame number `frame`, and whether the network reads `held.read` now.

        Frames come in order from 0. One that is not in `held.frames` right after it was added will never be read.
        """


@dataclass(frozen=True)
class WindowMemory:
    """The last N frames, read with each frame once N have come."""

    num_frames: int
    average: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_num_frames(self.num_frames)

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        """As `Memory.add`."""
        last = (*held.read, frame)[-self.num_frames :]
        return Held((last,)), len(last) == self.num_frames


@dataclass(frozen=True)
class PaperMemory:
    """Algorithm 1 of ECO's paper: after the first N frames, half of each block of N and half of the memory before.

    The paper samples the halves, without saying how; here they are evenly spaced, the later of each pair, so that one
    stream has one answer and the newest frame is always seen. For N = 16, the 16 are then 8, 4, 2, 1 and 1 of the last
    five blocks. Of an odd N, the larger half is new.
    """

    num_frames: int
    average: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        check_num_frames(self.num_frames)

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        """As `Memory.add`."""
        n = self.num_frames
        queue = _queued(held, frame, n, _later_of_pairs(range(n), n - n // 2))
        if (frame + 1) % n:
            return Held(held.slots, queue), False
        return Held((_later_of_pairs(held.read, n // 2) + queue,)), True


@dataclass(frozen=True)
class ScriptMemory:
    """The memory of ECO's released script (scripts/online_recognition): up to five blocks, each thinned as it ages.

    With 1, 2, ... 5 blocks there, they have 16; 8, 8; 4, 4, 8; 2, 2, 4, 8; 1, 1, 2, 4, 8 frames, oldest first. A block
    is thinned in place, to positions rint(linspace(0, len - 1, quota)), half to even. Another N scales the quotas, and
    must be a multiple of 16. Positions are rounded from exact fractions: NumPy's floats miss some halves of N from 240
    on, and take the neighbour there.
    """

    num_frames: int = 16
    average: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        check_num_frames(self.num_frames)
        if self.num_frames % 16:
            raise ValueError(
                f"num_frames={self.num_frames} is not allowed: the memory 'script' takes a multiple of 16: "
                "give num_frames=16, or memory='paper'"
            )

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        """As `Memory.add`."""
        n = self.num_frames
        queue = _queued(held, frame, n, thinned(range(n), n // 2))
        if (frame + 1) % n:
            return Held(held.slots, queue), False
        slots = (*held.slots, queue)[-len(SCRIPT_QUOTAS) :]
        quotas = [quota * n // 16 for quota in SCRIPT_QUOTAS[len(slots) - 1]]
        return Held(tuple(thinned(slot, quota) for slot, quota in zip(slots, quotas, strict=True))), True


MEMORIES: dict[str, type[WindowMemory | PaperMemory | ScriptMemory]] = {
    "window": WindowMemory,
    "paper": PaperMemory,
    "script": ScriptMemory,
}


def create_memory(memory: str, num_frames: int) -> Memory:
    """The memory of this name: `window`, `paper` or `script`."""
    if memory not in MEMORIES:
        raise ValueError(f"memory={memory!r} is unknown: choose one of {', '.join(MEMORIES)}, or give a Memory")
    return MEMORIES[memory](num_frames)


def thinned(frames: Sequence[int], quota: int) -> tuple[int, ...]:
    """`quota` of the frames, evenly spaced from the first to the last; of one, the first."""
    last = len(frames) - 1
    return tuple(frames[round(i * last / max(1, quota - 1))] for i in range(quota))


def check_num_frames(num_frames: object) -> None:
    """`ValueError` for what is no number of frames."""
    if not isinstance(num_frames, int) or isinstance(num_frames, bool) or num_frames < 1:
        raise ValueError(f"num_frames={num_frames!r} is not allowed: it must be a whole number of at least 1")


def _later_of_pairs(frames: Sequence[int], number: int) -> tuple[int, ...]:
    """So many of the frames, evenly spaced: of half, the later of each pair. None, as long as there are none."""
    return tuple(frames[(2 * i + 1) * len(frames) // (2 * number)] for i in range(number)) if frames else ()


def _queued(held: Held, frame: int, num_frames: int, positions: Sequence[int]) -> tuple[int, ...]:
    """The first block is read whole; of later ones, only these positions will ever be."""
    is_read = frame < num_frames or frame % num_frames in positions
    return (*held.queue, frame) if is_read else held.queue
