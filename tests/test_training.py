"""`pv-sparse train` from its configuration to what it leaves behind, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from square_runs import assert_same_tensors, quiet_lightning, run, tensors

from pv_sparse import PvSparseError, SparseVideo, load_model, recognize, save_model
from pv_sparse.recipes import trainers, training
from pv_sparse.recipes.building import build
from pv_sparse.recipes.checkpoints import read_checkpoint
from pv_sparse.recipes.config import compose
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.square import square_videos
from pv_sparse.recipes.trainers import create_trainer, find_batch_size
from pv_sparse.zoo.loading import find_weights

pytestmark = quiet_lightning


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("square")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory) -> Path:
    """The folder of a whole run of TRN."""
    out = tmp_path_factory.mktemp("done")
    run(data, out, "model=trn_tiny", "model.num_segments=4", "trainer.max_epochs=1")
    return out


TRN = ("model=trn_tiny", "model.num_segments=4", "trainer.max_epochs=1")


def test_everything_is_in_its_folder(done):
    files = {str(path.relative_to(done)) for path in done.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("tensorboard/")} == {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "config.yaml",
        "history.csv",
        "model.safetensors",
        "report/config.yaml",
        "report/confusion.png",
        "report/curves.png",
        "report/failed_files.csv",
        "report/metrics.json",
        "report/per_class.csv",
        "report/versions.json",
    }
    assert any(name.startswith("tensorboard/events") for name in files)
    assert (done / "config.yaml").read_text() == (done / "report" / "config.yaml").read_text()


def test_the_figures_of_the_report_are_those_of_the_history(done):
    metrics = json.loads((done / "report" / "metrics.json").read_text())
    with (done / "history.csv").open() as file:
        [row] = csv.DictReader(file)
    assert metrics["top1"] == pytest.approx(float(row["val/top1"]))
    assert metrics["loss"] == pytest.approx(float(row["val/loss"]))
    assert (metrics["videos"], metrics["failed_files"], metrics["epoch"], metrics["step"]) == (4, 0, 1, 6)
    assert {"epoch", "step", "lr", "train/loss", "train/top1", "val/mean_class_accuracy"} <= row.keys()


def test_the_model_is_loaded_and_recognises(done, data):
    weights = find_weights(done / "model.safetensors")
    assert weights.categories == ("left", "right")
    assert weights.sampling == {"num_segments": 4, "frames_per_segment": 1, "rule": "center"}
    assert (weights.input["crop"], weights.input["resize"], weights.input["channel_order"]) == (32, 32, "RGB")
    assert weights.metrics[0]["by"] == "us"
    [video, _] = square_videos(data, "val", 2).samples
    result = recognize(video[0], weights=done / "model.safetensors")
    assert {entry.name for entry in result.classes} == {"left", "right"}


def test_the_last_evaluation_is_that_of_the_saved_model(done, data):
    """With the sampler and the transform of its record."""
    weights = find_weights(done / "model.safetensors")
    model, transform = load_model(weights), weights.transform()
    right = 0
    for path, info in square_videos(data, "val", 4).samples:
        with SparseVideo.from_path(path) as video:
            frames = video.frames_at(weights.indices(video.num_frames))
        logits = model(transform(frames.transpose(0, 1))[None])
        right += int(logits.argmax()) == info["label"]
    assert json.loads((done / "report" / "metrics.json").read_text())["top1"] == right / 4


@pytest.mark.slow
def test_the_same_command_again_changes_nothing(done, data, tmp_path):
    again = shutil.copytree(done, tmp_path / "again")
    run(data, again, *TRN)
    assert_same_tensors(done, again)
    assert (again / "history.csv").read_text() == (done / "history.csv").read_text()


def test_a_run_with_other_settings_is_refused(done, data):
    words = (
        r"holds a run with other settings \(optim.lr=0.5 in place of 0.002\): give another out=, the settings it had"
    )
    with pytest.raises(PvSparseError, match=words):
        run(data, done, *TRN, "optim.lr=0.5")


def test_a_start_that_was_refused_leaves_the_folder_free(data, tmp_path):
    with pytest.raises(ValueError, match="warmup_epochs=2 must be less than max_epochs=1"):
        run(data, tmp_path, "trainer.max_epochs=1", "optim.warmup_epochs=2")
    assert run(data, tmp_path, "trainer.max_epochs=1")


@pytest.mark.slow
def test_a_run_can_be_longer_where_its_schedule_does_not_tell(data, tmp_path):
    settings = ("optim=sgd", "optim.schedule=constant")
    run(data, tmp_path / "two", *settings, "trainer.max_epochs=2")
    for epochs in (1, 2):
        run(data, tmp_path / "longer", *settings, f"trainer.max_epochs={epochs}")
    assert_same_tensors(tmp_path / "two", tmp_path / "longer")
    with pytest.raises(PvSparseError, match=r"trainer.max_epochs=1 in place of 2"):
        run(data, tmp_path / "two", *settings, "trainer.max_epochs=1")


@pytest.mark.slow
def test_data_may_be_moved(data, tmp_path):
    shutil.copytree(data, tmp_path / "a")
    run(tmp_path / "a", tmp_path / "out", "trainer.max_epochs=1")
    (tmp_path / "a").rename(tmp_path / "b")
    run(tmp_path / "b", tmp_path / "out", "trainer.max_epochs=1")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_files_that_cannot_be_read_are_left_out_of_the_figures(data, tmp_path, workers):
    root = shutil.copytree(data, tmp_path / "data")
    Path(square_videos(root, "val", 4).samples[1][0]).write_bytes(b"no video")
    run(root, tmp_path / "out", "trainer.max_epochs=1", f"data.num_workers={workers}")
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert (metrics["videos"], metrics["failed_files"]) == (3, 1)
    for path, _ in square_videos(root, "train", 12).samples:
        Path(path).write_bytes(b"no video")
    words = r"0_\d+.mp4: neither it nor its 10 substitutes can be read, as "
    with pytest.raises(PvSparseError, match=words) as caught:
        run(root, tmp_path / "none", "trainer.max_epochs=1", f"data.num_workers={workers}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.slow
def test_a_run_can_begin_anew_in_its_folder(done, data, tmp_path):
    again = shutil.copytree(done, tmp_path / "again")
    run(data, again, *TRN, "optim.lr=0.5", "resume=false")
    assert "lr: 0.5" in (again / "config.yaml").read_text()
    assert not torch.equal(tensors(again)["head.project.weight"], tensors(done)["head.project.weight"])


def test_a_checkpoint_of_another_model_is_refused(done, data, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(done / "checkpoints" / "last.ckpt", tmp_path / "checkpoints" / "last.ckpt")
    words = (
        r"last.ckpt is a checkpoint of another model: \d+ tensors differ, such as head.fc.weight with nothing in place"
    )
    with pytest.raises(PvSparseError, match=words):
        run(data, tmp_path)
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(PvSparseError, match=r"last.ckpt: it is no checkpoint of pv-sparse train, or it is damaged"):
        run(data, tmp_path, "resume=true")


class Poison(Callback):
    """Spoils the weights before a step."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx + 1 == self.step:
            next(iter(pl_module.model.parameters())).data.fill_(float("nan"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint_before(monkeypatch, data, tmp_path):
    monkeypatch.setattr(trainers, "training_rules", lambda config: [Poison(4)])
    words = (
        r"the loss is nan in step 4, in epoch 1: .*last.ckpt is of before; try an optim.lr below 0.002, or trainer.grad"
    )
    with pytest.raises(PvSparseError, match=words):
        run(data, tmp_path)
    kept = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert kept["global_step"] == 2  # what step 3 made may be spoilt
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values())


def test_a_learning_rate_that_is_too_high(data, tmp_path):
    """The first step spoils the weights: the checkpoint after it is none to go on from."""
    words = r"the loss is (nan|inf) in step 2, in epoch 1: no checkpoint was written before; try an optim.lr"
    with pytest.raises(PvSparseError, match=words):
        run(data, tmp_path, "optim=sgd", "optim.lr=1e30", "optim.weight_decay=0", "batch_norm=frozen")
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
def test_weights_that_the_last_step_of_an_epoch_spoils(monkeypatch, data, tmp_path):
    class PoisonAtTheEnd(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.is_last_batch:
                next(iter(pl_module.model.parameters())).data.fill_(float("nan"))

    monkeypatch.setattr(trainers, "training_rules", lambda config: [PoisonAtTheEnd()])
    words = r"the logits of the validation are no finite numbers after step 6: .*last.ckpt is of before"
    with pytest.raises(PvSparseError, match=words):
        run(data, tmp_path)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 5


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.val.num_videos=0"], "the val list has no videos"),
        (["data.classes=[one]"], "the list has the class 'left', which is not"),
        (["data.batch_size=none"], "data.batch_size=none is not allowed: give a number above 0, or auto"),
        (["data.batch_size=auto"], "data.batch_size=auto is for one GPU, which tells when its memory is full"),
        (["loss.class_weights=[1,2,3]"], "class_weights: 3 were given for 2 classes"),
        (["loss.label_smoothing=2"], "label_smoothing=2"),
        (["optim.schedule=steps"], "schedule='steps' is unknown: choose one of"),
        (["input.train_rule=middle"], "middle"),
        (["input.eval_rule=random"], "eval_rule='random' draws its frames"),
        (["input.eval_rule=tsm_twice"], "eval_rule='tsm_twice' gives 2 views"),
        (["input.frames_per_segment=2"], "input.frames_per_segment=2 does not fit the model, which takes 1"),
        (["input.label_flips=[[0,5]]"], r"label_flips=\[\[0, 5\]\] has the class 5, and there are 2 classes"),
        (["data.val=null"], "data.val is missing"),
        (["+model.num_classes=7"], "model.num_classes cannot be given"),
        (["+trainer.limit_train_batches=2"], "trainer.limit_train_batches cannot be given"),
        (["limit_train_videos=0"], "limit_train_videos=0 is not allowed"),
        (["batch_norm=partly"], "batch_norm=partly is unknown: choose one of trained, partial, frozen"),
        (["mixup_alpha=-1"], "mixup_alpha=-1 is not allowed"),
        (["model.backbone=tinny"], "backbone='tinny' is unknown: did you mean tiny"),
        (["init=nothing.pth"], r"nothing.pth: no such weights file"),
        (["init=tsn_r50.mm_k400_1x1x3", *TRN], "is of create_tsn, and the model is of create_trn: give a model="),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(data, tmp_path, overrides, words):
    with pytest.raises((PvSparseError, ValueError, OSError), match=words) as caught:
        run(data, tmp_path, *overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
def test_it_starts_from_a_model_of_other_classes(done, data, tmp_path):
    """The same kind with 3 classes: everything but the classifier is taken over."""
    weights = find_weights(done / "model.safetensors")
    changed = weights.with_categories(["a", "b", "c"])
    save_model(load_model(weights, num_classes=3), tmp_path / "three.safetensors", changed)
    config = compose(
        "train",
        [
            "experiment=square_trn",
            "model.num_segments=4",
            f"data.root={data}",
            f"init={tmp_path / 'three.safetensors'}",
        ],
    ).config
    own = build(config).model.state_dict()
    taken = load_model(weights).state_dict()
    same = {key for key in own if own[key].shape == taken[key].shape and torch.equal(own[key], taken[key])}
    assert {key for key in own if key not in same} == {key for key in own if ".classify." in key}


@pytest.fixture
def fresh_compiler():
    """What was compiled before, in this process, changes what is compiled next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(
    "overrides",
    [
        ["channels_last=true", "activation_checkpointing=true"],
        ["trainer.precision=bf16-mixed", "loss.label_smoothing=0.1", "ema_decay=0.5"],
        ["mixup_alpha=0.2", "loss.class_weights=[1,2]", "batch_norm=frozen", "trainer.gradient_clip_val=1"],
        ["model=eco_lite_tiny", "model.num_segments=4", "channels_last=true", "optim=sgd"],
        ["data.num_workers=2", "limit_train_videos=4", "limit_val_videos=2"],
        ["compile=true", "limit_train_videos=4", "limit_val_videos=3"],  # a last batch of another size
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_tricks_of_today(data, tmp_path, overrides):
    figures = run(data, tmp_path, "trainer.max_epochs=1", *overrides)
    assert 0 <= figures["top1"] <= 1
    assert all(tensor.isfinite().all() for tensor in tensors(tmp_path).values())


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """Squares with labels of several kinds; one noun is not labelled."""
    root = tmp_path_factory.mktemp("tables")
    for split, count in {"train": 8, "val": 4}.items():
        samples = square_videos(root, split, count).samples
        rows = [
            f"{path},{('left', 'right')[info['label']]},{n % 3},{info['label']};2"
            for n, (path, info) in enumerate(samples)
        ]
        rows[3] = rows[3].replace(",0,", ",,")
        (root / f"{split}.csv").write_text("\n".join(["path,verb,noun,all", *rows]) + "\n")
    return root


SETTINGS = ("data=table", "trainer.max_epochs=1", "input.label_flips=null")


def table_run(tables: Path, out: Path, *overrides: str) -> dict[str, float]:
    return run(tables, out, *SETTINGS, *overrides, without=("data.train.num_videos", "data.val.num_videos"))


@pytest.mark.slow
def test_several_tasks(tables, tmp_path):
    figures = table_run(tables, tmp_path, "data.label={verb:verb,noun:noun}", "loss.task_weights={noun:0.5}")
    assert {"top1", "verb/top1", "verb/top5", "noun/top1", "noun/mean_class_accuracy", "loss"} <= figures.keys()
    weights = find_weights(tmp_path / "model.safetensors")
    assert weights.categories == {"verb": ("left", "right"), "noun": ("0", "1", "2")}
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["verb/top1"] == figures["verb/top1"]
    assert (tmp_path / "report" / "confusion_noun.png").exists()
    [video, _] = square_videos(tables, "val", 2).samples
    assert {entry.task for entry in recognize(video[0], weights=tmp_path / "model.safetensors").classes} == {
        "verb",
        "noun",
    }


@pytest.mark.slow
def test_several_right_classes(tables, tmp_path):
    figures = table_run(tables, tmp_path, "data.label=all", "data.multi_label=true")
    assert {"map", "weighted_map", "loss"} == figures.keys()
    weights = find_weights(tmp_path / "model.safetensors")
    assert weights.multi_label
    assert weights.categories == ("0", "1", "2")
    with (tmp_path / "history.csv").open() as file:
        assert "val/map" in next(csv.DictReader(file))


@pytest.mark.slow
def test_checkpointed_activations_change_no_weight(data, tmp_path):
    for name, overrides in {"plain": [], "again": ["activation_checkpointing=true"]}.items():
        run(data, tmp_path / name, *overrides)
    plain, again = tensors(tmp_path / "plain"), tensors(tmp_path / "again")
    for key, tensor in plain.items():
        torch.testing.assert_close(again[key], tensor)


def test_a_full_disk_is_one_clear_line(data, small_disk):
    with pytest.raises(
        PvSparseError, match=r"last.ckpt: the checkpoint cannot be written: the disk is full; there is none"
    ):
        run(data, small_disk)


def test_a_run_goes_on_with_the_batch_size_that_was_found(done):
    assert training._batch_size_of(done / "checkpoints" / "last.ckpt") == 2


@pytest.mark.slow
def test_the_batch_size_is_found(data, tmp_path):
    """On a machine whose memory holds all 12 videos at once, the last power of 2."""
    overrides = ["experiment=square_tsn", f"data.root={data}", "data.batch_size=auto", "data.num_workers=0"]
    sizes = ["input.size=32", "input.resize=32", "data.train.num_videos=12", "data.val.num_videos=4"]
    config = compose("train", [*overrides, *sizes, "trainer.accelerator=cpu"]).config
    recipe = build(config)
    before = {key: tensor.clone() for key, tensor in recipe.model.state_dict().items()}
    assert find_batch_size(config, recipe) == 8
    assert all(torch.equal(tensor, before[key]) for key, tensor in recipe.model.state_dict().items())


def test_training_uses_a_gpu_where_there_is_one(data, tmp_path):
    small = ["data.train.num_videos=2", "data.val.num_videos=2"]
    config = compose("train", ["experiment=square_tsn", f"data.root={data}", *small]).config
    trainer = create_trainer(config, build(config), RunFolder(tmp_path))
    assert trainer.strategy.root_device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.precision=16-mixed", "channels_last=true"],
        ["trainer.precision=bf16-mixed", "compile=true"],
        ["data.batch_size=auto"],
        ["trainer.strategy=fsdp"],
    ],
    ids=lambda overrides: " ".join(overrides) or "plain",
)
def test_on_a_gpu(data, tmp_path, overrides):
    figures = run(data, tmp_path, "trainer.accelerator=gpu", "trainer.devices=1", *TRN, *overrides)
    assert 0 <= figures["top1"] <= 1
