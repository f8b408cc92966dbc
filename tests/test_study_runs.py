"""The study's plan and its work: what is trained once, tested how, fused, gone on with, and told when it fails."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from small_study import SMALL
from square_runs import quiet_lightning

from pv_sparse.data import dataset
from pv_sparse.data.opening import open_frames
from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.building import read_lists
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.scores import ONE_TASK, Scores, TaskScores
from pv_sparse.resources import resource_dir
from pv_sparse.study import flow_folders, running, training_runs
from pv_sparse.study.data_making import make_data
from pv_sparse.study.experiment_files import parse_experiment, read_experiment
from pv_sparse.study.experiments import LEVELS, FrameChoice
from pv_sparse.study.flow_folders import FlowTask
from pv_sparse.study.fused_tests import fuse_tests
from pv_sparse.study.levels import Level, read_study
from pv_sparse.study.plan import Planner
from pv_sparse.study.results import Results, Row, mean_and_deviation, read_results, write_results
from pv_sparse.study.running import run_plan
from pv_sparse.study.testing import Figures, in_order, key_of_test
from pv_sparse.study.training_runs import TrainingRun, cpu_seconds, is_trained, key_of, train_into

pytestmark = quiet_lightning

NODE = {
    "title": "Heads",
    "question": "Which?",
    "data": ["order20"],
    "models": {
        "tsn_avg": {"train": ["model=tsn_tiny", "input.num_segments=4"]},
        "trn": {"train": ["model=trn_tiny", "model.num_segments=4"]},
        "both": {"fuse": ["tsn_avg", "trn"]},
    },
    "variants": [{"name": "ordered"}, {"name": "shuffled", "test": {"order": "shuffled"}}],
}
LEVEL = Level("quick", (0,), SMALL)
FRAME = Results("quick", {"processor": "p", "cores": 1, "accelerator": None}, {}, [], {"heads": "c", "more": "c"})
ROW = Row("heads", "order20", "trn", "ordered", 0, 0.123456789, 2.0, 1.5, None, 20)


def heads(**changes):
    return parse_experiment("order20", NODE | changes)


@pytest.fixture(scope="module")
def study():
    return read_study()


@pytest.fixture(scope="module")
def planner():
    """One for all tests: composing configurations takes long."""
    return Planner(LEVEL, {}, Path("data"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Of all tests that train: each finds what those before it have trained."""
    return tmp_path_factory.mktemp("study")


def run(out, *experiments):
    plan = Planner(LEVEL, {}, out / "data").plan(experiments)
    return plan, dict(run_plan(plan, out, 1, "cpu", replace(FRAME, commands={"order20": "c"})))


@pytest.fixture(scope="module")
def experiments(study):
    files = {name: resource_dir("configs") / "experiment" / f"{name}.yaml" for name in study.experiments}
    return {name: parse_experiment(name, yaml.safe_load(file.read_text())["study"]) for name, file in files.items()}


def test_results_come_back(tmp_path):
    results = replace(FRAME, rows=[ROW, replace(ROW, seed=1, top1=0.2, train_cpu_seconds=30.0)])
    write_results(results, tmp_path / "results.json")
    assert read_results(tmp_path) == replace(results, rows=[row.rounded() for row in results.rows])
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["top1"] == 0.123457
    (cell, rows), *others = results.cells().items()
    assert not others
    assert cell == ("heads", "order20", "trn", "ordered")
    assert mean_and_deviation(rows) == (pytest.approx(0.1617284), pytest.approx(0.0765432 / 2**0.5), 2)
    assert mean_and_deviation(rows[:1]) == (ROW.top1, 0.0, 1)


@pytest.mark.parametrize("text", [None, "{", '{"rows": []}', '{"rows": [{"seed": 1}]}'])
def test_a_file_that_is_no_result_is_told(tmp_path, text):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(PvSparseError, match=r"results\.json"):
        read_results(tmp_path)


def test_values_that_a_row_lacks_have_no_mean():
    with pytest.raises(ValueError, match="train_cpu_seconds of 1 rows"):
        mean_and_deviation([ROW], "train_cpu_seconds")


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_takes_something_of_every_experiment(experiments, level):
    for experiment in experiments.values():
        taken, whole = experiment.combinations(level), experiment.combinations()
        is_left_out = (experiment.name, level) == ("study_spliced", "quick")
        assert bool(taken) != is_left_out, experiment.name
        assert [each for each in whole if each in taken] == taken


def test_the_whole_grid_is_that_of_the_issue(experiments):
    segments = {each.variant.name for each in experiments["study_segments"].combinations() if each.model == "tsn_avg"}
    numbers = (1, 2, 3, 5, 8, 16)
    assert segments == {f"{trained} trained, {tested} tested" for trained in numbers for tested in numbers}
    assert len(experiments["study_fusion"].combinations()) == 22
    orders = {each.variant.name: each.variant.test.order for each in experiments["study_time_order"].combinations()}
    assert orders == {"ordered": "ordered", "shuffled": "shuffled", "reversed": "reversed"}


@pytest.mark.slow
def test_experiments_share_what_they_have_in_common(study, experiments):
    level = replace(study.levels["default"], seeds=(0, 1))
    plan = Planner(level, study.data, Path("data")).plan([*experiments.values()])
    assert [read_experiment(name) for name in study.experiments] == [*experiments.values()]
    own = {}
    for row in plan.rows:
        if row.cell.data == "order20" and row.by is None:
            own.setdefault((row.cell.experiment, row.cell.model, row.cell.variant, row.seed), row.tests[0].training)
    for seed in (0, 1):
        trn = own["study_fusion", "trn_multi_scale", "ordered", seed]
        assert own["study_time_order", "trn_multi_scale", "reversed", seed] == trn
        assert own["study_segments", "trn_multi_scale", "8 trained, 8 tested", seed] == trn
        assert own["study_sampling", "trn_multi_scale", "center", seed] == trn
        assert own["study_ensemble", "trn_multi_scale", "ordered", seed] == trn
        tsn = own["study_fusion", "tsn_avg", "ordered", seed]
        assert own["study_segments", "tsn_avg", "8 trained, 3 tested", seed] == tsn
        assert own["study_modalities", "tsn_rgb", "ordered", seed] == tsn
        eco = own["study_fusion", "eco_lite", "ordered", seed]
        assert own["study_ensemble", "eco_lite_8", "ordered", seed] == eco
        assert own["study_segments", "eco_lite", "8 trained, 8 tested", seed] == eco
    assert own["study_fusion", "eco", "ordered", 0] != own["study_fusion", "eco", "ordered", 1]
    longest = [plan.trainings[key].expected_cost for key in plan.tests()]
    assert longest == sorted(longest, reverse=True)


def test_a_plan_trains_once_what_several_need(planner):
    plan = planner.plan([heads(), heads()])
    assert len(plan.rows) == 12
    assert len(plan.trainings) == 2
    assert sorted(map(len, plan.tests().values())) == [2, 2]
    fused = plan.rows[4]
    assert (fused.cell.model, fused.by, len(fused.tests)) == ("both", "scores", 2)
    assert len(planner.plan([heads(models={"tsn_avg": NODE["models"]["tsn_avg"]})]).trainings) == 1


def test_members_of_a_fusion_are_trained_though_a_level_has_no_rows_of_them(planner):
    plan = planner.plan([heads(quick={"models": ["both"], "variants": ["ordered"]})])
    assert [row.cell.model for row in plan.rows] == ["both"]
    assert len(plan.tests()) == 2


def test_keys_know_what_is_learned_and_no_places(planner):
    run = next(iter(planner.plan([heads()]).trainings.values()))
    config = run.config.copy()
    config.out, config.data.root, config.data.num_workers, config.trainer.accelerator = "a", "b/c", 3, "gpu"
    OmegaConf.update(config, "study", {"title": "Another"}, force_add=True)
    assert key_of(config) == run.key
    for key, value in {"optim.lr": 0.5, "seed": 1, "data.train.num_videos": 6, "data.frames": False}.items():
        changed = run.config.copy()
        OmegaConf.update(changed, key, value)
        assert key_of(changed) != run.key, key


def test_a_training_that_was_broken_off_goes_on_for_another_experiment(planner, tmp_path, monkeypatch):
    folder, goes_on = RunFolder(tmp_path), []

    def broken_off(config):
        goes_on.append(folder.begin(config))
        folder.last.touch()
        sys.stdout.write("65 \N{FULL BLOCK}\n")
        raise PvSparseError("the disk is full")

    monkeypatch.setattr(training_runs, "train", broken_off)
    monkeypatch.setattr(training_runs, "quiet_lightning", lambda: None)
    run = next(iter(planner.plan([heads()]).trainings.values()))
    with pytest.raises(PvSparseError, match="the disk is full"):
        train_into(tmp_path, run, "cpu")
    spent = cpu_seconds(tmp_path)
    config = run.config.copy()
    OmegaConf.update(config, "study", {"title": "Another"}, force_add=True)
    with pytest.raises(PvSparseError, match="the disk is full"):
        train_into(tmp_path, TrainingRun(config, run.data), "gpu")
    assert goes_on == [False, True]
    assert 0 < spent < cpu_seconds(tmp_path)
    assert not is_trained(tmp_path)
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").count("65 \N{FULL BLOCK}\nTraceback") == 2


def test_a_fusion_that_fails_leaves_the_other_rows_be(planner, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "is_trained", lambda folder: True)
    monkeypatch.setattr(running, "read_tested", lambda folder, key: Figures(0.5, 2.0, 1.5, 4))
    plan = planner.plan([heads()])
    rows = dict(run_plan(plan, tmp_path, 1, "cpu", replace(FRAME, commands={"order20": "c"})))
    failed = {row.cell.model: told for row, told in rows.items() if isinstance(told, str)}
    assert list(failed) == ["both"]
    assert "No such file" in failed["both"]
    assert [row.model for row in read_results(tmp_path).rows] == ["tsn_avg", "tsn_avg", "trn", "trn"]


def test_flow_that_another_process_made_meanwhile_is_kept(tmp_path, monkeypatch):
    task = FlowTask(tmp_path / "0.mp4", tmp_path / "flow" / "0")

    def slow(video, folder, **how):
        for place in (task.folder, folder):
            place.mkdir()
            (place / f"{place.parent == task.folder.parent}").touch()

    monkeypatch.setattr(flow_folders, "write_flow_folder", slow)
    task.make()
    assert [*task.folder.parent.rglob("*")] == [task.folder, task.folder / "True"]


@pytest.mark.slow
def test_the_data_of_a_plan_are_made_once(tmp_path):
    pytest.importorskip("cv2", reason="optical flow needs OpenCV")
    flow = {"train": ["model=tsn_tiny_flow", "input.num_segments=4"], "flow": True}
    plan = Planner(LEVEL, {}, tmp_path).plan([heads(models={"flow": flow, "tsn_avg": NODE["models"]["tsn_avg"]})])
    told = []
    make_data(plan.trainings.values(), 1, told.append)
    assert told == ["data order20: 4 + 4 videos", "data order20, optical flow: 4 + 4 videos"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make_data(plan.trainings.values(), 1, told.append)
    lists = [videos for run in plan.trainings.values() for videos in read_lists(run.config).values()]
    assert [len(videos) for videos in lists] == [4] * 4
    assert all(Path(path) in written for videos in lists for path, _ in videos.samples)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"variants": [{"nme": "x", "name": "y"}]}, r"nme is unknown: did you mean name\?"),
        ({"variants": [{"name": "x", "test": {"ordr": "shuffled"}}]}, r"ordr is unknown: did you mean order\?"),
        ({"variants": [{"name": "x", "test": {"order": "mixed"}}]}, r"variants x, test: order='mixed' is unknown"),
        ({"variants": [{"name": "x", "models": ["tsn"]}]}, r"tsn is unknown: did you mean .*tsn_avg"),
        ({"variants": [{"name": "x"}, {"name": "x"}]}, r"order20, tsn_avg, x is there twice"),
        ({"variants": [{"train": ["seed=1"]}]}, r"study\.variants: each must have a name"),
        ({"models": {"a": {"fuse": ["b", "a"]}}}, r"models\.a, fuse: b is unknown"),
        (
            {"models": {"a": {"weights": "w"}}},
            r"models\.a: weights are tested on data: \[spliced\], and nothing else is",
        ),
        ({"data": ["spliced"]}, r"models\.tsn_avg: weights are tested on data: \[spliced\], and nothing else is"),
        (
            {"data": ["spliced"], "models": {"a": {"weights": "w", "train": ["model=trn_tiny"]}}},
            r"models\.a: weights are taken as they are: give them alone",
        ),
        (
            {"models": NODE["models"] | {"all": {"fuse": ["both", "trn"]}}},
            r"models\.all, fuse: both is a fusion itself: give its members",
        ),
        ({"quick": {"variants": ["order*", "orderd"]}}, r"quick\.variants: orderd is unknown: did you mean ordered\?"),
        ({"quick": {"model": ["trn"]}}, r"quick: model is unknown: did you mean models\?"),
        ({"question": ""}, r"study\.question must be given"),
    ],
)
def test_mistakes_in_experiments_are_told(changes, told):
    with pytest.raises(PvSparseError, match=told):
        heads(**changes)


def test_an_experiment_without_a_study_is_told():
    with pytest.raises(PvSparseError, match="experiment square_tsn has no node study"):
        read_experiment("square_tsn")


def test_values_of_each_fill_names_and_settings():
    variant = {
        "name": "{k} of {n}",
        "train": ["a={k}"],
        "test": {"num_segments": "{n}"},
        "each": {"k": [1], "n": [3, 5]},
    }
    first, second = heads(variants=[variant]).variants
    assert (first.name, first.train, first.test) == ("1 of 3", ("a=1",), FrameChoice(num_segments=3))
    assert second.name == "1 of 5"


def test_looks_are_counted_for_saliency_alone():
    with pytest.raises(ValueError, match="num_looks=32 goes with select='saliency' alone: give both, or neither"):
        FrameChoice(select="diverse", num_looks=32)


def test_settings_that_came_later_leave_keys_as_they_were():
    keys = {key_of_test("a", FrameChoice(files=True, select=select), "cpu") for select in (None, "saliency")}
    keys.add(key_of_test("a", FrameChoice(files=True, select="saliency", num_looks=32), "cpu"))
    assert keys == {"69df1380634212ee", "ec150cacccfdbae8", "1af071b32b3c5243"}


def test_orders_of_segments():
    video = torch.arange(2 * 6).reshape(2, 1, 6, 1, 1).float()  # 3 segments of 2 frames
    assert in_order(video, "ordered", 2, [0, 1]) is video
    assert in_order(video, "reversed", 2, [0, 1])[0].flatten().tolist() == [4, 5, 2, 3, 0, 1]
    shuffled = in_order(video, "shuffled", 2, [0, 1]).reshape(2, 3, 2)
    assert torch.equal(shuffled.sort(dim=1).values.flatten(), video.flatten())  # segments whole, videos apart
    assert torch.equal(shuffled, in_order(video, "shuffled", 2, [0, 1]).reshape(2, 3, 2))
    many = in_order(torch.arange(8.0).reshape(1, 1, 8, 1, 1).expand(20, 1, 8, 1, 1), "shuffled", 1, list(range(20)))
    assert len({tuple(one.flatten().tolist()) for one in many}) == 20


def test_a_fusion_is_the_mean_of_its_members(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(6) % 3
    logits = random.normal(size=(2, 6, 3)).astype(np.float32)
    for number, own in enumerate(logits):
        scores = torch.from_numpy(own).softmax(dim=1).numpy()
        task = TaskScores(own[None], scores, labels, ("a", "b", "c"))
        Scores(tuple("abcdef"), {ONE_TASK: task}, {}, "w", "p", "logits").save(tmp_path / f"{number}.npz")
    files, own = [tmp_path / "0.npz", tmp_path / "1.npz"], [Figures(0.5, 2.0, 1.5, 6), Figures(0.5, 3.0, 1.0, 6)]
    mean = torch.from_numpy(logits).softmax(dim=2).mean(dim=0)
    expected = (mean.argmax(dim=1).numpy() == labels).mean()
    assert fuse_tests(files, own, "scores") == Figures(pytest.approx(expected), 5.0, 2.5, 6)
    expected = (logits.mean(axis=0).argmax(axis=1) == labels).mean()
    assert fuse_tests(files, own, "logits").top1 == pytest.approx(expected)


@pytest.mark.slow
def test_it_measures_every_row(out):
    plan, rows = run(out, heads())
    assert list(rows) == list(plan.rows)
    own = {(row.model, row.variant): row for row in rows.values()}
    assert read_results(out).rows == [row.rounded() for row in rows.values()]
    assert own["tsn_avg", "shuffled"].top1 == own["tsn_avg", "ordered"].top1
    assert own["both", "ordered"].train_cpu_seconds is None
    for row in own.values():
        assert 0 < row.decode_cpu_seconds < row.cpu_seconds
        assert row.num_videos == 4
    members = [own[name, "ordered"].cpu_seconds for name in ("tsn_avg", "trn")]
    assert own["both", "ordered"].cpu_seconds == pytest.approx(sum(members))


@pytest.mark.slow
def test_nothing_is_done_twice(out, monkeypatch):
    before, written = run(out, heads())[1], set(out.rglob("*"))
    monkeypatch.setattr(running, "train_into", None)
    monkeypatch.setattr(running, "run_test", None)
    assert run(out, heads())[1] == before
    assert set(out.rglob("*")) == written


@pytest.mark.slow
def test_a_test_that_is_lost_is_done_again_alone(out, monkeypatch):
    plan, before = run(out, heads())
    lost = plan.rows[1].tests[0]
    (out / "tested" / f"{lost.key}.npz").unlink()
    monkeypatch.setattr(running, "train_into", None)
    done = []
    run_test = running.run_test
    monkeypatch.setattr(running, "run_test", lambda *given: done.append(given[2]) or run_test(*given))
    after = run(out, heads())[1]
    assert done == [lost.choice]
    assert {row.cell: row.top1 for row in after.values()} == {row.cell: row.top1 for row in before.values()}


@pytest.mark.slow
def test_another_experiment_finds_what_is_trained(out, monkeypatch):
    run(out, heads())
    monkeypatch.setattr(running, "train_into", None)
    variants = [{"name": "reversed", "test": {"order": "reversed"}}, {"name": "two", "test": {"num_segments": 2}}]
    rows = run(out, heads(variants=variants, models={"tsn_avg": NODE["models"]["tsn_avg"]}))[1]
    assert [row.variant for row in rows.values()] == ["reversed", "two"]


@pytest.mark.slow
def test_video_files_are_decoded_on_one_thread(out, monkeypatch):
    models = {"tsn_avg": NODE["models"]["tsn_avg"]}
    run(out, heads(models=models))
    opened = []

    def told(path, modality, threads):
        opened.append((Path(path).suffix, threads))
        return open_frames(path, modality, threads=threads)

    monkeypatch.setattr(dataset, "open_frames", told)
    run(out, heads(models=models, variants=[{"name": "files", "test": {"files": True}}]))
    assert {*opened} == {(".mp4", 1)}


@pytest.mark.slow
def test_a_row_that_fails_leaves_the_others_be(out):
    variants = [*NODE["variants"], {"name": "two", "test": {"num_segments": 2}, "models": ["trn", "both"]}]
    _, rows = run(out, heads(variants=variants))
    failed = {row.cell.variant: told for row, told in rows.items() if isinstance(told, str)}
    assert list(failed) == ["two"]
    assert "2 segments was given to a TRN of 4" in failed["two"]
    assert len(read_results(out).rows) == 6


@pytest.mark.slow
def test_a_training_that_fails_is_told_for_all_its_rows(out):
    models = NODE["models"] | {"trn": {"train": ["model=trn_tiny", "model.num_segments=1"]}}
    _, rows = run(out, heads(models=models))
    told = {row.cell.model for row, outcome in rows.items() if isinstance(outcome, str)}
    assert told == {"trn", "both"}
