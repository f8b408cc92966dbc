"""Every file of configs/ builds what it describes."""

import pytest
from dataset_layouts import write_lists
from lightning.pytorch import Trainer
from torch import nn

from pv_sparse.recipes.building import build, read_lists
from pv_sparse.recipes.config import compose, instantiate, plain
from pv_sparse.recipes.optimization import Optimization
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.trainers import create_module, create_trainer
from pv_sparse.resources import resource_dir

CONFIGS = resource_dir("configs")
# What is downloaded: other tests have it on files that are here.
WITHOUT_DOWNLOADS = ("backbone_weights", "c3d_weights")


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
    assert groups == {"data", "experiment", "host", "launcher", "model", "optim", "protocol", "trainer"}


@pytest.mark.parametrize("name", names("model"))
def test_every_model_builds(name):
    assert isinstance(instantiate(composed(f"model={name}").model, num_classes=3), nn.Module)


@pytest.mark.parametrize("name", [name for name in names("data") if name not in ("loading", "square")])
def test_every_data_set_is_read(lists, name):
    found = read_lists(composed(f"data={name}", f"data.root={lists}").data)
    assert set(found) == {"train", "val"}
    assert all(videos.samples and videos.classes for videos in found.values())


@pytest.mark.parametrize("name", names("optim"))
def test_every_optimization_is_one(name):
    assert isinstance(instantiate(composed(f"optim={name}").optim), Optimization)


@pytest.mark.parametrize("name", names("trainer"))
def test_every_trainer_is_one(name):
    arguments = plain(composed(f"trainer={name}").trainer)
    if arguments["accelerator"] == "gpu":  # there may be none, and FSDP wants one
        arguments |= {"accelerator": "cpu", "strategy": "auto", "devices": 1}
    assert Trainer(**arguments, logger=False, enable_checkpointing=False).max_epochs == 80


@pytest.mark.parametrize("name", names("launcher"))
def test_every_launcher_has_a_cluster(name):
    launcher = plain(composed(f"launcher={name}").launcher)
    assert launcher["cluster"] == {"here": None, "slurm": "slurm"}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_can_begin(lists, tmp_path, name):
    root = tmp_path if name.startswith("square") else lists
    small = ["data.train.num_videos=2", "data.val.num_videos=2"] if name.startswith("square") else []
    config = composed(f"experiment={name}", f"data.root={root}", "trainer.accelerator=cpu", *small)
    recipe = build(config)
    trainer = create_trainer(config, recipe, RunFolder(tmp_path))
    module = create_module(config, recipe, trainer)
    made = module.optimization.create(module.model, max_epochs=config.trainer.max_epochs, batch_size=1)
    assert sum(len(group["params"]) for group in made["optimizer"].param_groups) > 0
    clip = recipe.data.clips
    assert clip.num_segments % 4 == 0 or not name.startswith("eco")
    assert recipe.weights.input["crop"] == clip.size
