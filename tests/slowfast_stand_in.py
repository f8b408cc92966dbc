"""A stand-in for PySlowFast, which is in no registry: what of it a foreign model and data set have to fit, and no more.

It is written after what is known of that program, not after its code: registries of fvcore, names of data sets whose
first letter it makes a capital, configurations of yacs, lists of pathways into the model, five values from a data set,
a test that sums scores over the clips of a video, which come one after another. What happened is in OUTPUT_DIR/log.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch.utils.data import DataLoader

MODEL_REGISTRY, DATASET_REGISTRY = Registry("MODEL"), Registry("DATASET")
DEFAULTS: dict[str, Any] = {
    "TRAIN": {
        "ENABLE": True,
        "DATASET": "",
        "BATCH_SIZE": 64,
        "EVAL_PERIOD": 1,
        "CHECKPOINT_PERIOD": 1,
        "AUTO_RESUME": True,
    },
    "TEST": {"ENABLE": True, "DATASET": "", "BATCH_SIZE": 8, "NUM_ENSEMBLE_VIEWS": 10, "NUM_SPATIAL_CROPS": 3},
    "DATA": {
        "PATH_TO_DATA_DIR": "",
        "PATH_PREFIX": "",
        "NUM_FRAMES": 8,
        "MEAN": [0.45, 0.45, 0.45],
        "STD": [0.225, 0.225, 0.225],
        "TRAIN_CROP_SIZE": 224,
        "TEST_CROP_SIZE": 256,
        "TRAIN_JITTER_SCALES": [256, 320],
        "INPUT_CHANNEL_NUM": [3, 3],
        "RANDOM_FLIP": True,
        "REVERSE_INPUT_CHANNEL": False,
    },
    "BN": {"USE_PRECISE_STATS": False, "NUM_BATCHES_PRECISE": 200},
    "SOLVER": {
        "BASE_LR": 0.1,
        "LR_POLICY": "cosine",
        "MAX_EPOCH": 300,
        "MOMENTUM": 0.9,
        "WEIGHT_DECAY": 1e-4,
        "WARMUP_EPOCHS": 0.0,
        "WARMUP_START_LR": 0.01,
        "OPTIMIZING_METHOD": "sgd",
    },
    "MODEL": {
        "NUM_CLASSES": 400,
        "ARCH": "slowfast",
        "MODEL_NAME": "SlowFast",
        "LOSS_FUNC": "cross_entropy",
        "DROPOUT_RATE": 0.5,
        "HEAD_ACT": "softmax",
    },
    "DATA_LOADER": {"NUM_WORKERS": 8, "PIN_MEMORY": True},
    "AUG": {"NUM_SAMPLE": 1},
    "MULTIGRID": {"SHORT_CYCLE": False, "LONG_CYCLE": False},
    "NUM_GPUS": 1,
    "NUM_SHARDS": 1,
    "RNG_SEED": 1,
    "OUTPUT_DIR": ".",
}


def main() -> None:
    """`tools/run_net.py`: train, then test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg")
    parser.add_argument("--opts", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    cfg = CfgNode(DEFAULTS)
    cfg.merge_from_file(args.cfg)
    cfg.merge_from_list(args.opts)
    model = MODEL_REGISTRY.get(cfg.MODEL.MODEL_NAME)(cfg)
    train(cfg, model)
    test(cfg, model)


def build_loader(cfg: CfgNode, split: str) -> DataLoader:
    section = cfg.TEST if split == "test" else cfg.TRAIN
    dataset = DATASET_REGISTRY.get(section.DATASET.capitalize())(cfg, split)
    return DataLoader(dataset, section.BATCH_SIZE, split == "train", num_workers=cfg.DATA_LOADER.NUM_WORKERS)


def train(cfg: CfgNode, model: torch.nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.SOLVER.BASE_LR)
    loader = build_loader(cfg, "train")
    for epoch in range(cfg.SOLVER.MAX_EPOCH):
        loader.dataset._set_epoch_num(epoch)
        model.train()
        for clips, labels, _, _, _ in loader:
            assert isinstance(clips, list)
            loss = torch.nn.functional.cross_entropy(model(clips), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        log(cfg, f"epoch {epoch}: {len(loader)} steps, {loader.dataset.num_videos} videos")


def test(cfg: CfgNode, model: torch.nn.Module) -> None:
    clips_of_each = cfg.TEST.NUM_ENSEMBLE_VIEWS * cfg.TEST.NUM_SPATIAL_CROPS
    loader = build_loader(cfg, "test")
    scores = torch.zeros(loader.dataset.num_videos // clips_of_each, cfg.MODEL.NUM_CLASSES)
    model.eval()
    for clips, _, numbers, _, _ in loader:
        with torch.no_grad():
            scores.index_add_(0, numbers // clips_of_each, model(clips))
    torch.testing.assert_close(scores.sum(dim=1), torch.full((len(scores),), float(clips_of_each)))
    log(cfg, f"tested {len(scores)} videos, {clips_of_each} clips each")


def log(cfg: CfgNode, line: str) -> None:
    with Path(cfg.OUTPUT_DIR, "log").open("a") as file:
        file.write(f"{line}\n")
