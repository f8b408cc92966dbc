"""A whole corpus measured once: one record per video, readable or why not, kept in a CSV or Parquet file.

A data set that has the index need not open a video to know its frames, and skips unreadable ones before training.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from pv_sparse.data.video import SparseVideo
from pv_sparse.errors import one_line

SUFFIXES = (".csv", ".parquet")
INTEGERS = frozenset({"num_frames", "width", "height", "size_bytes"})
FLOATS = frozenset({"average_rate", "duration_seconds"})
# File names that are no UTF-8 text hold lone surrogates (`os.fsdecode`), which neither format can store.
ESCAPED_SURROGATE = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")


@dataclass(frozen=True)
class VideoRecord:
    """What is known of one video file.

    Attributes:
        path: as it was given; a relative path is relative to the working directory.
        error: why the video cannot be read, None where it can. With an error, the fields below are None, but
            for `size_bytes`.
        num_frames: the frames that a full decode shows.
        average_rate: frames per second over the whole video; 0 where one frame and no header tell it.
        duration_seconds: from the start of the first frame to the end of the last.
        width: pixels of a frame as it is shown, a rotation noted in the file applied.
        height: as `width`.
        codec: FFmpeg's name of the codec, such as "h264".
        keyframes: numbers (0-based) of the frames that are keyframes, ascending.
        size_bytes: of the file, unreadable ones too; None where there is no such local file.
    """

    path: str
    error: str | None = None
    num_frames: int | None = None
    average_rate: float | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    keyframes: tuple[int, ...] | None = None
    size_bytes: int | None = None


COLUMNS = tuple(field.name for field in fields(VideoRecord))


def measure(path: str | os.PathLike[str]) -> VideoRecord:
    """The record of one video; no frame but the first is decoded where the packets tell the rest (`SparseVideo`).

    Whatever is wrong with the file is told in the record's `error`, and not raised.
    """
    size_bytes = size_of(path)
    try:
        with SparseVideo(path, threads=1) as video:
            height, width = video.height, video.width  # First: this may find that there are fewer frames.
            return VideoRecord(
                path=os.fspath(path),
                num_frames=video.num_frames,
                average_rate=float(video.average_rate),
                duration_seconds=float(video.duration_seconds),
                width=width,
                height=height,
                codec=video.codec,
                keyframes=tuple(video.keyframes),
                size_bytes=size_bytes,
            )
    except Exception as error:
        return VideoRecord(os.fspath(path), one_line(error), size_bytes=size_bytes)


def size_of(path: str | os.PathLike[str]) -> int | None:
    """The bytes of a local file; None where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def read_index(path: str | os.PathLike[str]) -> dict[str, VideoRecord]:
    """The records of an index file by the videos' paths, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: a .parquet file, and pyarrow is not installed.
        ValueError: the file is no index, or its name ends neither in .csv nor in .parquet.
    """
    check_format(path)
    rows = _read_parquet(Path(path)) if _is_parquet(path) else _read_csv(Path(path))
    return {record.path: record for record in map(_record, rows)}


def write_index(records: Iterable[VideoRecord], path: str | os.PathLike[str]) -> None:
    """Write an index file, CSV or Parquet by the ending of its name; `read_index` gives equal records back.

    The file appears, or is replaced, whole: it is written beside itself, as PATH.new, and renamed. In CSV, an empty
    field is None and keyframes are separated by spaces. In both, a byte of a file name that is no UTF-8 text
    is written as Python writes it: \\udcff for the byte ff.

    Raises:
        ModuleNotFoundError: a .parquet file, and pyarrow is not installed.
        ValueError: the name ends neither in .csv nor in .parquet.
    """
    check_format(path)
    new = Path(f"{os.fspath(path)}.new")
    rows = [_as_text(asdict(record)) for record in records]
    if _is_parquet(path):
        _write_parquet(rows, new)
    else:
        _write_csv(rows, new)
    os.replace(new, path)


def check_format(path: str | os.PathLike[str]) -> None:
    """The errors that writing an index at `path` would end with, told before the work."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{os.fspath(path)}: the name of an index must end in {' or '.join(SUFFIXES)}")
    if _is_parquet(path):
        _pyarrow()


def _is_parquet(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == ".parquet"


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in row.items()}


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unescaped(text: str) -> str:
    return ESCAPED_SURROGATE.sub(lambda match: chr(int(match[1], 16)), text)


def _record(row: Mapping[str, Any]) -> VideoRecord:
    texts = {name: _unescaped(row[name]) if row[name] else None for name in ("error", "codec")}
    keyframes = None if row["keyframes"] is None else tuple(row["keyframes"])
    return VideoRecord(**{**row, **texts, "path": _unescaped(row["path"]), "keyframes": keyframes})


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "keyframes": " ".join(map(str, row["keyframes"] or ()))} for row in rows)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    limit = csv.field_size_limit(2**31 - 1)  # A long video of keyframes alone exceeds the module's 128 KiB.
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            return [{name: _parsed(name, row) for name in COLUMNS} for row in reader]
    finally:
        csv.field_size_limit(limit)


def _parsed(name: str, row: Mapping[str, str]) -> Any:
    text = row[name]
    if name == "keyframes":  # a video may have none that is marked
        return None if row["error"] else [int(number) for number in text.split()]
    if name in INTEGERS:
        return int(text) if text else None
    if name in FLOATS:
        return float(text) if text else None
    return text


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    pyarrow = _pyarrow()
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([(name, _type(name)) for name in COLUMNS]))
    pyarrow.parquet.write_table(table, path)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    table = _pyarrow().parquet.read_table(path)
    _check_columns(path, table.column_names)
    return table.select(COLUMNS).to_pylist()


def _type(column: str) -> Any:
    pyarrow = _pyarrow()
    if column == "keyframes":
        return pyarrow.list_(pyarrow.int64())
    if column in INTEGERS:
        return pyarrow.int64()
    return pyarrow.float64() if column in FLOATS else pyarrow.string()


def _check_columns(path: Path, names: Iterable[str]) -> None:
    missing = [name for name in COLUMNS if name not in set(names)]
    if missing:
        raise ValueError(f"{path}: not an index of videos: it lacks {', '.join(missing)} (pv-sparse index makes one)")


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('a .parquet index needs pyarrow: pip install "pv-sparse[batch]", or .csv') from error
    return pyarrow
