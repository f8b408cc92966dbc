"""The order in which MPEG-4 Part 2 with B-frames is shown, from the packets of an AVI file, which stores no times.

HMDB51 is made of such files, most of them as DivX wrote them: a B-frame lies in one packet with the frame that it
follows, and in the packet after it a placeholder of a few bytes stands where the decoder hands the B-frame out.
ISO/IEC 14496-2, 6.2.5: a coded picture (VOP) starts with 00 00 01 B6 and two bits for its kind.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pv_sparse.data.packet_index import MPEG4_PLACEHOLDER_BYTES, PacketIndex, PacketTable

START_OF_PICTURE = b"\x00\x00\x01\xb6"
KINDS = "IPBS"


class CodedPacket(NamedTuple):
    """A packet with the kinds of the pictures in it, in order, such as "PB"."""

    dts: int | None
    size: int
    is_keyframe: bool
    kinds: str


def kinds_of(content: bytes) -> str:
    """The kinds of the pictures in a packet: I, P, B and S (sprite)."""
    pictures = content.split(START_OF_PICTURE)[1:]
    return "".join(KINDS[picture[0] >> 6] if picture else "?" for picture in pictures)


def index_by_kinds(packets: Sequence[CodedPacket]) -> PacketIndex | None:
    """The index of these packets, all of a stream in decoding order, or None where they do not prove their order."""
    shown = _display_order([(packet.kinds, packet.size) for packet in packets])
    decoding_times = [packet.dts for packet in packets if packet.dts is not None]
    if not shown or len(set(decoding_times)) != len(packets) or decoding_times != sorted(decoding_times):
        return None
    dts = np.array(decoding_times, np.int64)
    is_hidden = np.ones(len(packets), bool)
    is_hidden[shown] = False
    pts = dts + dts.max() + 1 - dts.min()  # of packets that show nothing: any times that no frame has
    pts[shown] = np.sort(dts[shown])
    is_key = np.array([packet.is_keyframe and packet.kinds == "I" for packet in packets])
    if not is_key[shown[0]]:
        return None
    table = PacketTable(pts, dts, np.array([packet.size for packet in packets]), is_key, is_hidden)
    return PacketIndex(table, pts, is_retimed=True)


def _display_order(packets: Sequence[tuple[str, int]]) -> list[int] | None:
    """Numbers of the packets in which the shown frames are decoded, as shown: a B-frame at once, others one later."""
    shown: list[int] = []
    waiting: int | None = None
    holds_b_frame = False
    for number, (kinds, size) in enumerate(packets):
        is_placeholder = size <= MPEG4_PLACEHOLDER_BYTES
        if holds_b_frame != (is_placeholder and len(kinds) == 1):
            return None
        if holds_b_frame or (kinds == "B" and waiting is not None):
            shown.append(number)
            holds_b_frame = False
        elif kinds in ("I", "P", "S", "IB", "PB", "SB"):
            shown += [] if waiting is None else [waiting]
            waiting, holds_b_frame = number, kinds.endswith("B")
        elif kinds or not is_placeholder:
            return None
    # A B-frame without its placeholder, as at the end of a file, is never shown.
    return None if waiting is None else [*shown, waiting]
