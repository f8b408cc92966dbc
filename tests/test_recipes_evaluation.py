"""Evaluation: the model's own numbers, view by view, on disk; what failed is told; processes change nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from index_video import write_index_video
from PIL import Image

from pv_sparse import (
    PvSparseError,
    SparseVideo,
    WeightsError,
    create_trn,
    create_tsn,
    get_weights,
    load_model,
    recognize,
    segment_indices,
)
from pv_sparse.data import VideoList
from pv_sparse.data.corpus_index import VideoRecord
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.recipes.evaluation import create_trainer, evaluate
from pv_sparse.recipes.evaluation_batches import InTurn
from pv_sparse.recipes.protocols import get_protocol
from pv_sparse.transforms import NormalizeClip, ThreeCrop
from pv_sparse.zoo.loading import find_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated"),
]
CLASSES = ("left", "right", "up")
ONE_VIEW = get_protocol("one_view")
SMALL_TWICE = replace(get_protocol("three_crops_twice"), size=32, resize=36)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> VideoList:
    """Five videos; the third is no video."""
    folder = tmp_path_factory.mktemp("videos")
    paths = [str(write_index_video(folder / f"{n}.mp4", num_frames=12 + 5 * n, size=(48, 64))) for n in range(5)]
    (folder / "2.mp4").write_bytes(b"not a video")
    return VideoList([(path, {"label": n % 3}) for n, path in enumerate(paths)], CLASSES)


def record(builder: str = "create_tsn", segments: int = 3, **arguments):
    return replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        name="small",
        build={"builder": builder, "arguments": {"num_classes": 3, "backbone": "tiny", **arguments}},
        sampling={"rule": "center", "num_segments": segments},
        input={"resize": 36, "crop": 32},
        categories=CLASSES,
    )


TSN, TRN = record(), record("create_trn", 4, num_segments=4)


def speaking(model):
    """With a classifier that tells videos apart."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "fc" in name or "classify" in name:
            torch.nn.init.normal_(parameter, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def tsn():
    torch.manual_seed(0)
    return speaking(create_tsn(num_classes=3, backbone="tiny"))


@pytest.fixture(scope="module")
def trn():
    torch.manual_seed(0)
    return speaking(create_trn(num_classes=3, backbone="tiny", num_segments=4))


def run(model, weights, videos, out, protocol="published", **options):
    options = {"num_workers": 0, **options}
    options.setdefault("trainer", create_trainer(accelerator="cpu"))
    return evaluate(model, weights, videos, protocol, out=out, **options)


def clip(path: str, indices: torch.Tensor) -> torch.Tensor:
    with SparseVideo(path) as video:
        return video.frames_at(indices).transpose(0, 1)


def num_frames(path: str) -> int:
    with SparseVideo(path) as video:
        return video.num_frames


READ = [0, 1, 3, 4]


# The numbers


def test_one_view_is_what_the_model_says_of_the_clip(tsn, videos, tmp_path):
    got = run(tsn, TSN, videos, tmp_path).scores().tasks[""]
    with torch.no_grad():
        expected = [
            tsn(TSN.transform()(clip(path, segment_indices(num_frames(path), 3)))[None])[0]
            for path in (videos.samples[n][0] for n in READ)
        ]
    torch.testing.assert_close(torch.from_numpy(got.logits[0]), torch.stack(expected))
    torch.testing.assert_close(torch.from_numpy(got.scores), torch.stack(expected).softmax(1))
    assert got.logits.dtype == got.scores.dtype == np.float32


def test_recognize_says_the_same(index_video, weights, tmp_path):
    model, own = load_model(weights), find_weights(weights)
    run(model, own, VideoList([(str(index_video), {"label": 3})]), tmp_path)
    got, expected = json.loads((tmp_path / "results.jsonl").read_text()), recognize(index_video, weights).as_dict()
    assert [entry.pop("score") for entry in got["classes"]] == pytest.approx(
        [entry.pop("score") for entry in expected["classes"]]
    )
    assert got == expected


def test_views_are_crops_of_clips_and_their_scores_are_averaged(trn, videos, tmp_path):
    got = run(trn, TRN, videos, tmp_path, SMALL_TWICE).scores().tasks[""]
    assert got.logits.shape == (6, 4, 3)
    path = videos.samples[4][0]
    twice = segment_indices(num_frames(path), 4, rule="tsm_twice").reshape(2, 4)
    crops = [ThreeCrop(32, 36)(clip(path, indices)).chunk(3, dim=1) for indices in twice]  # [clip][crop]
    normalize = NormalizeClip("imagenet")  # as the record's: it says nothing of its own
    with torch.no_grad():
        logits = torch.stack([trn(normalize(crops[n][crop])[None])[0] for crop in range(3) for n in range(2)])
    torch.testing.assert_close(torch.from_numpy(got.logits[:, 3]), logits)
    torch.testing.assert_close(torch.from_numpy(got.scores[3]), logits.softmax(1).mean(0))
    assert logits.std(0).min() > 1e-4  # the views do differ


def test_the_average_can_be_chosen(trn, videos, tmp_path):
    scores = run(trn, TRN, videos, tmp_path, SMALL_TWICE, average="logits").scores()
    task = scores.tasks[""]
    torch.testing.assert_close(
        torch.from_numpy(task.scores), torch.from_numpy(task.logits).mean(0).softmax(1), rtol=1e-5, atol=1e-6
    )
    assert scores.average == "logits"


def test_25_frames_and_10_crops_are_the_mean_over_all_250(tsn, videos, tmp_path):
    got = run(tsn, TSN, videos, tmp_path, "tsn_25x10").scores().tasks[""]
    tested = get_protocol("tsn_25x10").record(TSN)
    path = videos.samples[3][0]
    whole = tested.transform()(clip(path, segment_indices(num_frames(path), 25, rule="tsn_test")))
    assert whole.shape[1] == 250
    with torch.no_grad():
        expected = tsn(whole[None])[0].softmax(0)
    torch.testing.assert_close(torch.from_numpy(got.scores[2]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 5}, {"num_workers": 2}])
def test_batches_and_workers_change_nothing(tsn, videos, tmp_path, options):
    first = run(tsn, TSN, videos, tmp_path / "a").scores().tasks[""]
    other = run(tsn, TSN, videos, tmp_path / "b", **options).scores().tasks[""]
    np.testing.assert_allclose(first.logits, other.logits, rtol=1e-5, atol=1e-6)


def test_reduced_precision_is_near_and_written_in_full(tsn, videos, tmp_path):
    first = run(tsn, TSN, videos, tmp_path / "a").scores().tasks[""]
    reduced = run(tsn, TSN, videos, tmp_path / "b", trainer=create_trainer(accelerator="cpu", precision="bf16-mixed"))
    logits = reduced.scores().tasks[""].logits
    assert logits.dtype == np.float32
    assert not np.array_equal(first.logits, logits)
    np.testing.assert_allclose(first.logits, logits, rtol=0.1, atol=0.1)
    assert reduced.metrics["precision"] == "bf16-mixed"


def test_the_model_is_left_as_it_was(tsn, videos, tmp_path):
    tsn.train()
    before = {name: tensor.clone() for name, tensor in tsn.state_dict().items()}
    run(tsn, TSN, videos, tmp_path)
    assert tsn.training
    tsn.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tsn.state_dict().items())


# What is written


def test_metrics_are_of_what_was_read(tsn, videos, tmp_path):
    evaluation = run(tsn, TSN, videos, tmp_path)
    scores = evaluation.scores()
    right = scores.tasks[""].scores.argmax(1) == np.array([0, 1, 0, 1])
    on_disk = json.loads((tmp_path / "metrics.json").read_text())
    assert on_disk == evaluation.metrics
    assert on_disk["top1"] == right.mean()
    assert on_disk["mean_class_accuracy"] == pytest.approx((right[[0, 2]].mean() + right[[1, 3]].mean()) / 2)
    assert on_disk["top5"] == 1.0
    assert (on_disk["num_videos"], on_disk["num_failed"], on_disk["weights"]) == (4, 1, "small")
    assert on_disk["protocol"]["name"] == "published"
    assert on_disk["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_a_failed_file_is_named_with_its_reason(tsn, videos, tmp_path):
    scores = run(tsn, TSN, videos, tmp_path).scores()
    bad = videos.samples[2][0]
    assert scores.paths == tuple(videos.samples[n][0] for n in READ)
    assert [*scores.failed] == [bad]
    assert "it is not a video" in scores.failed[bad]
    assert scores.tasks[""].labels.tolist() == [0, 1, 0, 1]


def test_every_video_has_its_result_record(tsn, videos, tmp_path):
    scores = run(tsn, TSN, videos, tmp_path).scores()
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [entry["path"] for entry in records] == [path for path, _ in videos.samples]
    last = records[4]
    assert (last["error"], last["weights"], last["num_frames"]) == (None, "small", 32)
    assert last["frame_indices"] == segment_indices(32, 3).flatten().tolist()
    assert last["frame_times_seconds"] == pytest.approx([number / 25 for number in last["frame_indices"]])
    best = scores.tasks[""].scores[3].argsort()[::-1]
    assert [entry["index"] for entry in last["classes"]] == best.tolist()
    assert last["classes"][0]["name"] == CLASSES[best[0]]
    assert last["classes"][0]["score"] == pytest.approx(float(scores.tasks[""].scores[3].max()))
    failed = records[2]
    assert "it is not a video" in failed["error"]
    assert [failed[key] for key in ("num_frames", "frame_indices", "frame_times_seconds", "classes")] == [None] * 4


def test_nothing_else_is_left(tsn, videos, tmp_path):
    run(tsn, TSN, videos, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "results.jsonl", "scores.npz"]


def test_what_a_killed_run_left_does_not_enter(tsn, videos, tmp_path):
    (tmp_path / "parts").mkdir()
    for rank in (0, 1):
        (tmp_path / "parts" / f"0000{rank}.npz").write_bytes(b"cut off")
    assert run(tsn, TSN, videos, tmp_path).metrics["num_videos"] == 4


def test_videos_without_labels_have_scores(tsn, videos, tmp_path):
    bare = VideoList([(path, {}) for path, _ in videos.samples])
    evaluation = run(tsn, TSN, bare, tmp_path)
    assert evaluation.scores().tasks[""].labels.tolist() == [-1] * 4
    assert "top1" not in evaluation.metrics


def test_several_tasks_have_scores_and_figures_of_their_own(videos, tmp_path):
    counts, names = {"verb": 3, "noun": 2}, {"verb": CLASSES, "noun": ("cup", "tap")}
    torch.manual_seed(0)
    model = speaking(create_tsn(num_classes=counts, backbone="tiny"))
    weights = replace(record(num_classes=counts), categories=names)
    labelled = [(path, {"label": {"verb": n % 3, "noun": n % 2}}) for n, (path, _) in enumerate(videos.samples)]
    evaluation = run(model, weights, VideoList(labelled), tmp_path)
    tasks = evaluation.scores().tasks
    assert tasks["noun"].logits.shape == (1, 4, 2)
    assert tasks["noun"].labels.tolist() == [0, 1, 1, 0]
    with torch.no_grad():
        path = videos.samples[4][0]
        expected = model(weights.transform()(clip(path, segment_indices(32, 3)))[None])
    torch.testing.assert_close(torch.from_numpy(tasks["noun"].logits[0, 3]), expected["noun"][0])
    right = {task: own.scores.argmax(1) == own.labels for task, own in tasks.items()}
    assert evaluation.metrics["verb/top1"] == right["verb"].mean()
    assert evaluation.metrics["top1"] == (right["verb"] & right["noun"]).mean()
    last = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[-1])
    assert [entry["task"] for entry in last["classes"]] == ["verb"] * 3 + ["noun"] * 2


def test_where_several_classes_are_right_there_is_average_precision(tsn, videos, tmp_path):
    labelled = [(path, {"label": [n % 3, 2]}) for n, (path, _) in enumerate(videos.samples)]
    evaluation = run(tsn, replace(TSN, multi_label=True), VideoList(labelled), tmp_path)
    task = evaluation.scores().tasks[""]
    assert task.labels.tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 1, 1]]
    np.testing.assert_allclose(task.scores, 1 / (1 + np.exp(-task.logits[0])), rtol=1e-5)
    assert 0 < evaluation.metrics["map"] <= 1


def test_flow_is_read_from_folders(tmp_path):
    for number in range(1, 13):
        for axis in "xy":
            folder = tmp_path / "video"
            folder.mkdir(exist_ok=True)
            pixels = np.full((40, 48), 10 * number + (axis == "y"), np.uint8)
            Image.fromarray(pixels).save(folder / f"flow_{axis}_{number:05d}.jpg")
    weights = replace(
        record(in_channels=2, frames_per_segment=5),
        sampling={"rule": "tsn_test", "num_segments": 2, "frames_per_segment": 5},
        input={"resize": 36, "crop": 32, "channel_order": "XY", "mean": [0.5, 0.5], "std": [0.226, 0.226]},
    )
    torch.manual_seed(0)
    model = create_tsn(num_classes=3, backbone="tiny", in_channels=2, frames_per_segment=5)
    evaluation = run(model, weights, VideoList([(str(tmp_path / "video"), {"label": 0})]), tmp_path / "out")
    assert evaluation.metrics["num_videos"] == 1
    got = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert got["frame_indices"] == [2, 3, 4, 5, 6, 6, 7, 8, 9, 10]


def test_what_an_index_knows_to_be_broken_is_not_opened(tsn, videos, tmp_path):
    path = videos.samples[0][0]
    known = {path: VideoRecord(path, "the file was cut off")}
    assert "the index says: the file was cut off" in run(tsn, TSN, videos, tmp_path, index=known).scores().failed[path]


# Bad input


class Silent(torch.nn.Module):
    def forward(self, video):
        logits = video.mean(dim=(1, 2, 3, 4))[:, None].repeat(1, 3)
        logits[0] = torch.nan
        return logits


def test_logits_that_are_no_numbers_are_failures(videos, tmp_path):
    evaluation = run(Silent(), TSN, videos, tmp_path)  # batches of 2, so that 0, 3 (2 is no video) and 4 are spoiled
    scores = evaluation.scores()
    assert scores.paths == (videos.samples[1][0],)
    assert "not finite numbers" in scores.failed[videos.samples[0][0]]
    assert (evaluation.metrics["num_videos"], evaluation.metrics["num_failed"]) == (1, 4)


def test_no_video_at_all_is_an_error(tsn, videos, tmp_path):
    with pytest.raises(PvSparseError, match=r"none of the 1 videos could be evaluated, such as .*2\.mp4"):
        run(tsn, TSN, VideoList(videos.samples[2:3], CLASSES), tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_empty_list_is_told(tsn, tmp_path):
    with pytest.raises(PvSparseError, match="the list of videos is empty"):
        run(tsn, TSN, VideoList([], CLASSES), tmp_path)


@pytest.mark.parametrize("name", ["scores.npz", "metrics.json"])
def test_a_folder_with_another_evaluation_is_left_alone(tsn, videos, tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(PvSparseError, match="holds another evaluation"):
        run(tsn, TSN, videos, tmp_path)
    assert (tmp_path / name).read_text() == "precious"


def test_a_file_is_no_folder(tsn, videos, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(PvSparseError, match="is a file: give a folder"):
        run(tsn, TSN, videos, tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tsn, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(SparseVideoDataset, "__getitem__", lambda *_: pytest.fail("a video was opened"))
    (tmp_path / "file").write_text("")
    with pytest.raises(PvSparseError, match=r"out=\S+file/sub cannot be written to \(Not a directory\): give another"):
        run(tsn, TSN, videos, tmp_path / "file" / "sub")


def test_a_model_that_gives_no_logits_is_refused(videos, tmp_path):
    model = create_tsn(num_classes=3, backbone="tiny", head_activation=torch.nn.Softmax)
    with pytest.raises(WeightsError, match="head_activation gives no logits"):
        run(model, TSN, videos, tmp_path)


def test_segments_that_the_model_cannot_take_are_told_before_decoding(trn, tmp_path):
    gone = VideoList([("gone.mp4", {"label": 0})])
    with pytest.raises(WeightsError, match="a TRN of exactly 4"):
        run(trn, TRN, gone, tmp_path, "tsn_25x10")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_wrong_for_every_video_is_one_line(tsn, videos, tmp_path, num_workers):
    strict = replace(TSN, sampling={"num_segments": 100, "short": "error"})
    with pytest.raises(ValueError, match=r"^a video of 12 frames is too short for 100 segments"):
        run(tsn, strict, videos, tmp_path, num_workers=num_workers)


def test_a_batch_size_below_1_is_told(tsn, videos, tmp_path):
    with pytest.raises(ValueError, match="batch_size=0 is not allowed"):
        run(tsn, TSN, videos, tmp_path, batch_size=0)


def test_a_video_that_no_process_had_is_told(tsn, videos, tmp_path):
    trainer = create_trainer(accelerator="cpu")
    trainer.limit_predict_batches = 1
    with pytest.raises(PvSparseError, match="3 of 5 videos were not evaluated"):
        run(tsn, TSN, videos, tmp_path, trainer=trainer)


# Several processes


def test_processes_take_batches_in_turn_and_none_is_idle():
    shared = [[*InTurn(range(5), rank, 2)] for rank in range(2)]
    assert shared == [[0, 2, 4], [1, 3]]
    assert [[*InTurn(range(1), rank, 3)] for rank in range(3)] == [[0]] * 3


@pytest.mark.slow
def test_two_processes_give_the_files_of_one(trn, videos, tmp_path):
    for name, trainer in (("one", create_trainer(accelerator="cpu")), ("two", two_processes())):
        run(trn, TRN, videos, tmp_path / name, SMALL_TWICE, trainer=trainer)
    for name in ("scores.npz", "results.jsonl", "metrics.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_more_processes_than_batches_do_no_harm(tsn, videos, tmp_path):
    few = VideoList(videos.samples[:1], CLASSES)
    assert run(tsn, TSN, few, tmp_path, trainer=two_processes()).metrics["num_videos"] == 1


def two_processes():
    return create_trainer(accelerator="cpu", devices=2, strategy="ddp_spawn")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_figures(trn, videos, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here = run(trn, TRN, videos, tmp_path / "cpu", SMALL_TWICE)
    there = run(trn, TRN, videos, tmp_path / "gpu", SMALL_TWICE, trainer=create_trainer(accelerator="gpu"))
    np.testing.assert_allclose(here.scores().tasks[""].logits, there.scores().tasks[""].logits, rtol=1e-2, atol=1e-2)
    assert here.metrics["top1"] == there.metrics["top1"]
