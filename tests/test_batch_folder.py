"""The folder of a batch job: whose it is, what of it is done, and who works in it."""

import dataclasses
import json

import pytest
from batch_jobs import rows_of, write_weights

from pv_sparse.batch.folder import kept_videos, open_folder
from pv_sparse.batch.job import Job, chunks
from pv_sparse.errors import PvSparseError
from pv_sparse.zoo.loading import find_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return find_weights(write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture
def job(weights):
    return Job([f"{number}.mp4" for number in range(7)], weights, shard_size=3)


def row(number: int) -> dict:
    names = ("num_frames", "frame_indices", "frame_times_seconds", "classes")
    told = {"number": number, "path": f"{number}.mp4", "error": f"{number} failed", "weights": "w"}
    return told | dict.fromkeys(names)


def paths_in(folder) -> list[str]:
    return [row["path"] for row in rows_of(folder)]


def open_and_close(path, job) -> None:
    with open_folder(path, job):
        pass


def add(folder, *numbers: int) -> None:
    folder.add([row(number) for number in numbers])


def test_chunks_lie_within_a_file_and_leave_out_what_is_done(job):
    assert [chunk.numbers for chunk in chunks(job, 2, lambda _: False)] == [[0, 1], [2], [3, 4], [5], [6]]
    assert [chunk.numbers for chunk in chunks(job, 2, {1, 2, 3, 4}.__contains__)] == [[0], [5], [6]]
    assert next(chunks(job, 10, lambda _: False)).paths == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_file_appears_when_all_its_videos_are_there_in_the_order_of_the_list(tmp_path, job):
    with open_folder(tmp_path / "deep" / "out", job) as folder:
        add(folder, 6)
        add(folder, 2)
        assert paths_in(folder.path) == ["6.mp4"]
        add(folder, 0, 1)
        assert paths_in(folder.path) == ["0.mp4", "1.mp4", "2.mp4", "6.mp4"]
        assert (folder.num_done, folder.num_failed) == (4, 4)
        assert folder.first_errors() == ["0 failed", "1 failed", "2 failed"]


def test_what_was_under_way_is_known_again(tmp_path, job):
    with open_folder(tmp_path, job) as folder:
        add(folder, 0, 1)
        add(folder, 2)
        add(folder, 3)
        add(folder, 5)
    with open_folder(tmp_path, job) as folder:
        assert [number for number in range(7) if folder.is_done(number)] == [0, 1, 2, 3, 5]
        assert folder.num_done == 5
        add(folder, 4)
        add(folder, 6)
    assert paths_in(tmp_path) == job.videos
    parts = {f"part-0000{number}.parquet" for number in range(3)}
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "job.json", "videos.json", *parts}


def test_a_journal_that_is_complete_becomes_its_file(tmp_path, job):
    with open_folder(tmp_path, job) as folder:
        add(folder, 0, 1)
        folder._journal(0).append([row(2)])  # as a kill right before the file is written
    with open_folder(tmp_path, job) as folder:
        assert folder.num_done == 3
    assert paths_in(tmp_path) == ["0.mp4", "1.mp4", "2.mp4"]


def test_the_list_is_the_one_that_the_job_began_with(tmp_path, job):
    """However its files came and went since."""
    job = dataclasses.replace(job, asked="the same words")
    open_and_close(tmp_path, job)
    assert kept_videos(tmp_path, "the same words") == job.videos
    assert kept_videos(tmp_path, "other words") is None
    assert kept_videos(tmp_path / "new", "the same words") is None


def test_what_a_killed_process_left_is_removed(tmp_path, job):
    open_and_close(tmp_path, job)
    for name in (".part-00000.parquet.123.part", ".part-00000.journal.new"):
        (tmp_path / name).write_text("half")
    open_and_close(tmp_path, job)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "job.json", "videos.json"}


def test_a_damaged_journal_is_no_error(tmp_path, job):
    with open_folder(tmp_path, job) as folder:
        add(folder, 0)
    journal = tmp_path / ".part-00000.journal"
    journal.write_bytes(journal.read_bytes().replace(b"0 failed", b"\xff failed"))
    with open_folder(tmp_path, job) as folder:
        assert folder.num_done == 0


def test_a_damaged_file_is_done_again(tmp_path, job, capsys):
    with open_folder(tmp_path, job) as folder:
        add(folder, 0, 1, 2)
        add(folder, 3, 4, 5)
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1")
    with open_folder(tmp_path, job) as folder:
        assert [chunk.numbers for chunk in chunks(job, 3, folder.is_done)] == [[0, 1, 2], [6]]
    assert "part-00000.parquet: it is damaged" in capsys.readouterr().err


def test_two_at_once_are_refused(tmp_path, job):
    with open_folder(tmp_path, job), pytest.raises(PvSparseError, match="another process works on this job"):
        open_and_close(tmp_path, job)
    open_and_close(tmp_path, job)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top_k": 3}, "top_k is 5 there, 3 now"),
        ({"features": True}, "features is False there, True now"),
        ({"all_views": True}, "all_views is False there, True now"),
        ({"precision": "bfloat16"}, "precision is None there, bfloat16 now"),
        ({"select": "motion"}, "select is None there, motion now"),
        ({"shard_size": 4}, "shard_size is 3 there, 4 now"),
        ({"videos": ["0.mp4", "1.mp4"]}, "7 videos there, 2 now: a job's list is fixed"),
        ({"videos": [f"{number}.mp4" for number in range(6, -1, -1)]}, "another list of 7 videos, or another order"),
    ],
)
def test_another_job_is_refused(tmp_path, job, changes, words):
    open_and_close(tmp_path, job)
    with pytest.raises(PvSparseError, match="it holds another job") as caught:
        open_and_close(tmp_path, dataclasses.replace(job, **changes))
    assert words in str(caught.value)


def test_weights_that_were_trained_on_are_another_job(tmp_path, job, weights):
    own = tmp_path / "own.safetensors"
    write_weights(own)
    open_and_close(tmp_path / "out", dataclasses.replace(job, weights=find_weights(str(own))))
    own.write_bytes(own.read_bytes()[:-1] + b"\x01")
    with pytest.raises(PvSparseError, match="weights_sha256 is"):
        open_and_close(tmp_path / "out", dataclasses.replace(job, weights=find_weights(str(own))))


def test_a_folder_from_before_frames_could_be_chosen_is_the_same_job(tmp_path, job):
    open_and_close(tmp_path, job)
    record = json.loads((tmp_path / "job.json").read_text())
    del record["select"]
    (tmp_path / "job.json").write_text(json.dumps(record))
    open_and_close(tmp_path, job)
    with pytest.raises(PvSparseError, match="select is None there, diverse now"):
        open_and_close(tmp_path, dataclasses.replace(job, select="diverse"))


def test_other_versions_are_the_same_job(tmp_path, job):
    with open_folder(tmp_path, job):
        pass
    record = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**record, "versions": {"torch": "1.0"}}))
    with open_folder(tmp_path, job) as folder:
        assert folder.num_done == 0


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"part-00000.parquet": ""}, "it holds part files, but no job.json"),
        ({"job.json": "{"}, r"job\.json: it is damaged"),
        ({"job.json": "[]"}, r"job\.json: it is no record of a job"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, job, files, words):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(PvSparseError, match=words):
        open_and_close(tmp_path, job)


def test_a_file_in_place_of_the_folder_is_told(tmp_path, job):
    (tmp_path / "out").touch()
    with pytest.raises(FileExistsError):
        open_and_close(tmp_path / "out", job)


def test_a_full_disk_loses_nothing_that_was_there(small_disk, job):
    with open_folder(small_disk / "out", job) as folder:
        add(folder, 0, 1)
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "filler").write_bytes(bytes(4 * 2**20))
        for number in (2, 3):  # a file, and a journal
            with pytest.raises(OSError, match="No space left"):
                add(folder, number)
        assert folder.num_done == 2
    (small_disk / "filler").unlink()
    with open_folder(small_disk / "out", job) as folder:
        assert [number for number in range(7) if folder.is_done(number)] == [0, 1]
        add(folder, 2)
        assert paths_in(folder.path) == ["0.mp4", "1.mp4", "2.mp4"]
        assert not [*folder.path.glob("*.part")]
