"""`pv-sparse recognize --output`: whole jobs, and jobs that were broken off."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from batch_jobs import command, parts_of, rows_of, write_videos, write_weights
from click.testing import CliRunner
from index_video import write_index_video

from pv_sparse.batch.folder import open_folder
from pv_sparse.batch.job import Job
from pv_sparse.cli import main
from pv_sparse.recognition import Recognizer
from pv_sparse.zoo.loading import find_weights

MANY = 120


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"), 7)


@pytest.fixture
def listing(videos, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n".join([*videos, videos[0]]))  # one of them twice
    return path


def recognize(*arguments: object, code: int):
    result = CliRunner().invoke(main, ["recognize", *map(str, arguments)], prog_name="pv-sparse")
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr


@pytest.mark.slow
def test_a_job_and_the_same_command_again(listing, videos, weights, tmp_path):
    arguments = (listing, "--weights", weights, "--output", tmp_path / "out", "--shard-size", 3, "--batch-size", 2)
    told = recognize(*arguments, "--jobs", 2, code=1)
    assert f"{tmp_path / 'out'}: 8 videos, 2 failed: {videos[3]}: it is not a video" in told
    assert f"; {videos[7]}: no such file; 8 now, " in told
    assert f"videos/s with {weights} on cpu" in told
    parts = parts_of(tmp_path / "out")
    assert [*parts] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert [row["path"] for row in rows_of(tmp_path / "out")] == videos
    recognizer = Recognizer(weights)
    for row in rows_of(tmp_path / "out"):
        if row["error"] is None:
            expected = recognizer(row["path"])
            assert row["frame_times_seconds"] == expected.frame_times_seconds
            assert [entry["name"] for entry in row["classes"]] == [entry.name for entry in expected.classes]
    told = recognize(*arguments, code=1)
    assert f"{tmp_path / 'out'}: nothing to do, 8 videos, 2 failed: " in told
    (tmp_path / "out" / "part-00001.parquet").write_text("damaged")
    told = recognize(*arguments, "--jobs", 1, code=1)
    assert "part-00001.parquet: it is damaged" in told
    assert "5 of 8 videos are there, going on" in told
    assert parts_of(tmp_path / "out") == parts


@pytest.mark.slow
def test_frames_are_chosen_as_of_single_videos(videos, weights, tmp_path):
    arguments = (*videos[:3], "--weights", weights, "--output", tmp_path / "out", "--select", "motion")
    recognize(*arguments, "--jobs", 2, code=0)
    recognizer = Recognizer(weights, select="motion")
    for row in rows_of(tmp_path / "out"):
        expected = recognizer(row["path"])
        assert row["frame_indices"] == expected.frame_indices
        assert [entry["index"] for entry in row["classes"]] == [entry.index for entry in expected.classes]
    assert "nothing to do, 3 videos" in recognize(*arguments, code=0)
    told = recognize(*arguments[:-1], "diverse", code=1)
    assert "it holds another job (select is motion there, diverse now)" in told
    assert "it holds another job (select is motion there, None now)" in recognize(*arguments[:-2], code=1)


@pytest.mark.slow
def test_a_job_that_is_interrupted_and_killed_ends_as_one_that_is_not(weights, tmp_path):
    (tmp_path / "videos").mkdir()
    write_index_video(tmp_path / "videos" / "000.mp4", 200, gop=200)  # slow to decode
    for number in range(1, MANY):
        os.link(tmp_path / "videos" / "000.mp4", tmp_path / "videos" / f"{number:03}.mp4")
    (tmp_path / "videos" / "007.mp4").unlink()
    (tmp_path / "videos" / "007.mp4").touch()
    options = ["--weights", weights, "--shard-size", 10, "--batch-size", 4, "--jobs"]
    recognize(tmp_path / "videos", *options, 1, "--output", tmp_path / "whole", code=1)
    arguments = [tmp_path / "videos", *options, 2, "--output", tmp_path / "out"]
    told = stop(arguments, signal.SIGINT, tmp_path / "out" / "part-00000.parquet")
    assert f"of {MANY} videos are done and kept in {tmp_path / 'out'}, the same command goes on" in told
    number = len(parts_of(tmp_path / "out"))
    stop(arguments, signal.SIGKILL, tmp_path / "out" / f"part-{number:05}.parquet")
    assert 0 < len(parts_of(tmp_path / "out")) < MANY // 10
    before = parts_of(tmp_path / "out")
    told = recognize(*arguments, code=1)
    assert f"of {MANY} videos are there, going on" in told
    after = parts_of(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert after == parts_of(tmp_path / "whole")
    assert not [*(tmp_path / "out").glob(".*.journal*")]


def stop(arguments: list, how: signal.Signals, when: Path) -> str:
    """Run the real command, and end it as soon as that file is there; what it said."""
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not when.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
            pytest.fail(process.stderr.read())
        assert time.monotonic() < deadline
    process.send_signal(how)
    told = process.communicate(timeout=300)[1]
    assert process.returncode == (-how if how == signal.SIGKILL else 1), told
    return told


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line_and_loses_nothing(listing, videos, weights, small_disk):
    out = small_disk / "out"
    arguments = (listing, "--weights", weights, "--output", out, "--shard-size", 1, "--batch-size", 1, "--jobs", 1)
    out.mkdir()
    (small_disk / "filler").write_bytes(bytes(2 * 2**20 - 5 * 4096))  # room for job.json and a few files
    told = recognize(*arguments, code=1)
    assert told.count("\n") == 1
    assert "No space left on device" in told
    kept = parts_of(out)
    assert 0 < len(kept) < 8
    assert f"{len(kept)} of 8 videos are done and kept in {out}, the same command goes on" in told
    (small_disk / "filler").unlink()
    recognize(*arguments, code=1)
    assert {name: content for name, content in parts_of(out).items() if name in kept} == kept
    assert [row["path"] for row in rows_of(out)] == videos


def test_a_gpu_that_is_too_small_is_one_line(listing, weights, tmp_path, monkeypatch):
    def out_of_memory(chunks, reader, scorer, jobs, batch_size):
        chunk = next(chunks)
        yield scorer.rows(chunk, ["it is broken"] * len(chunk.numbers))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("pv_sparse.batch_command.run_locally", out_of_memory)
    told = recognize(listing, "--weights", weights, "--output", tmp_path / "out", "--batch-size", 2, code=1)
    assert told.count("\n") == 1
    assert "CUDA out of memory. Tried to allocate 2 GiB" in told
    assert "(a smaller --batch-size needs less): 2 of 8 videos are done and kept" in told


def test_a_finished_job_without_failures_is_exit_code_0(videos, weights, tmp_path):
    names = ("error", "num_frames", "frame_indices", "frame_times_seconds", "classes")
    with open_folder(tmp_path / "out", Job(videos[:1], find_weights(weights))) as folder:
        folder.add([{"number": 0, "path": videos[0], "weights": weights, **dict.fromkeys(names)}])
    told = recognize(videos[0], "--weights", weights, "--output", tmp_path / "out", code=0)
    assert told == f"{tmp_path / 'out'}: nothing to do, 1 video, none failed\n"


@pytest.mark.slow
def test_videos_that_are_done_may_go(weights, tmp_path):
    """A list names videos beside it; the same command still means the same job without them."""
    names = [Path(path).name for path in write_videos(tmp_path, 3)[:3]]
    (tmp_path / "list.txt").write_text("\n".join(names))
    arguments = (tmp_path / "list.txt", "--weights", weights, "--output", tmp_path / "out", "--shard-size", 1)
    recognize(*arguments, "--jobs", 1, code=0)
    parts = parts_of(tmp_path / "out")
    for name in ("part-00002.parquet", "../00.mp4"):
        (tmp_path / "out" / name).unlink()
    told = recognize(*arguments, "--jobs", 1, code=0)
    assert "2 of 3 videos are there, going on" in told
    assert parts_of(tmp_path / "out") == parts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "tsn_efficientnet"], "did you mean tsn_efficientnet_lite0.in1k?"),
        (["--weights", "tsn_r50_flow.epic_ek55"], "reads optical flow"),
        (["--device", "tpu"], "device='tpu' cannot be used"),
        (["--select", "best"], "select='best' is unknown: choose one of even, motion, diverse"),
        (["--select", "motion", "--all-views"], "select='motion' chooses other frames than all views"),
        (["gone.txt"], "gone.txt: no such file or folder"),
        (["{here}/empty.txt"], "the list names no video"),
    ],
)
def test_a_users_error_is_one_line_before_the_work(videos, weights, tmp_path, arguments, words):
    (tmp_path / "empty.txt").touch()
    given = [argument.format(here=tmp_path) for argument in arguments]
    told = recognize(videos[0], "--weights", weights, "--output", tmp_path / "out", *given, code=1)
    assert told.count("\n") == 1
    assert words in told


def test_other_options_in_the_folder_are_one_line(listing, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("pv_sparse.batch_command.run_locally", lambda *_: iter(()))
    told = recognize(listing, "--weights", weights, "--output", tmp_path / "out", code=1)
    assert "only 0 of 8 videos are done: give the same command again" in told
    told = recognize(listing, "--weights", weights, "--output", tmp_path / "out", "--features", code=1)
    assert told == (
        f"Error: {tmp_path / 'out'}: it holds another job (features is False there, True now): "
        "choose another folder, or that job's options\n"
    )
