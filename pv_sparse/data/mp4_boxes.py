"""What FFmpeg reads from an mp4 file and does not tell: the offsets from decoding to presentation time (`ctts`).

ISO/IEC 14496-12, 8.6.1.3. A file is nested boxes, each its size, its name and its content.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

# Boxes on the way from a file to the time offsets of one of its tracks.
TRACK_BOXES = (b"mdia", b"minf", b"stbl", b"ctts")
MOST_BYTES_OF_OFFSETS = 2**26


def is_mp4(file: BinaryIO) -> bool:
    """By the name of its first box, which says what kind of mp4 or mov it is; old mov files have none."""
    file.seek(0)
    return file.read(8)[4:] == b"ftyp"


def composition_offsets(file: BinaryIO, num_bytes: int, track: int) -> np.ndarray | None:
    """(n,) int64, presentation less decoding time of each sample of the track.

    None where the file stores none, and both times are the same; empty where what it stores is damaged.
    """
    for start, end in _boxes(file, 0, num_bytes, b"moov"):
        for track_start, track_end in _boxes(file, start, end, b"trak"):
            if _track_number(file, track_start, track_end) == track:
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
    if not end:
        return None
    file.seek(start)
    content = file.read(end - start) if 8 <= end - start <= MOST_BYTES_OF_OFFSETS else bytes(8)
    rows = np.frombuffer(content[8:], ">i4", len(content) // 4 - 2)  # Version 0 is unsigned, and signed in practice.
    count = int.from_bytes(content[4:8])
    repeats, offsets = rows[: 2 * count : 2], rows[1 : 2 * count : 2]
    if len(rows) < 2 * count or (repeats < 0).any() or repeats.sum() > MOST_BYTES_OF_OFFSETS:
        return np.zeros(0, np.int64)
    return np.repeat(offsets.astype(np.int64), repeats)


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
