"""Every file of configs/ builds what it describes, and the published experiments have the published values."""

from dataclasses import fields

import pytest
import torch
from dataset_layouts import write_lists
from lightning.pytorch import Trainer
from torch import nn

from pv_sparse.recipes.building import build, read_lists
from pv_sparse.recipes.config import compose, instantiate, plain
from pv_sparse.recipes.distillation import ScorerTraining
from pv_sparse.recipes.optimization import SCHEDULES, Optimization
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.trainers import create_module, create_trainer
from pv_sparse.resources import resource_dir

CONFIGS = resource_dir("configs")
# What is downloaded: other tests have it on files that are here.
WITHOUT_DOWNLOADS = ("backbone_weights", "c3d_weights")

TSN = {"lr": 0.001, "batch": 128, "weight_decay": 5e-4, "batch_norm": "partial", "rules": ("tsn_train", "tsn_test")}
TRN = TSN | {"milestones": [50, 100], "epochs": 120, "clip": 20, "dropout": 0.8}
MMACTION2 = {
    "batch": 256,
    "weight_decay": 1e-4,
    "clip": 40,
    "batch_norm": "trained",
    "rules": ("mmaction2_train", "center"),
}
TRN_MMACTION2 = MMACTION2 | {
    "lr": 0.002,
    "milestones": [30, 45],
    "epochs": 50,
    "batch": 128,
    "clip": 20,
    "dropout": 0.8,
    "weight_decay": 5e-4,
    "batch_norm": "partial",
}
ECO = TSN | {
    "patience": 5,
    "epochs": 40,
    "batch": 64,
    "clip": 50,
    "dropout": 0.3,
    "nesterov": True,
    "batch_norm": "trained",
}
# What the originals' repositories train with. The batch is that of all GPUs and accumulated batches; the iterations of
# HMDB51 are told in epochs.
PUBLISHED = {
    "tsn_ucf101": TSN | {"milestones": [30, 60], "epochs": 80, "clip": 20, "dropout": 0.8},
    "tsn_ucf101_flow": TSN | {"milestones": [190, 300], "epochs": 340, "clip": 20, "dropout": 0.7},
    "tsn_ucf101_rgbdiff": TSN | {"milestones": [80, 160], "epochs": 180, "clip": 40, "dropout": 0.8},
    "tsn_hmdb51": TSN
    | {"milestones": [36, 72], "epochs": 90, "clip": 40, "dropout": 0.8, "rules": ("caffe_train", "tsn_test")},
    "trn_jester": TRN,
    "trn_sthv1_bninception": TRN,
    "trn_sthv2_bninception": TRN,
    "tsn_k400_r50": MMACTION2 | {"lr": 0.01, "milestones": [40, 80], "epochs": 100, "dropout": 0.4},
    "tsn_k400_r50_flow": MMACTION2
    | {
        "lr": 0.005,
        "milestones": [70, 100],
        "epochs": 110,
        "dropout": 0.4,
        "rules": ("mmaction2_train", "mmaction2_test"),
    },
    "tsn_sthv2_r50": MMACTION2 | {"lr": 0.01, "milestones": [20, 40], "epochs": 50, "dropout": 0.5},
    "trn_sthv1_r50": TRN_MMACTION2,
    "trn_sthv2_r50": TRN_MMACTION2,
    "eco_lite_k400": ECO | {"batch": 60},
    "eco_k400": ECO,
    "eco_lite_ucf101": ECO,
    "eco_ucf101": ECO,
}


# Data that are made where they are missing, or cut from one film: their own tests read them.
UNTRIMMED = ("untrimmed_appearance", "untrimmed_order")
MADE = ("square", "order20", "appearance20", "order20_flow", "appearance20_flow", "walking", *UNTRIMMED)
# The one needs a film, the other trains nothing.
NOT_BEGUN = ("study_grid", "study_spliced")
FEW = ("data.train.num_videos=2", "data.val.num_videos=2")


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"))


def composed(*overrides: str):
    config = compose("train", ["data.root=there", "out=here", *overrides]).config
    for key in WITHOUT_DOWNLOADS:
        if key in config.model:
            config.model[key] = None
    config.init = None
    return config


def test_the_groups_are_those_that_are_tested():
    groups = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert groups == {"data", "experiment", "host", "launcher", "model", "optim", "protocol", "select", "trainer"}


@pytest.mark.parametrize("name", names("model"))
def test_every_model_builds(name):
    with torch.device("meta"):  # without memory, or numbers drawn
        assert isinstance(instantiate(composed(f"model={name}").model, num_classes=3), nn.Module)


@pytest.mark.parametrize("name", [name for name in names("data") if name not in ("loading", *MADE)])
def test_every_data_set_is_read(lists, name):
    found = read_lists(composed(f"data={name}", f"data.root={lists}"))
    assert set(found) == {"train", "val"}
    assert all(videos.samples and videos.classes for videos in found.values())


@pytest.mark.parametrize("name", names("optim"))
def test_every_optimization_is_one(name):
    assert isinstance(instantiate(composed(f"optim={name}").optim), Optimization)


def test_every_schedule_can_be_had_with_every_optimizer():
    keys = {name: set(composed(f"optim={name}").optim) for name in names("optim")}
    assert keys["adamw"] == keys["sgd"] == {"_target_", *(own.name for own in fields(Optimization))}
    for name in keys:
        node = composed(f"optim={name}", "optim.warmup_epochs=0").optim
        for schedule in SCHEDULES:
            assert instantiate(node, schedule=schedule).schedule == schedule


@pytest.mark.parametrize("name", [name for name in names("experiment") if name not in PUBLISHED])
def test_the_other_experiments_are_our_own(name):
    assert name == "folder" or name.startswith(("square_", "order20", "study_"))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_experiments_have_the_published_values(name):
    config, wanted = composed(f"experiment={name}"), PUBLISHED[name]
    optimization = instantiate(config.optim)
    batch = config.data.batch_size * config.trainer.accumulate_grad_batches
    if optimization.reference_batch_size is not None:
        batch = optimization.reference_batch_size
        assert optimization.learning_rate(batch // 4) == pytest.approx(wanted["lr"] / 4)
    assert batch == wanted["batch"]
    assert optimization.learning_rate(batch) == wanted["lr"]
    assert (optimization.optimizer, optimization.momentum, optimization.gamma) == ("sgd", 0.9, 0.1)
    assert (optimization.weight_decay, optimization.warmup_epochs) == (wanted["weight_decay"], 0)
    assert optimization.nesterov == wanted.get("nesterov", False)
    if "patience" in wanted:
        assert (optimization.schedule, optimization.patience) == ("plateau", wanted["patience"])
    else:
        assert (optimization.schedule, list(optimization.milestones)) == ("step", wanted["milestones"])
    assert config.trainer.max_epochs == wanted["epochs"]
    assert config.trainer.gradient_clip_val == wanted["clip"]
    assert (config.model.dropout, config.batch_norm) == (wanted["dropout"], wanted["batch_norm"])
    assert (config.input.train_rule, config.input.eval_rule) == wanted["rules"]


@pytest.mark.parametrize("name", names("trainer"))
def test_every_trainer_is_one(name):
    arguments = plain(composed(f"trainer={name}").trainer)
    if arguments["accelerator"] == "gpu":  # there may be none, and FSDP wants one
        arguments |= {"accelerator": "cpu", "strategy": "auto", "devices": 1}
    trainer = Trainer(**arguments, logger=False, enable_checkpointing=False)
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch) == (80, 1)
    assert not [key for key in arguments if key.startswith("limit")]  # epochs that are gone on with are whole


def test_a_scorer_of_looks_is_trained_as_by_default():
    node = plain(composed("+select=saliency").select)
    assert node.pop("of") is None
    assert ScorerTraining(**node) == ScorerTraining()


@pytest.mark.parametrize("name", names("launcher"))
def test_every_launcher_has_a_cluster(name):
    launcher = plain(composed(f"launcher={name}").launcher)
    assert launcher["cluster"] == {"here": None, "slurm": "slurm"}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names("experiment") if name not in NOT_BEGUN])
def test_every_experiment_can_begin(lists, tmp_path, name):
    is_made = name.startswith(("square_", "order20", "study_"))
    root, few = (tmp_path, FEW) if is_made else (lists, ())
    config = composed(f"experiment={name}", f"data.root={root}", "trainer.accelerator=cpu", *few)
    recipe = build(config)
    trainer = create_trainer(config, recipe, RunFolder(tmp_path))
    module = create_module(config, recipe, trainer)
    made = module.optimization.create(module.model, max_epochs=config.trainer.max_epochs, batch_size=1)
    assert sum(len(group["params"]) for group in made["optimizer"].param_groups) > 0
    clip = recipe.data.clips
    assert clip.num_segments % 4 == 0 or not name.startswith("eco")
    assert recipe.weights.input["crop"] == clip.size
