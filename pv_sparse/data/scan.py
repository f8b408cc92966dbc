"""What is known of a video's frames before any is decoded: from its header, or from one pass over its packets."""

from typing import Any

from pv_sparse.data.container import Source, read_packets
from pv_sparse.data.header_index import packets_by_header
from pv_sparse.data.mpeg4_order import CodedPacket, index_by_kinds, kinds_of
from pv_sparse.data.packet_index import Packet, PacketIndex, PacketTable, index_packets


def scan(source: Source) -> tuple[PacketTable, PacketIndex | None]:
    """All packets of the source's stream, and their index where they prove which frames are shown.

    They are read from the source: seek before reading on.
    """
    context, container = source.stream.codec_context, source.container.format.name
    codec, reorders = context.codec.canonical_name, bool(context.has_b_frames)
    if container == "avi" and codec == "mpeg4" and reorders:
        return _scan_pictures(source)
    table = packets_by_header(source) or PacketTable.of(map(_packet, read_packets(source.container, source.stream)))
    return table, index_packets(table, codec, container, reorders)


def _scan_pictures(source: Source) -> tuple[PacketTable, PacketIndex | None]:
    """With a look into each packet, for MPEG-4 Part 2 in files that store no presentation times."""
    rows, coded = [], []
    for packet in read_packets(source.container, source.stream):
        rows.append(_packet(packet))
        coded.append(CodedPacket(packet.dts, packet.size, packet.is_keyframe, kinds_of(bytes(packet))))
    table = PacketTable.of(rows)
    return table, None if table.has_corrupt else index_by_kinds(coded)


def _packet(read: Any) -> Packet:
    return Packet(read.pts, read.dts, read.size, read.is_keyframe, read.is_discard, read.is_corrupt)
