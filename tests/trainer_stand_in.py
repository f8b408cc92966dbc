"""A stand-in for pytorchvideo_trainer, which is in no registry: what of it a foreign part has to fit, and no more.

It is written after what is known of that trainer, not after its code: schemas, groups and names of its command line;
how it makes data sets and transforms; what it reads of a data set at each step; how it joins the clips of a video in a
test. What happened is in result.json of `logger.save_dir`.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig
from torch.utils.data import DataLoader, IterableDataset, RandomSampler
from torchvision.transforms import Compose

PHASES = ("train", "val", "test")


@dataclass
class Phase:
    num_workers: int = 0
    pin_memory: bool = False
    batch_size: int = MISSING
    shuffle: bool = True
    dataset: Any = MISSING


@dataclass
class Loaders:
    train: Phase = MISSING
    val: Phase = MISSING
    test: Phase = MISSING


@dataclass
class Transforms:
    train: list[Any] = MISSING
    val: list[Any] = MISSING
    test: list[Any] = MISSING


@dataclass
class Data:
    dataloader: Loaders = MISSING
    transforms: Transforms = MISSING


@dataclass
class Module:
    model: Any = MISSING
    metrics: list[Any] = MISSING
    ensemble_method: str | None = None
    num_classes: int = 400


@dataclass
class App:
    defaults: list[Any] = field(
        default_factory=lambda: [
            {"datamodule/dataloader": "kinetics_classification"},
            {"datamodule/transforms": "kinetics_classification_slow"},
            {"module/model": "slow_r50"},
            {"module/metrics": "accuracy"},
            {"logger": "ptl"},
            "_self_",
        ]
    )
    datamodule: Data = field(default_factory=Data)
    module: Module = field(default_factory=lambda: Module(ensemble_method="sum"))
    logger: Any = MISSING
    submitit_conf: Any = None
    max_epochs: int = 1


def stock_phase(sampler: str, **arguments: Any) -> dict[str, Any]:
    clip_sampler = {"_target_": f"pytorchvideo.data.clip_sampling.{sampler}", "clip_duration": 2.13, **arguments}
    dataset = {"_target_": "pytorchvideo.data.Kinetics", "data_path": "???", "clip_sampler": clip_sampler}
    return {"dataset": dataset, "batch_size": 8, "num_workers": 8}


def stock_transforms() -> list[dict[str, Any]]:
    names = {"UniformTemporalSubsample": {"num_samples": 8}, "ShortSideScale": {"size": 256}}
    steps = [{"_target_": f"pytorchvideo.transforms.{name}", **arguments} for name, arguments in names.items()]
    return [{"_target_": "pytorchvideo.transforms.ApplyTransformToKey", "transform": steps, "key": "video"}]


def register() -> None:
    """The trainer's own names; one of its experiments lays another `clip_duration` over whatever sampler is chosen."""
    store = ConfigStore.instance().store
    experiment = {"dataset": {"clip_sampler": {"clip_duration": 1.6}}}
    store(name="classification_slow_8x8_r50", node=App)
    store(
        name="classification_x3d_xs",
        node={
            "defaults": ["classification_slow_8x8_r50", "_self_"],
            "datamodule": {"dataloader": dict.fromkeys(PHASES, experiment)},
        },
    )
    store(group="module/model", name="slow_r50", node={"_target_": "pytorchvideo.models.resnet.create_resnet"})
    accuracy = [{"name": f"accuracy_top{k}", "config": {"_target_": "Accuracy", "top_k": k}} for k in (1, 5)]
    store(group="module/metrics", name="accuracy", node=accuracy)
    loaders = {
        "train": stock_phase("RandomClipSampler"),
        "val": stock_phase("UniformClipSampler"),
        "test": stock_phase("ConstantClipsPerVideoSampler", clips_per_video=10, augs_per_clip=3),
    }
    store(group="datamodule/dataloader", name="kinetics_classification", node=loaders)
    transforms = {phase: stock_transforms() for phase in PHASES}
    store(group="datamodule/transforms", name="kinetics_classification_slow", node=transforms)
    store(group="logger", name="ptl", node={"save_dir": "???"})
    store(group="submitit_conf", name="fair_cluster", node={"mode": "prod"})


def build_transform(config: Any) -> Any:
    """A step whose `transform` is a list of steps has them built first, and composed."""
    arguments = dict(config)
    if "transform" in arguments:
        steps = Compose([build_transform(step) for step in arguments.pop("transform")])
        return instantiate(arguments, transform=steps)
    return instantiate(arguments)


def build_loader(cfg: DictConfig, phase: str) -> DataLoader:
    """Every data set is given a transform and a sampler class; only one that is not iterable is shuffled here."""
    own = cfg.datamodule.dataloader[phase]
    transform = Compose([build_transform(step) for step in cfg.datamodule.transforms[phase]])
    dataset = instantiate(own.dataset, transform=transform, video_sampler=RandomSampler)
    shuffle = None if isinstance(dataset, IterableDataset) else own.shuffle
    return DataLoader(dataset, own.batch_size, shuffle, num_workers=own.num_workers)


def train(cfg: DictConfig, model: torch.nn.Module) -> list[float]:
    """As Lightning 2 does, it leaves the model in the mode that it comes in."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader, losses = build_loader(cfg, "train"), []
    for _ in range(cfg.max_epochs):
        for batch in loader:
            assert len(loader.dataset._labeled_videos) // loader.batch_size >= 0  # the epoch's length, at each step
            loss = torch.nn.functional.cross_entropy(model(batch["video"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def evaluate(cfg: DictConfig, model: torch.nn.Module, phase: str) -> dict[int, int]:
    """Clips of each video, whose scores are summed under its `video_index`."""
    scores: dict[int, torch.Tensor] = {}
    counts: dict[int, int] = defaultdict(int)
    model.eval()
    for batch in build_loader(cfg, phase):
        with torch.no_grad():
            predictions = model(batch["video"]).softmax(dim=-1)
        for prediction, label, video in zip(predictions, batch["label"], batch["video_index"], strict=True):
            scores[int(video)] = scores.get(int(video), torch.zeros(cfg.module.num_classes)) + prediction
            counts[int(video)] += 1
            assert 0 <= int(label) < cfg.module.num_classes
    return dict(counts)


@hydra.main(version_base="1.3", config_path="conf", config_name=None)
def main(cfg: DictConfig) -> None:
    model = instantiate(cfg.module.model, _convert_="all")
    result = {
        "losses": train(cfg, model),
        "val_clips": evaluate(cfg, model, "val"),
        "test_clips": evaluate(cfg, model, "test"),
    }
    Path(cfg.logger.save_dir, "result.json").write_text(json.dumps(result))


register()

if __name__ == "__main__":
    main()
