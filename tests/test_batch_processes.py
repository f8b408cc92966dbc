"""Decoding processes: ahead of the model, and none of them takes the job along when it dies."""

from itertools import count, islice

import pytest
from batch_jobs import CLASSES, DyingReader, write_videos, write_weights
from batch_tasks import fill, shout

from pv_sparse.batch.job import Job, chunks
from pv_sparse.batch.local_engine import run_locally
from pv_sparse.batch.processes import work_ahead
from pv_sparse.batch.scoring import Scorer
from pv_sparse.errors import PvSparseError
from pv_sparse.looking import Viewer
from pv_sparse.zoo.loading import find_weights


def test_no_tasks_no_processes():
    assert list(work_ahead(shout, [], 4, 8)) == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_those_that_kill_their_process_are_named_and_the_others_are_done(jobs):
    tasks = [(number, name) for number, name in enumerate(["a", "bad1", "b", "c", "bad2", "d"])]
    outcomes = dict(work_ahead(shout, tasks, jobs, 6))
    assert {number: outcomes[number] for number in (0, 2, 3, 5)} == {0: "A", 2: "B", 3: "C", 5: "D"}
    assert str(outcomes[1]) == "bad1: the process that read it died (out of memory, or a crash)"
    assert isinstance(outcomes[4], ChildProcessError)
    assert len(outcomes) == 6


@pytest.mark.slow
def test_processes_that_all_die_at_once_are_no_fault_of_the_videos():
    with pytest.raises(PvSparseError, match=r"die at once \(bad0: .*\): is there memory for them\? try fewer --jobs"):
        list(work_ahead(shout, ((number, "bad0") for number in range(9)), 1, 4))
    assert [key for key, _ in work_ahead(shout, [(0, "bad0"), (1, "bad1")], 1, 4)] == [0, 1]


@pytest.mark.slow
def test_tasks_without_end_are_read_as_they_are_needed():
    taken = count()
    tasks = ((number, str(number)) for number in taken)
    outcomes = [*islice(work_ahead(shout, tasks, 2, 5), 20)]  # as they are done
    assert all(text == str(number) for number, text in outcomes)
    assert len({number for number, _ in outcomes}) == 20
    assert next(taken) <= 20 + 5


@pytest.mark.slow
def test_large_answers_that_nobody_takes_do_not_hold_up_the_end():
    outcomes = work_ahead(fill, enumerate("abcdefgh"), 2, 4)
    assert len(next(outcomes)[1]) == 2**20
    outcomes.close()  # while others are in the middle of theirs


@pytest.mark.slow
def test_a_video_that_kills_its_process_is_an_error_of_its_own(tmp_path):
    videos = write_videos(tmp_path, 4)
    weights = find_weights(write_weights(tmp_path / "tiny.safetensors"))
    job = Job(videos, weights)
    reader = DyingReader(Viewer(weights), poison="gone.mp4")
    work = chunks(job, 3, lambda _: False)
    rows = [row for rows in run_locally(work, reader, Scorer(job, "cpu"), 1, 3) for row in rows]
    errors = {row["number"]: row["error"] for row in rows}
    assert sorted(errors) == [*range(5)]
    assert [number for number in errors if errors[number] is not None] == [3, 4]
    assert errors[4] == f"{videos[4]}: the process that read it died (out of memory, or a crash)"
    assert all(len(row["classes"]) == min(5, len(CLASSES)) for row in rows if row["error"] is None)
