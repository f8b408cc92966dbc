"""What a scan of a video's packets proves about its frames, before any of them is decoded. No PyAV here: plain numbers.

Packets come in decoding order; frames are shown in the order of their timestamps. Where each packet is known to hold
exactly one frame and carries that frame's true timestamp, sorting the timestamps gives every frame its number, its
packet, and the keyframe that decoding must start from. Where that is not known, `index_packets` returns None, and the
frames must be counted by decoding.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


@dataclass(frozen=True)
class PacketIndex:
    """Frame i has the timestamp `timestamps[i]`, and comes from the packet `packet_of[timestamps[i]]`."""

    timestamps: list[int]
    packet_of: dict[int, int]
    keys: list[Key]

    def key_of(self, timestamp: int) -> Key:
        """The last keyframe shown at or before this time: frames shown before a keyframe may need the one before it."""
        return self.keys[bisect_right(self.keys, timestamp, key=lambda key: key.pts) - 1]

    def keyframes(self) -> list[int]:
        """The numbers of the shown frames that are keyframes."""
        key_times = {key.pts for key in self.keys}
        return [number for number, timestamp in enumerate(self.timestamps) if timestamp in key_times]

    def runs(self, frames: Iterable[int]) -> list[Run]:
        """The fewest packets that show these frames: a new run starts where a keyframe lies beyond the last packet."""
        runs: list[Run] = []
        for timestamp in sorted(self.timestamps[frame] for frame in frames):
            run = Run(self.key_of(timestamp), self.packet_of[timestamp] + 1, frozenset({timestamp}))
            if runs and run.key.packet <= runs[-1].stop:
                last = runs.pop()
                run = Run(last.key, max(last.stop, run.stop), last.timestamps | run.timestamps)
            runs.append(run)
        return runs


def index_packets(
    packets: Sequence[Packet], codec: str, container: str = "mp4", reorders: bool = True
) -> PacketIndex | None:
    """The index of these packets, or None where they do not prove which frames a decoder will show.

    Args:
        packets: all packets of the stream, in decoding order.
        codec: FFmpeg's name of the codec.
        container: FFmpeg's name of the container format.
        reorders: whether the decoder shows frames in another order than it decodes them (B-frames).
    """
    if not _shows_each_packet(packets, codec) or not _has_true_timestamps(packets, container, reorders):
        return None
    packet_of = {packet.pts: number for number, packet in enumerate(packets) if packet.pts is not None}
    keys = [Key(p.pts, p.dts, number) for number, p in enumerate(packets) if p.is_keyframe and p.pts is not None]
    timestamps = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)
    return PacketIndex(timestamps, packet_of, sorted(keys))


def _shows_each_packet(packets: Sequence[Packet], codec: str) -> bool:
    if codec not in ONE_FRAME_A_PACKET or any(packet.is_corrupt for packet in packets):
        return False
    return codec != "mpeg4" or min((packet.size for packet in packets), default=0) > MPEG4_PLACEHOLDER_BYTES


def _has_true_timestamps(packets: Sequence[Packet], container: str, reorders: bool) -> bool:
    """AVI stores no presentation times: with B-frames, the demuxer's timestamps are a guess (see HMDB51's clips)."""
    if container == "avi" and reorders:
        return False
    timestamps = [packet.pts for packet in packets if packet.pts is not None]
    if not timestamps or len(set(timestamps)) != len(packets):
        return False
    first = packets[0]
    return first.is_keyframe and min(timestamps) == first.pts
