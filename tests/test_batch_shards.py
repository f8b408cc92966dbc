"""The files of batch jobs: whole, in order, and read again after a kill."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pv_sparse.batch.shards import Journal, read_errors, write_shard

SEEN = {"weights": "w", "num_frames": 9, "frame_indices": [1, 4], "frame_times_seconds": [0.1, 0.4]}
UNSEEN = dict.fromkeys(("num_frames", "frame_indices", "frame_times_seconds"))


def row(number: int, **changes) -> dict:
    classes = [{"index": 2, "name": "run", "score": float(np.float32(0.7)), "task": None}]
    return {"number": number, "path": f"{number}.mp4", "error": None, **SEEN, "classes": classes, **changes}


def failed(number: int) -> dict:
    return row(number, error=f"{number}.mp4: no such file", **UNSEEN, classes=None)


def test_a_file_holds_the_columns_of_the_result_record(tmp_path):
    write_shard(tmp_path / "part.parquet", [row(0), failed(1)], features=False)
    table = pq.read_table(tmp_path / "part.parquet")
    assert table.column_names == [*row(0)][1:]
    assert table.schema.field("classes").type.value_type.field("score").type == pa.float32()
    expected = [row(0), failed(1)]
    assert table.to_pylist() == [{name: value for name, value in one.items() if name != "number"} for one in expected]
    assert read_errors(tmp_path / "part.parquet", 2, features=False) == ["1.mp4: no such file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.parquet"]


def test_a_file_of_errors_alone_has_the_same_columns(tmp_path):
    write_shard(tmp_path / "good.parquet", [row(0)], features=False)
    write_shard(tmp_path / "bad.parquet", [failed(0)], features=False)
    assert pq.read_schema(tmp_path / "good.parquet") == pq.read_schema(tmp_path / "bad.parquet")


def test_features_are_a_flat_list_and_its_shape(tmp_path):
    features = np.arange(6, dtype=np.float32)
    good = {name: value for name, value in row(0).items() if name != "classes"}
    write_shard(tmp_path / "part.parquet", [{**good, "features": features, "features_shape": [2, 3]}], features=True)
    read = pq.read_table(tmp_path / "part.parquet").to_pylist()[0]
    assert np.array_equal(np.float32(read["features"]).reshape(read["features_shape"]), features.reshape(2, 3))
    assert "classes" not in read


def test_names_that_are_no_text_are_escaped(tmp_path):
    name = os.fsdecode(b"na\xffme.mp4")
    write_shard(tmp_path / "part.parquet", [row(0, path=name), row(1, error=f"{name}: gone")], features=False)
    read = pq.read_table(tmp_path / "part.parquet").to_pylist()
    assert (read[0]["path"], read[1]["error"]) == ("na\\udcffme.mp4", "na\\udcffme.mp4: gone")


@pytest.mark.parametrize("harm", ["cut", "emptied", "overwritten", "of another length", "of other columns"])
def test_a_damaged_file_is_told(tmp_path, harm):
    path = tmp_path / "part.parquet"
    write_shard(path, [row(0), row(1)], features=False)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "emptied":
        path.write_bytes(b"")
    elif harm == "overwritten":
        path.write_text("this is no Parquet file, and long enough to be one")
    with pytest.raises(ValueError, match=r"part\.parquet: it (is damaged|has other columns)"):
        read_errors(path, 3 if harm == "of another length" else 2, features=harm == "of other columns")


def test_a_journal_is_read_up_to_where_a_kill_cut_it(tmp_path):
    journal = Journal(tmp_path / "journal", features=False)
    journal.append([row(0), failed(1)])
    whole = len(journal.path.read_bytes())
    journal.append([row(2)])
    journal.close()
    content = journal.path.read_bytes()
    for length in range(whole, len(content), 61):
        journal.path.write_bytes(content[:length])
        assert [one["number"] for one in Journal(journal.path, features=False).read()] == [0, 1]
    journal.path.write_bytes(content)
    assert Journal(journal.path, features=False).read() == [row(0), failed(1), row(2)]


def test_a_journal_that_was_cut_is_gone_on_with(tmp_path):
    first = Journal(tmp_path / "journal", features=False)
    first.append([row(0)])
    first.append([row(1)])
    first.close()
    first.path.write_bytes(first.path.read_bytes()[:-200])
    second = Journal(first.path, features=False)
    second.append([row(1), row(2)])
    second.close()
    assert [one["number"] for one in second.read()] == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_a_journal_of_nothing_is_empty(tmp_path, content):
    (tmp_path / "journal").write_bytes(content)
    assert Journal(tmp_path / "journal", features=False).read() == []
    assert Journal(tmp_path / "none", features=False).read() == []
