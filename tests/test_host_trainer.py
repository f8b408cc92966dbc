"""PyTorchVideo's Hydra trainer: our names on its command line, found without any code of its user.

The trainer is in no registry. A stand-in is tested always; the trainer itself where PV_SPARSE_PYTORCHVIDEO_TRAINER
names the folder that holds its `pytorchvideo_trainer/`, PV_SPARSE_TORCHRECIPES the one that holds `torchrecipes/`, and
PV_SPARSE_PYTORCHVIDEO the one that holds git master's `pytorchvideo/`; submitit has to be there too (PYTHONPATH).
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import call, create_autospec

import pytest
import torch
from conftest import REPOSITORY
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from test_examples import EXAMPLES, Checkouts, environment, write_class_folders
from torch.utils.data import RandomSampler
from torchvision.transforms import Compose
from trainer_stand_in import build_transform

from hydra_plugins import pv_sparse_searchpath as plugin

HOST = REPOSITORY / "configs" / "host"
NAMES = {
    group: {path.stem for path in (HOST / group).glob("*.yaml")}
    for group in ("module/model", "datamodule/dataloader", "datamodule/transforms")
}
SMALL = [
    *(f"datamodule.dataloader.{phase}.batch_size=2" for phase in ("train", "val", "test")),
    "datamodule.transforms.train.0.size=64",
    "datamodule.transforms.val.0.resize=72",
    "datamodule.transforms.test.1.size=72",
]
CONFIGS = ("classification_slow_8x8_r50", "classification_x3d_xs")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("trainer"))


def composed(**choices: str) -> DictConfig:
    """The trainer's whole configuration with files of ours in it, by group."""
    config = OmegaConf.create({"module": {"num_classes": 3}, "datamodule": {}})
    for group, name in choices.items():
        above, _, key = group.partition("_")
        config[above][key] = OmegaConf.load(HOST / above / key / f"{name}.yaml")
    return config


# The search path


def test_the_plugin_imports_neither_torch_nor_us():
    program = "import sys, hydra_plugins.pv_sparse_searchpath; print({'torch', 'pv_sparse'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_other_plugins_are_seen_beside_it():
    """A folder with __init__.py would hide theirs."""
    assert [path.name for path in (REPOSITORY / "hydra_plugins").glob("*.py")] == ["pv_sparse_searchpath.py"]


def test_hydra_programs_see_our_names_and_no_others_of_ours(tmp_path):
    (tmp_path / "module" / "model").mkdir(parents=True)
    (tmp_path / "module" / "model" / "slow_r50.yaml").write_text("x: 1\n")
    with initialize_config_dir(version_base="1.3", config_dir=str(tmp_path)):
        loader = GlobalHydra.instance().config_loader()
        for group, names in NAMES.items():
            assert names <= set(loader.get_group_options(group)), group
        assert "slow_r50" in loader.get_group_options("module/model")
        for own in ("model", "data", "optim", "trainer", "experiment"):
            assert loader.get_group_options(own) == [], own


def test_what_the_program_itself_calls_so_goes_first(tmp_path):
    (tmp_path / "module" / "model").mkdir(parents=True)
    (tmp_path / "module" / "model" / "trn_r50.yaml").write_text("theirs: 1\n")
    with initialize_config_dir(version_base="1.3", config_dir=str(tmp_path)):
        found = GlobalHydra.instance().config_loader().load_configuration("module/model/trn_r50", [], None)
    assert "theirs" in str(found)


@pytest.mark.parametrize("layout", ["wheel", "checkout", "neither"])
def test_where_the_folder_is(layout, tmp_path, monkeypatch):
    package = tmp_path / "site" / "pv_sparse"
    folder = {"wheel": package, "checkout": package.parent}.get(layout, tmp_path) / "configs" / "host"
    folder.mkdir(parents=True)
    spec = ModuleSpec("pv_sparse", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(plugin, "find_spec", lambda name: spec)
    search_path = create_autospec(ConfigSearchPath, instance=True)
    plugin.PvSparseSearchPath().manipulate_search_path(search_path)
    shown = [] if layout == "neither" else [call.append(provider="pv_sparse", path=f"file://{folder}")]
    assert search_path.mock_calls == shown


def test_without_the_package_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    assert plugin.host_configs() is None


# The files


def test_the_names_are_those_that_are_told():
    assert NAMES["module/model"] >= {"tsn_r50", "trn_r50", "trn_bninception", "eco_lite", "sparse_zoo"}
    assert NAMES["datamodule/dataloader"] == {"kinetics_sparse"}
    assert NAMES["datamodule/transforms"] == {"sparse_8f", "sparse_16f"}


@pytest.mark.parametrize("name", sorted(NAMES["module/model"] - {"sparse_zoo"}))
def test_every_model_builds_for_the_trainers_classes(name):
    config = composed(module_model=name)
    config.module.model.update(backbone_weights=None, device="meta")  # neither a download nor random numbers
    with torch.device("meta"):
        model = instantiate(config.module.model, _convert_="all")
        assert model.training
        segments = config.module.model.get("num_segments", 8)
        assert model(torch.zeros(2, 3, segments, 64, 64)).shape == (2, 3)


def test_weights_of_the_zoo_come_ready_to_be_trained(weights):
    config = composed(module_model="sparse_zoo")
    config.module.model.self.name_or_path = weights
    model = instantiate(config.module.model, _convert_="all")
    assert model.training
    assert model(torch.zeros(2, 3, 8, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(("model", "segments"), [("trn_r50", 8), ("eco_lite", 16), ("tsn_r50", 8)])
def test_the_loaders_follow_the_model(videos, model, segments):
    config = composed(module_model=model, datamodule_dataloader="kinetics_sparse")
    loaders = config.datamodule.dataloader
    loaders.train.dataset.data_path = loaders.val.dataset.data_path = str(videos)
    for phase in ("train", "val", "test"):
        OmegaConf.update(loaders[phase], "dataset.clip_sampler.clip_duration", 1.6)  # as classification_x3d_xs does
        dataset = instantiate(loaders[phase].dataset, transform=None, video_sampler=RandomSampler)
        assert next(iter(dataset))["video"].shape[:2] == (3, segments)
        assert len(dataset._labeled_videos) == dataset.num_videos == 6


@pytest.mark.parametrize("num_frames", [8, 30])
@pytest.mark.parametrize(("phase", "side"), [("train", 64), ("val", 64), ("test", 72)])
def test_the_transforms_take_chosen_frames_and_dense_clips(num_frames, phase, side):
    config = composed(datamodule_transforms="sparse_8f")
    transforms = config.datamodule.transforms
    transforms.train[0].size, transforms.val[0].resize, transforms.test[1].size = 64, 72, 72
    transform = Compose([build_transform(step) for step in transforms[phase]])
    clip = torch.randint(256, (3, num_frames, 96, 160)).float()
    sample = transform({"video": clip.clone(), "aug_index": 2, "audio": None, "label": 1})
    assert sample["video"].shape == (3, 8, side, side)
    assert set(sample) == {"video", "aug_index", "label"}
    if phase == "test" and num_frames == 8:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        right = torch.nn.functional.interpolate(clip, size=(72, 120), mode="bilinear")[..., 48:]
        expected = (right / 255 - mean.reshape(3, 1, 1, 1)) / std.reshape(3, 1, 1, 1)
        torch.testing.assert_close(sample["video"], expected, rtol=1e-4, atol=1e-4)


def test_the_transforms_differ_in_the_number_of_frames_alone():
    eight = (HOST / "datamodule" / "transforms" / "sparse_8f.yaml").read_text()
    sixteen = (HOST / "datamodule" / "transforms" / "sparse_16f.yaml").read_text()
    assert sixteen == eight.replace("num_segments: 8\n", "num_segments: 16\n").replace("# 8 frames", "# 16 frames")


# The program


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """The stand-in under the trainer's name."""
    package = tmp_path / "path" / "pytorchvideo_trainer"
    (package / "conf").mkdir(parents=True)
    for folder in (package, package / "conf"):
        (folder / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("trainer_stand_in.py"), package / "train_app.py")
    return package.parent


def run_example(videos: Path, out: Path, config: str, *overrides: str, **variables: str) -> None:
    """The example, as `python` in a shell is ours."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", EXAMPLES / "hydra_trainer.sh", videos, out, config, *overrides],
        env=environment(PATH=path, **variables),
        cwd=out.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_the_example_on_the_stand_in(videos, stand_in, tmp_path, config):
    small = [*SMALL, "+module.model.backbone=tiny", "module.model.backbone_weights=null", "max_epochs=2"]
    run_example(videos, tmp_path / "out", config, *small, PYTHONPATH=str(stand_in))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["losses"]) == 2 * 4  # 2 workers, 3 videos each, 2 in a batch
    assert result["val_clips"] == {str(video): 1 for video in range(6)}
    assert result["test_clips"] == {str(video): 2 * 3 for video in range(6)}


@pytest.mark.slow
def test_our_model_and_transform_with_the_stock_loader(videos, stand_in, tmp_path):
    phases = ("train", "val", "test")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytorchvideo_trainer.train_app", "--config-name=classification_slow_8x8_r50"),
            *("module/model=tsn_r18", "datamodule/transforms=sparse_8f", "module.num_classes=2", *SMALL),
            *("+module.model.backbone=tiny", "module.model.backbone_weights=null"),
            *(f"datamodule.dataloader.{phase}.dataset.data_path={videos}" for phase in phases),
            *(f"datamodule.dataloader.{phase}.num_workers=2" for phase in phases),
            *(f"logger.save_dir={tmp_path}", f"hydra.run.dir={tmp_path}/hydra"),
        ],
        env=environment(PYTHONPATH=str(stand_in)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["test_clips"] == {str(video): 10 * 3 for video in range(6)}


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_the_example_on_the_trainer(videos, tmp_path, config):
    """Its command line, submitit's local job, two epochs, checkpoints, the test's six clips a video."""
    checkouts = Checkouts.of("trainer", "torchrecipes", "pytorchvideo")
    checkouts.repair(tmp_path / "repaired", "--trainer", "trainer", "--recipes", "torchrecipes")
    path = os.pathsep.join([str(tmp_path / "repaired"), checkouts.folders["pytorchvideo"]])
    one_cpu = ["trainer=cpu", "trainer.gpus=null", "trainer.num_nodes=1", "trainer.max_epochs=2"]
    own = ["+module.model.backbone=tiny", "module.model.backbone_weights=null", "callbacks.precise_bn.num_batches=2"]
    run_example(videos, tmp_path / "out", config, *SMALL, *one_cpu, *own, PYTHONPATH=path)
    log = "".join(file.read_text() for file in (tmp_path / "out").rglob("*_0_log.*"))
    assert "Job completed successfully" in log, log[-4000:]
    assert "Metrics/test/accuracy_top1" in log
    assert len(list((tmp_path / "out").rglob("*.ckpt"))) == 2
