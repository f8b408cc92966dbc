"""A corpus measured once: what an index holds, and that neither bad files nor interruptions lose it."""

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_video import write_index_video
from waiting import wait_until

from pv_sparse import SparseVideo
from pv_sparse.cli import main
from pv_sparse.data.corpus_index import COLUMNS, VideoRecord, measure, read_index, write_index

GOOD = VideoRecord("a.mp4", None, 60, 25.0, 2.4, 160, 96, "h264", (0, 12, 24, 36, 48), 1000)
BAD = VideoRecord("b,\n\"c'.mp4", "b: the file is empty", size_bytes=0)
UNMARKED = dataclasses.replace(GOOD, path="d.mp4", average_rate=30000 / 1001, keyframes=())
records = st.builds(
    VideoRecord,
    path=st.text(st.characters(exclude_characters="\\"), min_size=1),
    num_frames=st.integers(0, 2**40),
    average_rate=st.floats(0, 1e6),
    duration_seconds=st.floats(0, 1e6),
    width=st.integers(1, 9999),
    height=st.integers(1, 9999),
    codec=st.just("h264"),
    keyframes=st.lists(st.integers(0, 2**40)).map(tuple),
    size_bytes=st.none() | st.integers(0, 2**50),
)


def index(*arguments, code: int = 0):
    result = CliRunner().invoke(main, ["index", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def names_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def corpus(tmp_path):
    """A folder of two good videos and three bad ones."""
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    write_index_video(folder / "a.mp4", 30)
    write_index_video(folder / "deep" / "b.avi", 20, "mpeg4", gop=5, rate=10)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video")
    return folder


@pytest.fixture
def measured_paths(monkeypatch):
    """The paths that a run in this process measures."""
    paths = []

    def remember(path):
        paths.append(path)
        return measure(path)

    monkeypatch.setattr("pv_sparse.index_command.measure", remember)
    return paths


def test_a_record_tells_what_the_decoder_finds(index_video):
    record = measure(index_video)
    video = SparseVideo(index_video)
    assert record == VideoRecord(
        path=str(index_video),
        num_frames=60,
        average_rate=25.0,
        duration_seconds=2.4,
        width=160,
        height=96,
        codec="h264",
        keyframes=(0, 12, 24, 36, 48),
        size_bytes=index_video.stat().st_size,
    )
    assert (video.height, video.width, video.codec) == (96, 160, "h264")


def test_the_size_is_that_of_the_frames_given(tmp_path):
    path = write_index_video(tmp_path / "video.mp4", 5)
    content = path.read_bytes()
    one, w = 1 << 16, 1 << 30
    track = content.rindex(struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, w))
    clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, w)
    path.write_bytes(content[:track] + clockwise + content[track + len(clockwise) :])
    record = measure(path)
    assert (record.height, record.width) == (160, 96) == tuple(SparseVideo(path).frames_at([0]).shape[2:])


def test_a_bad_file_is_a_record_with_the_cause(tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    record = measure(tmp_path / "text.mp4")
    assert record.error.startswith(f"{tmp_path / 'text.mp4'}: it is not a video, or its header is damaged")
    assert record == VideoRecord(str(tmp_path / "text.mp4"), record.error, size_bytes=16)
    missing = str(tmp_path / "gone.mp4")
    assert measure(missing) == VideoRecord(missing, f"{missing}: no such file")


@pytest.mark.parametrize("name", ["index.csv", "index.parquet"])
def test_an_index_read_back_is_equal(tmp_path, name):
    no_text = VideoRecord(os.fsdecode(b"na\xffme.mp4"), os.fsdecode(b"na\xffme.mp4: no such file"))
    long = dataclasses.replace(GOOD, path="long.mp4", keyframes=tuple(range(40_000)))
    written = [GOOD, BAD, UNMARKED, no_text, long]
    write_index(written, tmp_path / name)
    assert list(read_index(tmp_path / name).items()) == [(record.path, record) for record in written]
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["any.csv", "any.parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(records, unique_by=lambda record: record.path))
def test_any_index_read_back_is_equal(tmp_path, name, written):
    write_index(written, tmp_path / name)
    assert list(read_index(tmp_path / name).values()) == written


def test_parquet_has_the_types_that_programs_expect(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_index([BAD], tmp_path / "index.parquet")
    schema = parquet.read_schema(tmp_path / "index.parquet")
    assert schema.names == list(COLUMNS)
    assert str(schema.field("num_frames").type) == "int64"
    assert str(schema.field("average_rate").type) == "double"
    assert str(schema.field("keyframes").type).startswith("list<")


def test_a_missing_pyarrow_is_told_with_its_extra_before_the_work(tmp_path, corpus, monkeypatch, measured_paths):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = index(corpus, "-o", tmp_path / "index.parquet", code=1)
    assert 'pip install "pv-sparse[batch]"' in result.stderr
    assert not measured_paths
    index(corpus, "-o", tmp_path / "index.csv", "--jobs", 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("index.json", "the name of an index must end in .csv or .parquet"),
        ("gone/index.csv", "there is no folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path, corpus, measured_paths, name, words):
    assert words in index(corpus, "-o", tmp_path / name, code=1).stderr
    assert not measured_paths


def test_what_is_no_index_is_told(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\na.mp4,3\n")
    with pytest.raises(ValueError, match=r"labels\.csv: not an index of videos: it lacks error, num_frames"):
        read_index(tmp_path / "labels.csv")
    for name in ("gone.csv", "gone.parquet"):
        with pytest.raises(FileNotFoundError):
            read_index(tmp_path / name)


def test_bad_files_are_rows_and_a_summary_and_no_failure(tmp_path, corpus):
    result = index(corpus, "-o", tmp_path / "index.csv", "--jobs", 1)
    assert result.stdout == ""
    assert result.stderr.startswith(
        f"4 videos (4 measured now), 2 unreadable: {corpus / 'empty.mp4'}: the file is empty; {corpus / 'text.mp4'}: "
    )
    found = read_index(tmp_path / "index.csv")
    assert [(path.rpartition("corpus/")[2], record.num_frames) for path, record in found.items()] == [
        ("a.mp4", 30),
        ("deep/b.avi", 20),
        ("empty.mp4", None),
        ("text.mp4", None),
    ]
    assert found[str(corpus / "deep" / "b.avi")].average_rate == 10
    assert names_in(tmp_path) == ["corpus", "index.csv"]


def test_a_corpus_that_is_not_there_is_an_error(tmp_path):
    assert "no such file or folder" in index(tmp_path / "gone", "-o", tmp_path / "index.csv", code=1).stderr
    assert names_in(tmp_path) == []


def test_paths_are_kept_as_given(tmp_path, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("corpus/a.mp4 3\ncorpus/gone.mp4 0\n")
    index("list.txt", "-o", "index.csv", "--jobs", 1)
    assert list(read_index("index.csv")) == ["corpus/a.mp4", "corpus/gone.mp4"]


@pytest.mark.slow
def test_any_number_of_processes_write_the_same(tmp_path, corpus):
    index(corpus, "-o", tmp_path / "one.csv", "--jobs", 1)
    index(corpus, "-o", tmp_path / "two.csv", "--jobs", 2)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_a_finished_index_is_extended_by_new_and_changed_files(tmp_path, corpus, measured_paths):
    output = tmp_path / "index.csv"
    index(corpus, "-o", output, "--jobs", 1)
    measured_paths.clear()
    index(corpus, "-o", output, "--jobs", 1)
    assert measured_paths == []
    write_index_video(corpus / "c.mp4", 10)
    write_index_video(corpus / "empty.mp4", 12)
    index(corpus / "c.mp4", corpus / "empty.mp4", "-o", output, "--jobs", 1)
    assert measured_paths == [str(corpus / "c.mp4"), str(corpus / "empty.mp4")]
    found = {path.rpartition("/")[2]: record.num_frames for path, record in read_index(output).items()}
    assert found == {"a.mp4": 30, "b.avi": 20, "text.mp4": None, "c.mp4": 10, "empty.mp4": 12}


def test_an_unfinished_line_of_the_journal_is_measured_again(tmp_path, corpus, measured_paths):
    line = json.dumps(dataclasses.asdict(measure(corpus / "a.mp4")))
    journal = tmp_path / "index.csv.part"
    journal.write_text(f"{line}\n{line[:50]}")
    index(corpus, "-o", tmp_path / "index.csv", "--jobs", 1)
    assert [path.rpartition("/")[2] for path in measured_paths] == ["b.avi", "empty.mp4", "text.mp4"]
    assert len(read_index(tmp_path / "index.csv")) == 4
    assert not journal.exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path, measured_paths):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(40):
        os.link(write_index_video(folder / "0.mp4", 10) if not number else folder / "0.mp4", folder / f"v{number}.mp4")
    output, journal = tmp_path / "index.csv", tmp_path / "index.csv.part"
    command = [sys.executable, "-W", "ignore", "-m", "pv_sparse", "index", folder, "-o", output, "--jobs", "2"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: journal.exists() and journal.stat().st_size > 0, running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not output.exists()
    num_done = journal.read_bytes().count(b"\n")
    assert 0 < num_done < 41
    index(folder, "-o", output, "--jobs", 1)
    assert len(measured_paths) == 41 - num_done
    index(folder, "-o", tmp_path / "whole.csv", "--jobs", 1)
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
