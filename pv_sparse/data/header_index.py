"""The packets of a stream from the container's own index, read with the header: no packet scan, and few bytes.

FFmpeg keeps the index of mp4 and avi files after opening them: of each packet the decoding time, size, place and
whether it is a keyframe. What it lacks is the presentation time, which mp4 files store as an offset from the decoding
time (`mp4_boxes`); avi files have none, and need none without B-frames.

The index is trusted only where it is provably right: it has as many packets as the header counts frames, all of them
lie within the file, each is later than the one before in time and place, and the first packet, which is read, is what
the index says. Else the result is None, and the packets are scanned.
"""

from operator import attrgetter
from typing import Any

import numpy as np

from pv_sparse.data.container import Source, read_packets
from pv_sparse.data.packet_index import PacketTable

COLUMNS = ("timestamp", "size", "pos", "flags")
KEYFRAME, DISCARD = 1, 2  # FFmpeg's AVINDEX_KEYFRAME and AVINDEX_DISCARD_FRAME


def packets_by_header(source: Source) -> PacketTable | None:
    """All packets of the source's stream, or None where its header does not prove them. Packets are read from it."""
    entries = getattr(source.stream, "index_entries", ())  # not before PyAV 17
    is_mp4 = "mp4" in source.container.format.name
    if not (is_mp4 or source.container.format.name == "avi") or not len(entries):
        return None
    offsets = source.composition_offsets if is_mp4 else None
    if offsets is None:
        if source.stream.codec_context.has_b_frames:
            return None
        offsets = np.zeros(len(entries), np.int64)
    if len(offsets) != len(entries):
        return None
    return _table(source, entries, offsets)


def _table(source: Source, entries: Any, offsets: np.ndarray) -> PacketTable | None:
    rows = list(entries)
    times, sizes, places, flags = (np.fromiter(map(attrgetter(name), rows), np.int64, len(rows)) for name in COLUMNS)
    keys, discards = flags & KEYFRAME != 0, flags & DISCARD != 0
    is_whole = len(entries) == source.stream.frames and sizes.min() > 0 and (places + sizes).max() <= source.num_bytes
    if not is_whole or (np.diff(times) <= 0).any() or (np.diff(places) <= 0).any():
        return None
    first = next(read_packets(source.container, source.stream), None)
    if (
        first is None
        or first.pts is None
        or (first.dts, first.size, first.is_keyframe) != (times[0], sizes[0], keys[0])
    ):
        return None
    shift = first.pts - times[0] - offsets[0]
    return PacketTable(times + offsets + shift, times, sizes, keys, discards)
