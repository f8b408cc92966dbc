"""The packets of a stream from the container's own index, read with the header: no packet scan, and few bytes.

FFmpeg keeps the index of mp4 and avi files after opening them: of each packet the decoding time, size, place and
whether it is a keyframe. What it lacks is the presentation time, which mp4 files store as an offset from the decoding
time (`ctts`, ISO/IEC 14496-12, 8.6.1.3); avi files have none, and need none without B-frames.

The index is trusted only where it is provably right: it has as many packets as the header counts frames, all of them
lie within the file, each is later than the one before in time and place, and the first packet, which is read, is what
the index says. Else the result is None, and the packets are scanned.
"""

import os
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, BinaryIO

import numpy as np

from pv_sparse.data.container import Source, read_packets
from pv_sparse.data.packet_index import PacketTable

COLUMNS = ("timestamp", "size", "pos", "flags")
KEYFRAME, DISCARD = 1, 2  # FFmpeg's AVINDEX_KEYFRAME and AVINDEX_DISCARD_FRAME
# Boxes on the way from a file to the time offsets of one of its tracks.
TRACK_BOXES = (b"mdia", b"minf", b"stbl", b"ctts")
MOST_BYTES_OF_OFFSETS = 2**26


def packets_by_header(source: Source) -> PacketTable | None:
    """All packets of the source's stream, or None where its header does not prove them. Packets are read from it."""
    entries = getattr(source.stream, "index_entries", ())  # not before PyAV 17
    is_mp4 = "mp4" in source.container.format.name
    if not (is_mp4 or source.container.format.name == "avi") or not len(entries):
        return None
    offsets = np.zeros(len(entries), np.int64)
    if source.stream.codec_context.has_b_frames:
        stored = _composition_offsets(source) if is_mp4 else None
        if stored is None or len(stored) != len(entries):
            return None
        offsets = stored
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


def _composition_offsets(source: Source) -> np.ndarray | None:
    """(n,) int64, presentation less decoding time of each sample of the stream's track; None where it stores none."""
    with source.raw_file() as file:
        for start, end in _boxes(file, 0, source.num_bytes, b"moov"):
            for track_start, track_end in _boxes(file, start, end, b"trak"):
                if _track_number(file, track_start, track_end) == source.stream.id:
                    return _read_offsets(file, track_start, track_end)
    return None


def _track_number(file: BinaryIO, start: int, end: int) -> int | None:
    for place, _ in _boxes(file, start, end, b"tkhd"):
        file.seek(place)
        times_bytes = 16 if file.read(4)[:1] == b"\x01" else 8
        file.seek(times_bytes, os.SEEK_CUR)
        return int.from_bytes(file.read(4))
    return None


def _read_offsets(file: BinaryIO, start: int, end: int) -> np.ndarray | None:
    for name in TRACK_BOXES:
        start, end = next(_boxes(file, start, end, name), (0, 0))
    if not 8 <= end - start <= MOST_BYTES_OF_OFFSETS:
        return None
    file.seek(start)
    content = file.read(end - start)
    rows = np.frombuffer(content[8:], ">i4")  # Version 0 is unsigned by the standard, and signed in practice.
    count = int.from_bytes(content[4:8])
    if (
        len(rows) < 2 * count
        or (rows[: 2 * count : 2] < 0).any()
        or rows[: 2 * count : 2].sum() > MOST_BYTES_OF_OFFSETS
    ):
        return None
    return np.repeat(rows[1 : 2 * count : 2].astype(np.int64), rows[: 2 * count : 2])


def _boxes(file: BinaryIO, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of the content of each box of this name that lies directly between `start` and `end`."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, header_bytes = int.from_bytes(header[:4]), 8
        if size == 1:
            size, header_bytes = int.from_bytes(header[8:16]), 16
        elif size == 0:
            size = end - start
        if size < header_bytes or start + size > end:
            return
        if header[4:8] == name:
            yield start + header_bytes, start + size
        start += size
