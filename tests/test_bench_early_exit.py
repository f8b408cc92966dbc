"""The trade of early exit, measured on labelled videos, and its calibration."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import run

from pv_sparse import get_weights
from pv_sparse.bench.calibration import (
    LEAST_TEMPERATURE,
    MOST_TEMPERATURE,
    expected_calibration_error,
    fit_temperature,
)
from pv_sparse.bench.early_exit import Answer, Watched, fixed_counts, labelled_for
from pv_sparse.bench.early_exit_table import calibrate, stopped, trades
from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.errors import PvSparseError
from pv_sparse.zoo.loading import find_weights

NAME = "tsn_tiny.order20"
CLASSES = ("appears", "vanishes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A noise of pictures, three videos of each of two classes."""
    root, noise = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for name in CLASSES:
        for number in range(3):
            pictures = noise.integers(0, 255, (1, 64, 64, 3), np.uint8).repeat(12, axis=0)
            write_video(root / name / f"{number}.mp4", pictures, keyframe_interval=6)
    return root


def bench(*arguments, code: int = 0):
    return run("bench", "--early-exit", *arguments, "--threads", 1, "--device", "cpu", code=code)


def drawn_logits(count: int = 1000, num_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Of whom each says how likely its classes are, and the classes are drawn as likely as it says."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(count, num_classes)
    return logits, torch.multinomial(logits.softmax(dim=1), 1)[:, 0]


@settings(max_examples=10)
@given(st.floats(0.2, 5))
def test_a_temperature_takes_back_what_scaled_the_logits(factor):
    logits, labels = drawn_logits()
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-3)
    assert temperature == pytest.approx(factor, rel=0.1)
    assert expected_calibration_error(factor * logits, labels, temperature) < 0.04


def test_a_fit_does_not_run_away():
    logits, labels = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    assert fit_temperature(logits, labels) == pytest.approx(LEAST_TEMPERATURE, abs=1e-3)
    assert fit_temperature(logits, (labels + 1) % 3) == pytest.approx(MOST_TEMPERATURE, abs=1e-3)
    with pytest.raises(ValueError, match="a temperature needs those of at least one video"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_the_calibration_error_by_hand():
    scores = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    labels = torch.tensor([0, 1, 0, 1])
    # bins of 1/15: two answers of 0.9, half of them right; one of 0.6; one of 0.8
    assert expected_calibration_error(scores.log(), labels) == pytest.approx((2 * 0.4 + 0.4 + 0.2) / 4)
    sure = torch.tensor([[1000.0, 0.0]])
    assert expected_calibration_error(sure, torch.tensor([0])) == 0
    assert expected_calibration_error(sure, torch.tensor([1])) == 1


def watched(label: int, *logits: tuple[float, float]) -> Watched:
    """Rounds of 1, 2, ... segments and as many seconds; then 1 and 2 at once, in 1 and 4 seconds."""
    rounds = tuple(Answer(n, float(n), torch.tensor(own)) for n, own in enumerate(logits, 1))
    fixed = {1: Answer(1, 1.0, rounds[0].logits), 2: Answer(2, 4.0, rounds[-1].logits)}
    return Watched("some.mp4", label, rounds, fixed)


def test_the_table_by_hand():
    soon, late = watched(0, (4.0, 0.0), (5.0, 0.0)), watched(1, (0.5, 0.0), (0.0, 6.0))
    rows = {row.what: row for row in trades([soon, late], temperature=1.0)}
    assert [*rows][-2:] == ["fixed, 1 at once", "fixed, 2 at once"]
    early = rows["confidence 0.9"]  # the first after one, in one second; the second after two
    assert (early.confidence, early.top1, early.mean_segments, early.cpu_seconds) == (0.9, 1.0, 1.5, 1.5)
    assert (early.p25_cpu_seconds, early.median_cpu_seconds, early.p75_cpu_seconds) == (1.25, 1.5, 1.75)
    assert early.ratio == 1.5 / 4
    assert (rows["confidence 0.5"].top1, rows["confidence 0.5"].mean_segments) == (0.5, 1.0)
    assert (rows["fixed, 2 at once"].ratio, rows["fixed, 2 at once"].confidence) == (1.0, None)
    hot = {row.what: row for row in trades([soon, late], temperature=100.0)}
    assert hot["confidence 0.9"].mean_segments == 2  # nobody is sure: all is seen


def test_who_is_never_sure_has_seen_all():
    rounds = watched(0, (0.1, 0.0), (0.2, 0.0)).rounds
    assert stopped(rounds, 0.99, 1.0) is rounds[-1]
    assert stopped(rounds, 0.5, 1.0) is rounds[0]


def test_every_second_video_is_held_out():
    videos = [watched(0, (float(n), 0.0)) for n in range(5)]
    calibration, held = calibrate(videos, 2.0)
    assert held == videos[1::2]
    assert (calibration.num_fitted, calibration.num_held, calibration.temperature_before) == (3, 2, 2.0)


def test_what_is_looked_at_at_once():
    assert fixed_counts(16) == [1, 2, 4, 8, 16]
    assert fixed_counts(6) == [1, 2, 4, 6]
    assert fixed_counts(32) == [1, 2, 4, 8, 16, 32]


def test_json_has_the_temperature_and_the_rows(folder, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    found = json.loads(bench(NAME, "--data", folder, "--max-segments", 4, "--save", out, "--json").stdout)
    assert (found["num_videos"], found["failed"], found["max_segments"], found["select"]) == (6, {}, 4, None)
    calibration = found["calibration"]
    assert (calibration["num_fitted"], calibration["num_held"]) == (3, 3)
    assert calibration["temperature_before"] == find_weights(NAME).exit_temperature
    assert LEAST_TEMPERATURE <= calibration["temperature"] <= MOST_TEMPERATURE
    assert 0 <= calibration["error_after"] <= 1
    assert [row["confidence"] for row in found["rows"]] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, None, None, None]
    for row in found["rows"]:
        assert 0 <= row["top1"] <= 1
        assert 1 <= row["mean_segments"] <= 4
        assert 0 < row["p25_cpu_seconds"] <= row["median_cpu_seconds"] <= row["p75_cpu_seconds"]
    assert [row["mean_segments"] for row in found["rows"][-3:]] == [1, 2, 4]
    assert found["rows"][-1]["ratio"] == 1
    assert find_weights(out).exit_temperature == calibration["temperature"]
    assert find_weights(out).as_record().keys() == find_weights(NAME).as_record().keys()


def test_a_table_for_people_where_some_videos_fail(folder, tmp_path):
    some = shutil.copytree(folder, tmp_path / "some")
    (some / "appears" / "text.mp4").write_text("this is no video")
    lines = bench("trn_tiny.order20", "--data", some, "--max-segments", 4, "--select", "motion").stdout.splitlines()
    assert f"trn_tiny.order20 on {some}: 7 videos, 1 failed" in lines
    assert any(line.startswith(f"Failed: {some}/appears/text.mp4: it is not a video") for line in lines)
    assert "4 segments at most, select=motion, by a model that was made for 8" in lines
    assert any(
        line.startswith("Temperature ") and "fitted on every second video (3); on the 3 others" in line
        for line in lines
    )
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["top-1", "%", "segments", "CPU", "ms", "median", "p25", "p75", "of", "fixed"]
    assert [line[:18].strip() for line in table[1:]] == [
        *(f"confidence {least}" for least in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)),
        *(f"fixed, {count} at once" for count in (1, 2, 4)),
    ]
    assert table[-1].split()[-1] == "1.00"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--early-exit",), "--early-exit needs labelled videos: give --data DIR"),
        (("--data", "DIR"), "--data is of --early-exit: give both, or leave out --data"),
        (
            ("--select", "motion", "--save", "a.safetensors"),
            "--select is of --early-exit: give both, or leave out --sel",
        ),
        (("--early-exit", "--data", "DIR", "--paper"), "--early-exit measures weights, --paper the networks of ECO's"),
        (("--early-exit", "--data", "DIR", "--rounds", 5), "--early-exit shows each video of --data once, by itself: "),
        (
            ("--early-exit", "--data", "DIR", NAME, "b"),
            "--early-exit measures one model, and 2 were given: ",
        ),
        (
            ("--early-exit", "--data", "DIR", NAME, "--save", "a.pth"),
            "path='a.pth' is not allowed: its name must end in",
        ),
        (("--early-exit", "--data", "DIR", NAME, "--max-segments", 0), "max_segments=0 is not allowed"),
        (("--early-exit", "--data", "DIR", NAME, "--select", "best"), "select='best' is unknown: choose one of"),
        (
            ("--early-exit", "--data", "nowhere", NAME),
            "nowhere: no videos: give a folder that holds a folder of videos",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(folder, arguments, told):
    given = [folder if argument == "DIR" else argument for argument in arguments]
    result = run("bench", *given, code=1)
    assert result.stderr.startswith(f"Error: {told}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_folders_that_are_no_classes_are_one_line(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "apears").symlink_to(folder / "appears", target_is_directory=True)
    result = bench(NAME, "--data", other, code=1)
    assert result.stderr.startswith(f"Error: {other}: the folder 'apears' is none of the 20 classes of {NAME} (")
    assert "name each folder as its class" in result.stderr
    assert result.stderr.count("\n") == 1


def test_videos_that_are_too_few_are_one_line(folder, tmp_path):
    few = tmp_path / "few"
    (few / "appears").mkdir(parents=True)
    (few / "appears" / "text.mp4").write_text("this is no video")
    assert "none of 1 videos can be read, such as" in bench(NAME, "--data", few, "--max-segments", 2, code=1).stderr
    shutil.copy(folder / "appears" / "0.mp4", few / "appears")
    result = bench(NAME, "--data", few, "--max-segments", 2, code=1)
    assert result.stderr.startswith("Error: 1 video was read: half of them fit the temperature")


def test_labels_are_the_numbers_of_the_weights():
    weights, videos = get_weights(NAME), VideoList([("a.mp4", {"label": 1}), ("b.mp4", {"label": 0})], CLASSES)
    numbers = [weights.categories.index(name) for name in CLASSES]
    assert labelled_for(weights, videos, "root") == [("a.mp4", numbers[1]), ("b.mp4", numbers[0])]


def test_weights_that_name_more_than_one_class_are_told():
    videos = VideoList([("a.mp4", {"label": 0})], ("appears",))
    with pytest.raises(PvSparseError, match="names several classes for a video, and folders one class: give"):
        labelled_for(replace(get_weights(NAME), multi_label=True), videos, "root")
    tasks = replace(
        get_weights(NAME),
        build={"builder": "create_tsn", "arguments": {"num_classes": {"verb": 1, "noun": 1}}},
        categories={"verb": ("go",), "noun": ("cup",)},
    )
    with pytest.raises(PvSparseError, match=r"names several tasks \(1 verbs, 1 nouns\) for a video"):
        labelled_for(tasks, videos, "root")
