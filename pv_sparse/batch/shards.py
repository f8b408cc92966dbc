"""The files of a batch job: Parquet for what is whole, Arrow's stream for what is under way."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pv_sparse.whole_files import whole_file

Row = dict[str, Any]
CLASS = pa.struct(
    [("index", pa.int64()), ("name", pa.string()), ("score", pa.float32()), ("task", pa.string())],
)
SEEN = (
    ("path", pa.string()),
    ("error", pa.string()),
    ("weights", pa.string()),
    ("num_frames", pa.int64()),
    ("frame_indices", pa.list_(pa.int64())),
    ("frame_times_seconds", pa.list_(pa.float64())),
)
CLASSES = pa.schema([*SEEN, ("classes", pa.list_(CLASS))])
FEATURES = pa.schema([*SEEN, ("features", pa.list_(pa.float32())), ("features_shape", pa.list_(pa.int64()))])


def write_shard(path: Path, rows: Iterable[Row], features: bool) -> None:
    """A Parquet file of these rows, whole or not at all; their `number` is left out."""
    table = pa.Table.from_pylist([_as_text(row) for row in rows], schema=_schema(features))
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_errors(path: Path, num_rows: int, features: bool) -> list[str]:
    """What is wrong with the videos of a Parquet file of ours; `ValueError` for one that is not whole."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema(features)) or file.metadata.num_rows != num_rows:
                raise ValueError(f"{path}: it has other columns, or {file.metadata.num_rows} rows, not {num_rows}")
            errors = file.read(columns=["error"]).column("error")
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: it is damaged ({error})") from error
    return [text for text in errors.to_pylist() if text is not None]


class Journal:
    """Rows of a file that is not complete yet; what a killed run has written is read again.

    Args:
        path: of the journal; there or not.
        features: which columns.
    """

    def __init__(self, path: Path, features: bool):
        self.path = path
        self.schema = _schema(features).append(pa.field("number", pa.int64()))
        self._sink: Any = None
        self._writer: Any = None

    def read(self) -> list[Row]:
        """The rows that are whole, none where there is no journal; the last batch of a killed run may be cut off."""
        rows: list[Row] = []
        if not self.path.exists():
            return rows
        try:
            with pa.ipc.open_stream(self.path.read_bytes()) as stream:
                if stream.schema.equals(self.schema):
                    for batch in stream:
                        batch.validate()
                        rows += _rows(batch)
        except (pa.ArrowException, OSError, ValueError):
            pass
        return rows

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows; a kill right after it does not lose them."""
        if self._writer is None:
            self._open()
        self._write([_as_text(row) for row in rows])

    def close(self) -> None:
        """Leave it where it is."""
        if self._sink is not None:
            with contextlib.suppress(OSError):  # of a full disk, which was told when it was written to
                self._sink.close()
            self._sink = self._writer = None

    def remove(self) -> None:
        """It has been read into a file that is whole."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        """A stream can only be begun anew: what was in it goes first, and replaces it when that is written."""
        rows, new = self.read(), self.path.with_name(f"{self.path.name}.new")
        self._sink = new.open("wb")
        self._writer = pa.ipc.new_stream(self._sink, self.schema)
        self._write(rows)
        new.replace(self.path)

    def _write(self, rows: list[Row]) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=self.schema))
        self._sink.flush()


def _rows(batch: Any) -> list[Row]:
    """Features stay arrays: as Python's numbers they would take eight times the memory."""
    names = [name for name in batch.schema.names if name != "features"]
    rows: list[Row] = batch.select(names).to_pylist()
    if "features" in batch.schema.names:
        for row, values in zip(rows, batch.column("features"), strict=True):
            row["features"] = values.values.to_numpy() if values.is_valid else None
    return rows


def _schema(features: bool) -> pa.Schema:
    return FEATURES if features else CLASSES


def _as_text(row: Row) -> Row:
    """A byte of a file name that is no UTF-8 text is written as Python writes it: \\udcff for the byte ff."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in row.items()}


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
