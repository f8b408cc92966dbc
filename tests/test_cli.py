"""`pv-sparse` as people and programs use it."""

import dataclasses
import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import CLASSES
from index_video import write_index_video
from PIL import Image

from pv_sparse import SegmentClipSampler, SparseVideo, load_model, save_model
from pv_sparse.cli import main
from pv_sparse.zoo.loading import find_weights


def run(*arguments, code: int = 0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="pv-sparse")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def bad_files(tmp_path):
    """By name: a file that cannot be recognised, and the cause that must be told."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video")
    cut = write_index_video(tmp_path / "cut.mp4", 200, container_options={"movflags": "faststart"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with av.open(str(tmp_path / "tone.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.txt").write_text("# nothing yet\n")
    return {
        tmp_path / "missing.mp4": "no such file",
        tmp_path / "empty.mp4": "the file is empty",
        tmp_path / "text.mp4": "it is not a video, or its header is damaged",
        cut: "the file was cut off",
        tmp_path / "tone.mp4": "it holds no video stream",
        tmp_path / "folder": "no video in the folder",
        tmp_path / "list.txt": "the list names no video",
    }


def test_a_table_for_people(index_video, weights):
    result = run("recognize", index_video, "--weights", weights, "--top-k", 2)
    lines = result.stdout.splitlines()
    assert lines[0] == f"{index_video}: 8 of 60 frames"
    assert lines[1].split() == ["frame", "3", "11", "18", "26", "33", "41", "48", "56"]
    assert lines[2].split()[:3] == ["seconds", "0.12", "0.44"]
    assert sum(line.split()[-1] in CLASSES for line in lines if line) == 2
    assert result.stderr.startswith("1 video, ")
    assert "videos/s with" in result.stderr


def test_json_is_one_object_a_line(index_video, weights, tmp_path):
    result = run("recognize", index_video, tmp_path / "gone.mp4", "--weights", weights, "--json", code=1)
    good, bad = map(json.loads, result.stdout.splitlines())
    assert list(good) == ["path", "error", "weights", "num_frames", "frame_indices", "frame_times_seconds", "classes"]
    assert list(good["classes"][0]) == ["index", "name", "score"]
    assert good["error"] is None
    assert bad["error"] == f"{tmp_path / 'gone.mp4'}: no such file"
    assert bad["classes"] is None


def test_each_bad_file_is_one_line_with_name_and_cause(bad_files, weights):
    for path, cause in bad_files.items():
        result = run("recognize", path, "--weights", weights, code=1)
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1
        assert errors[0].startswith(f"Error: {path}: {cause}")
        assert "Traceback" not in result.output


def test_the_others_are_still_done(bad_files, index_video, weights):
    result = run("recognize", *bad_files, index_video, "--weights", weights, code=1)
    assert f"{index_video}: 8 of 60 frames" in result.stdout
    assert result.stderr.count("Error: ") == len(bad_files)
    assert f"{len(bad_files)} failed" in result.stderr


def test_folders_and_lists(tmp_path, weights):
    (tmp_path / "videos" / "deep").mkdir(parents=True)
    for name in ("b.mp4", "deep/a.AVI", "c d.mkv"):
        write_index_video(tmp_path / "videos" / name, 10, codec="mpeg4")
    (tmp_path / "videos" / "notes.md").touch()
    listing = tmp_path / "list.csv"
    listing.write_text("# path label\nvideos/b.mp4 3\n\nvideos/c d.mkv,12\nvideos/gone.mp4 7\nvideos/deep/a.AVI\n")
    found = run("recognize", tmp_path / "videos", "--weights", weights, "--json")
    names = [json.loads(line)["path"].rpartition("videos/")[2] for line in found.stdout.splitlines()]
    assert names == ["b.mp4", "c d.mkv", "deep/a.AVI"]
    listed = run("recognize", listing, "--weights", weights, "--json", code=1)
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [r["path"].rpartition("videos/")[2] for r in records] == ["b.mp4", "c d.mkv", "gone.mp4", "deep/a.AVI"]
    assert [r["error"] is None for r in records] == [True, True, False, True]
    assert "gone.mp4: no such file" in listed.stderr


@pytest.mark.slow
def test_names_that_are_no_text(weights, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/na\xffme.mp4")
    write_index_video(tmp_path / "index.mp4", 10).rename(name)
    command = [sys.executable, "-W", "ignore", "-m", "pv_sparse", "recognize", name, name + "x", "--weights", weights]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 1
    assert b"na\\udcffme.mp4: 8 of 10 frames" in done.stdout
    assert b"na\\udcffme.mp4x: no such file" in done.stderr


def test_a_sheet_for_each_video(index_video, weights, tmp_path):
    run("recognize", index_video, "--weights", weights, "--sheet", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 800
        assert len(picture.getcolors(10**6)) > 20
    run("recognize", index_video, index_video, "--weights", weights, "--sheet", tmp_path / "out.png")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out_1_index.png", "out_2_index.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "tsn_efficientnet"], "did you mean tsn_efficientnet_lite0.in1k?"),
        (["--weights", "gone/weights.pth"], "gone/weights.pth: no such weights file"),
        (["--device", "tpu"], "device='tpu' cannot be used"),
        (["--sheet", "no/such/folder/out.png"], "--sheet no/such/folder/out.png: there is no folder"),
        (["--sheet", "out.txt"], "its name must end in .png or .jpg"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_1(index_video, arguments, words):
    result = run("recognize", index_video, *arguments, code=1)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr


@pytest.mark.parametrize(
    "arguments", [["recognize"], ["recognise"], ["recognize", "a.mp4", "--top-k", "0"], ["--verbose"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert "Usage: pv-sparse" in run(*arguments, code=2).stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--features"], "--features is for many videos: give --output DIR too"),
        (["--engine", "ray"], "--engine is for many videos: give --output DIR too"),
        (["--batch-size", "8"], "--batch-size is for many videos: give --output DIR too"),
        (
            ["--output", "there", "--confidence", "0.9"],
            "--confidence and --when look at one video at a time: leave them out with --output",
        ),
        (
            ["--output", "there", "--when"],
            "--confidence and --when look at one video at a time: leave them out with --output",
        ),
        (["--max-segments", "3"], "--max-segments is where looking ends that --confidence did not end: give both"),
        (["--output", "there", "--json"], "--sheet and --json print single videos: leave them out with --output"),
    ],
)
def test_options_of_single_videos_and_of_many_do_not_mix(index_video, tmp_path, options, words):
    assert words in run("recognize", index_video, *options, code=2).stderr


def test_frames_can_be_chosen(index_video, weights):
    printed = run("recognize", index_video, "--weights", weights, "--json", "--select", "diverse").stdout
    with SparseVideo(index_video) as video:
        expected = SegmentClipSampler(8, select="diverse").plan(seed=0).indices(video).tolist()
    assert json.loads(printed)["frame_indices"] == expected != [3, 11, 18, 26, 33, 41, 48, 56]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--select", "best"], "select='best' is unknown: choose one of even, motion, diverse"),
        (["--select", "motion", "--all-views"], "select='motion' chooses other frames than all views"),
    ],
)
def test_choices_that_make_no_sense(index_video, weights, options, words):
    failed = run("recognize", index_video, "--weights", weights, *options, code=1)
    assert words in failed.stderr


def test_all_views_are_those_of_the_published_test(index_video, weights, tmp_path):
    record = dataclasses.replace(find_weights(weights), one_view={"num_segments": 3})
    save_model(load_model(weights), tmp_path / "mine.safetensors", record)
    for options, num_frames in (([], 3), (["--all-views"], 8)):
        printed = run("recognize", index_video, "--weights", tmp_path / "mine.safetensors", "--json", *options).stdout
        assert len(json.loads(printed)["frame_indices"]) == num_frames


@pytest.mark.slow
def test_an_optimised_model_says_so(index_video, weights):
    plain = run("recognize", index_video, "--weights", weights, "--json")
    fast = run("recognize", index_video, "--weights", weights, "--json", "--precision", "float32")
    assert "batch norms folded" in fast.stderr
    assert "folded" not in plain.stderr
    first, second = (json.loads(result.stdout)["classes"][0] for result in (plain, fast))
    assert first["name"] == second["name"]
    assert first["score"] == pytest.approx(second["score"], abs=1e-4)


def test_debug_shows_the_traceback(index_video, tmp_path, weights):
    result = CliRunner().invoke(main, ["recognize", str(index_video), "--weights", "nothing", "--debug"])
    assert type(result.exception).__name__ == "WeightsError"
    result = CliRunner().invoke(main, ["--debug", "recognize", str(tmp_path / "gone.mp4"), "--weights", weights])
    assert "Traceback" in result.stderr
    assert result.exit_code == 1


def test_an_unforeseen_error_is_one_line_too(index_video, weights, monkeypatch):
    monkeypatch.setattr("pv_sparse.recognition.Recognizer.look", lambda *_: {}["frames"])
    result = run("recognize", index_video, "--weights", weights, code=1)
    assert "Error: KeyError: 'frames' (--debug shows where)" in result.stderr


def test_doctor_says_what_is_here():
    text = run("doctor").stdout
    for words in (
        "torch ",
        "pytorchvideo 0.1.5",
        "pytorchvideo.transforms:",
        "decoder: PyAV",
        "GPU:",
        "Extras",
        "model zoo:",
    ):
        assert words in text
    assert "pytorchvideo.transforms: BROKEN" not in text


@pytest.mark.slow
def test_doctor_tells_when_the_repair_is_switched_off():
    code = "import os; os.environ['PV_SPARSE_NO_COMPAT'] = '1'; from pv_sparse.cli import main; main(['doctor'])"
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    line = next(line for line in found.stdout.splitlines() if "pytorchvideo.transforms" in line)
    assert "works, nothing to repair" in line or "BROKEN: ModuleNotFoundError" in line
    assert "works, nothing to repair" in line or "PV_SPARSE_NO_COMPAT is set: unset it" in line


def test_python_m_is_the_same_command():
    found = subprocess.run([sys.executable, "-m", "pv_sparse", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("pv-sparse, version 0.1")
