"""`pv-sparse bench` as people and programs use it."""

import dataclasses
import json
import shutil

import pytest
import torch
from conftest import CLASSES
from test_bench_paper import small_networks
from test_cli import run

from pv_sparse import bench_command, create_tsn, get_weights, save_model
from pv_sparse.bench.clip import write_clip
from pv_sparse.bench.paper import measure_paper
from pv_sparse.bench_command import torch_threads

QUICK = ("--rounds", 3, "--threads", 1, "--device", "cpu")


@pytest.fixture
def small_paper(monkeypatch):
    """The paper's table of small networks and pictures."""

    def measure(networks, **options):
        return measure_paper(small_networks(), frames=(4, 16), size=64, **options)

    monkeypatch.setattr(bench_command, "measure_paper", measure)


def test_json_has_the_machine_the_video_and_a_row_each(index_video, tiny):
    found = json.loads(run("bench", tiny, "--video", index_video, "--batch-size", 2, "--json", *QUICK).stdout)
    assert found["machine"]["threads"] == 1
    assert found["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert found["video"] == {
        "path": str(index_video),
        "num_frames": 60,
        "duration_seconds": 2.4,
        "width": 160,
        "height": 96,
        "codec": "h264",
        "keyframes": 5,
    }
    assert [(row["what"], row["optimized"], row["batch_size"]) for row in found["rows"]] == [
        ("model", False, 2),
        ("model", True, 2),
        ("decode", False, 1),
        ("end to end", False, 1),
        ("end to end", True, 1),
    ]
    for row in found["rows"]:
        assert (row["weights"], row["device"], row["frames"], row["rounds"], row["warm_ups"]) == (tiny, "cpu", 8, 3, 1)
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["frames_per_second"] == pytest.approx(8 * row["videos_per_second"])
        assert row["peak_memory_mib"] is None
    assert found["optimization"].keys() == {tiny}
    assert found["optimization"][tiny]["top1_unchanged"]
    assert (found["precision"], found["compiled"], found["notes"]) == ("float32", False, [])


ROWS = ["model", "model, optimized", "decode", "end to end", "end to end, optimized"]


def test_a_table_for_people_of_a_video_that_is_made_and_removed(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(bench_command, "write_clip", lambda path: write_clip(path, 0.4, (64, 48)))
    result = run("bench", tiny, tiny, *QUICK)
    assert not list(tmp_path.iterdir())
    lines = result.stdout.splitlines()
    assert lines[0].startswith("CPU: ")
    assert "Video: made for this, 10 frames of 64x48, 0.4 s, h264, 1 keyframe" in lines
    assert "On cpu: optimized in float32; 1 video at a time; 1 run of warm-up before the rounds" in lines
    assert lines.count(tiny) == 1  # named twice, measured once
    table = lines[lines.index(tiny) + 1 :]
    assert table[0].split()[:3] == ["videos", "frames", "rounds"]
    assert [line[:22].strip() for line in table[1:6]] == ROWS
    assert table[6].startswith("optimized: ")
    assert "batch norms folded" in table[6]
    assert table[7].startswith("on the check input, logits move by at most ")
    assert result.stderr == ""  # no terminal is there to be told what is measured


@pytest.mark.slow
def test_a_table_each(index_video, tiny, tmp_path):
    other = shutil.copy(tiny, tmp_path)
    lines = run("bench", tiny, other, "--video", index_video, *QUICK).stdout.splitlines()
    for name in (tiny, other):
        start = lines.index(name)
        assert [line[:22].strip() for line in lines[start + 2 : start + 7]] == ROWS


@pytest.mark.slow
def test_the_video_that_is_made(tiny):
    video = json.loads(run("bench", tiny, "--json", *QUICK).stdout)["video"]
    assert (video["num_frames"], video["width"], video["height"]) == (250, 340, 256)
    assert (video["duration_seconds"], video["codec"], video["keyframes"]) == (10, "h264", 1)


@pytest.mark.slow
def test_what_was_optimized_is_told(index_video, tiny):
    arguments = ("bench", tiny, "--video", index_video, "--precision", "bfloat16", *QUICK)
    found = json.loads(run(*arguments, "--json").stdout)
    assert found["optimization"][tiny]["precision"] == "bfloat16"
    assert (found["precision"], found["compiled"]) == ("bfloat16", False)
    lines = run(*arguments).stdout.splitlines()
    assert any(line.startswith("On cpu: optimized in bfloat16; ") for line in lines)
    assert any("batch norm" in line and "bfloat16" in line for line in lines)


@pytest.mark.slow
def test_the_table_of_the_paper(small_paper):
    lines = run("bench", "--paper", *QUICK).stdout.splitlines()
    assert "The networks are built without weights: what they cost does not depend on their values." in lines
    assert any("recalled, unchecked" in line and "ECCV 2018" in line for line in lines)
    start = next(number for number, line in enumerate(lines) if line.endswith("Tesla P100"))
    rows = [line.split() for line in lines[start + 1 : start + 5]]
    assert [row[:2] for row in rows] == [["ECO", "4"], ["ECO", "16"], ["ECO-Lite", "4"], ["ECO-Lite", "16"]]
    assert [row[-2:] for row in rows] == [
        ["99.2?", "163.4?"],
        ["24.5?", "41.7?"],
        ["142.9", "237.3?"],
        ["35.3", "61.0?"],
    ]
    found = json.loads(run("bench", "--paper", "--json", *QUICK).stdout)
    assert set(found["optimization"]) == {"ECO", "ECO-Lite"}
    assert found["rows"][2]["unchecked"] == ["Tesla P100"]
    assert found["rows"][2]["speed_up"] > 0
    assert len(found["notes"]) == 3
    assert found["notes"][-1].endswith("have fewer rounds, but at least 3.")


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("tsn_bninception_flow.nobody", "--video"), "weights 'tsn_bninception_flow.nobody' are unknown"),
        (("--device", "abacus", "--video"), "device='abacus' cannot be used"),
        (("--paper", "--video"), "--paper measures the networks of ECO's paper alone: leave out --video"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, cause, index_video):
    result = run("bench", *arguments, index_video, code=1)
    assert result.stderr.startswith(f"Error: {cause}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_nothing_is_measured_before_all_weights_are_known(index_video, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_command, "measure_weights", lambda *_, **__: pytest.fail("it was measured"))
    monkeypatch.setattr(bench_command, "write_clip", lambda _: pytest.fail("a video was made"))
    flow = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": "create_tsn", "arguments": {"num_classes": 7, "backbone": "tiny", "in_channels": 2}},
        categories=CLASSES,
    )
    path = tmp_path / "flow.safetensors"
    save_model(create_tsn(num_classes=7, backbone="tiny", in_channels=2), path, flow)
    result = run("bench", tiny, path, "--video", index_video, *QUICK, code=1)
    assert result.stderr.startswith(f"Error: {path} reads optical flow, a video file has RGB frames")
    result = run("bench", tiny, tmp_path / "gone.pth", *QUICK, code=1)
    assert "no such weights file" in result.stderr


def test_a_video_that_cannot_be_read_is_one_line(tmp_path, tiny):
    (tmp_path / "text.mp4").write_text("this is no video")
    for name, cause in (("text.mp4", "it is not a video"), ("gone.mp4", "no such file")):
        result = run("bench", tiny, "--video", tmp_path / name, *QUICK, code=1)
        assert result.stderr.startswith(f"Error: {tmp_path / name}: {cause}")
        assert result.stderr.count("\n") == 1


def test_a_batch_that_does_not_fit_is_one_line(index_video, tiny):
    result = run("bench", tiny, "--video", index_video, "--batch-size", 10**10, *QUICK, code=1)
    assert result.stderr == ("Error: batch_size=10000000000 does not fit into the memory of cpu: try a smaller one\n")


def test_threads_are_given_back():
    before, seen = torch.get_num_threads(), []

    def fail():
        seen.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError), torch_threads(before + 1):
        fail()
    with torch_threads(None):
        seen.append(torch.get_num_threads())
    assert seen == [before + 1, before]
    assert torch.get_num_threads() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_the_default(index_video, tiny):
    found = json.loads(run("bench", tiny, "--video", index_video, "--rounds", 3, "--json").stdout)
    assert found["machine"]["gpus"][0]["memory_bytes"] > 0
    assert [row["device"] for row in found["rows"]] == ["cuda", "cuda", "cpu", "cuda", "cuda"]
    assert [row["peak_memory_mib"] is None for row in found["rows"]] == [False, False, True, False, False]
    assert "GPU MiB" in found["notes"][0]
