"""What a scan of a video's packets proves about its frames, before any of them is decoded. No PyAV here: plain numbers.

Packets come in decoding order; frames are shown in the order of their timestamps. Where each packet is known to hold
exactly one frame and carries that frame's true timestamp, sorting the timestamps gives every frame its number, its
packet, and the keyframe that decoding must start from. Where that is not known, `index_packets` returns None, and the
frames must be counted by decoding.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from pv_sparse.data.segments import Packets

# Codecs of which FFmpeg's demuxers deliver one shown frame in each packet (tried; VP8 hides some).
ONE_FRAME_A_PACKET = frozenset({"av1", "ffv1", "h264", "hevc", "mjpeg", "mpeg4", "vp9"})
# MPEG-4 writes a frame that was not coded, or the placeholder of a packed bitstream, in about 8 bytes.
MPEG4_PLACEHOLDER_BYTES = 12


class Packet(NamedTuple):
    """One packet of a scan, timestamps in units of the stream's time base; None where the container gives none."""

    pts: int | None
    dts: int | None
    size: int
    is_keyframe: bool
    is_discard: bool = False  # needed to decode others, but not shown: cut away by an edit list
    is_corrupt: bool = False


@dataclass(frozen=True)
class PacketTable:
    """All packets of a stream in decoding order, a column each: (n,) int64 timestamps and sizes, (n,) bool flags.

    `pts` is None where any packet has none.
    """

    pts: np.ndarray | None
    dts: np.ndarray | None
    sizes: np.ndarray
    is_keyframe: np.ndarray
    is_discard: np.ndarray
    has_corrupt: bool = False

    @classmethod
    def of(cls, packets: Iterable[Packet]) -> Self:
        pts, dts, sizes, keys, discards, corrupt = (
            zip(*packets, strict=True) if (packets := list(packets)) else [()] * 6
        )
        return cls(
            _times(pts),
            _times(dts),
            np.array(sizes, np.int64),
            np.array(keys, bool),
            np.array(discards, bool),
            any(corrupt),
        )

    def __len__(self) -> int:
        return len(self.sizes)


def _times(column: Sequence[int | None]) -> np.ndarray | None:
    return None if None in column else np.array(column, np.int64)


class Key(NamedTuple):
    """A packet that decoding can start from: its timestamps and its place in decoding order."""

    pts: int
    dts: int | None
    packet: int


class Run(NamedTuple):
    """Packets from `key` to `stop - 1` go through the decoder in one go to show the frames with these timestamps."""

    key: Key
    stop: int
    timestamps: frozenset[int]


class PacketIndex:
    """Frame i has the timestamp `timestamps[i]`, (n,) int64, and comes from the packet `packet_of[timestamps[i]]`.

    `keys` are in order of time; `packets` is what guided sampling goes by. `retimed` maps the decoding times of packets
    to the timestamps used here, where the container's own are wrong; else it is None.
    """

    def __init__(self, table: PacketTable, pts: np.ndarray, is_retimed: bool = False):
        shown = np.flatnonzero(~table.is_discard)
        order = shown[np.argsort(pts[shown], kind="stable")]
        keys = np.flatnonzero(table.is_keyframe)
        decoding_times = [None] * len(keys) if table.dts is None else table.dts[keys].tolist()
        self.timestamps = pts[order]
        self.retimed = None
        if is_retimed and table.dts is not None:
            self.retimed = dict(zip(table.dts.tolist(), pts.tolist(), strict=True))
        self.packet_of: dict[int, int] = dict(zip(pts.tolist(), range(len(pts)), strict=True))
        self.keys = sorted(map(Key, pts[keys].tolist(), decoding_times, keys.tolist()))
        self.keyframes: list[int] = np.flatnonzero(table.is_keyframe[order]).tolist()
        self.packets = Packets(table.sizes[order], self.keyframes)

    def key_of(self, timestamp: int) -> Key:
        """The last keyframe shown at or before this time: frames shown before a keyframe may need the one before it."""
        return self.keys[bisect_right(self.keys, timestamp, key=lambda key: key.pts) - 1]

    def runs(self, frames: Sequence[int]) -> list[Run]:
        """The fewest packets that show these frames: a new run starts where a keyframe lies beyond the last packet."""
        runs: list[Run] = []
        for timestamp in np.unique(self.timestamps[list(frames)]).tolist():
            run = Run(self.key_of(timestamp), self.packet_of[timestamp] + 1, frozenset({timestamp}))
            if runs and run.key.packet <= runs[-1].stop:
                last = runs.pop()
                run = Run(last.key, max(last.stop, run.stop), last.timestamps | run.timestamps)
            runs.append(run)
        return runs


def index_packets(table: PacketTable, codec: str, container: str = "mp4", reorders: bool = True) -> PacketIndex | None:
    """The index of these packets, or None where they do not prove which frames a decoder will show.

    Args:
        table: all packets of the stream.
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the container format.
        reorders: whether the decoder shows frames in another order than it decodes them (B-frames).
    """
    if not _shows_each_packet(table, codec) or not _has_true_timestamps(table, container, reorders):
        return None
    return None if table.pts is None else PacketIndex(table, table.pts)


def _shows_each_packet(table: PacketTable, codec: str) -> bool:
    if codec not in ONE_FRAME_A_PACKET or table.has_corrupt:
        return False
    return codec != "mpeg4" or not len(table) or table.sizes.min() > MPEG4_PLACEHOLDER_BYTES


def _has_true_timestamps(table: PacketTable, container: str, reorders: bool) -> bool:
    """AVI stores no presentation times: with B-frames, the demuxer's timestamps are a guess (see HMDB51's clips)."""
    if container == "avi" and reorders:
        return False
    if table.pts is None or not len(table) or not np.diff(np.sort(table.pts)).all():
        return False
    return bool(table.is_keyframe[0]) and table.pts.min() == table.pts[0]
