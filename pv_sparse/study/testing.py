"""A trained model tested once: frames chosen and shown in some way, scores and CPU time kept."""

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.data.segment_plan import Selector
from pv_sparse.data.selectors import SALIENCY, get_selector
from pv_sparse.recipes.building import read_lists
from pv_sparse.recipes.config import compose, plain
from pv_sparse.recipes.inputs import ClipInput
from pv_sparse.recipes.scores import ONE_TASK, Scores, TaskScores
from pv_sparse.study.experiments import FrameChoice, Names
from pv_sparse.study.scorers import trained_selector
from pv_sparse.study.training_runs import MODEL_FILE, digest, without_place
from pv_sparse.whole_files import whole_file
from pv_sparse.zoo.loading import load_model

BATCH_SIZE = 16
# Fields of a choice that came when tests had been kept: where they say nothing, keys are those from before.
LATER = ("select", "num_looks")


@dataclass(frozen=True)
class Figures:
    """What a test says: fields as of `Row`."""

    top1: float
    cpu_seconds: float
    decode_cpu_seconds: float
    num_videos: int


def key_of_test(training_key: str, choice: FrameChoice, accelerator: str, data: Names = ()) -> str:
    """The name of the files of a test; `data` are overrides of a data set that is not the one of the training."""
    told = {name: value for name, value in asdict(choice).items() if name not in LATER or value is not None}
    other = {"data": without_place(data)} if data else {}
    return digest({"training": training_key, "accelerator": accelerator, **told, **other})


def read_tested(folder: Path, key: str) -> Figures | None:
    """What a test said before; None where one of its files is missing, or the one of the figures unreadable."""
    try:
        content = json.loads((folder / f"{key}.json").read_text())
        return Figures(**content["tested"]) if (folder / f"{key}.npz").exists() else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_tested(folder: Path, key: str, tested: Figures, scores: Scores, about: dict[str, Any]) -> None:
    """`<key>.npz`, the scores, and `<key>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    scores.save(folder / f"{key}.npz")
    with whole_file(folder / f"{key}.json") as file:  # last: where it is, the scores are
        file.write(json.dumps({"tested": asdict(tested), **about}, indent=1).encode())


def run_test(
    trained: Path, config: DictConfig, choice: FrameChoice, accelerator: str, data: Names = ()
) -> tuple[Figures, Scores]:
    """Show the model of a folder the validation videos of its configuration, or of another data set.

    Args:
        trained: folder of a run.
        config: of the run.
        choice: which frames, in which order.
        accelerator: `cpu` or `gpu`.
        data: overrides that compose the other data set.

    Returns:
        The figures, and the scores: their paths are `split/class/name`, the same for videos, arrays and flow.

    Raises:
        VideoDecodeError: a video that cannot be read.
        WeightsError, ValueError: a model or a choice that do not fit.
    """
    device = torch.device("cuda" if accelerator == "gpu" else "cpu")
    model = load_model(trained / MODEL_FILE, device=device)
    lists = _lists(config, choice, data)
    videos = lists["val"]
    selector = _selector(trained, choice, lists["train"], data)
    dataset = _dataset(model, config, choice, videos, selector)
    logits, decode_seconds, model_seconds = _answers(model, dataset, choice.order, device)
    labels = np.array([info["label"] for _, info in videos.samples])
    top1 = float((logits.argmax(dim=1).numpy() == labels).mean())
    tested = Figures(top1, decode_seconds + model_seconds, decode_seconds, len(videos))
    return tested, _scores(logits, labels, videos, str(trained.name), choice)


def in_order(video: Tensor, order: str, frames_per_segment: int, numbers: list[int]) -> Tensor:
    """The segments of videos in another order; frames of one segment stay together.

    Args:
        video: (N, C, S*L, H, W).
        order: `ordered`, `shuffled` or `reversed`.
        frames_per_segment: L.
        numbers: of the N videos; each has its own permutation, the same at every call.

    Returns:
        (N, C, S*L, H, W).
    """
    if order == "ordered":
        return video
    num_segments = video.shape[2] // frames_per_segment
    segments = video.reshape(*video.shape[:2], num_segments, frames_per_segment, *video.shape[3:])
    if order == "reversed":
        return segments.flip(2).flatten(2, 3)
    shuffled = [one[:, _permutation(num_segments, n)] for one, n in zip(segments, numbers, strict=True)]
    return torch.stack(shuffled).flatten(2, 3)


def _permutation(num_segments: int, number: int) -> Tensor:
    return torch.randperm(num_segments, generator=torch.Generator().manual_seed(number))


def _lists(config: DictConfig, choice: FrameChoice, data: Names) -> dict[str, VideoList]:
    config = copy.deepcopy(config)
    if data:
        config.data = compose("train", data).config.data
    if "frames" in config.data:
        config.data.frames = not choice.files
    return read_lists(config)


def _selector(trained: Path, choice: FrameChoice, videos: VideoList, data: Names) -> Selector | None:
    if choice.select == SALIENCY:
        selector = trained_selector(trained, videos, data)
        return selector if choice.num_looks is None else replace(selector, num_looks=choice.num_looks)
    return None if choice.select is None else get_selector(choice.select)


def _dataset(
    model: Any, config: DictConfig, choice: FrameChoice, videos: VideoList, selector: Selector | None
) -> SparseVideoDataset:
    clips = ClipInput.for_model(model, config.model.get("backbone", "resnet50"), plain(config.input))
    return SparseVideoDataset(
        videos,
        SegmentClipSampler(**{**clips.sampling(training=False), **choice.sampling}, select=selector),
        clips.transform(training=False),
        on_error="raise",
        dtype="uint8",
        modality="flow" if clips.modality == "flow" else "rgb",
        threads=1,  # several decode more frames than are asked for, and the more the more cores there are
    )


@torch.inference_mode()
def _answers(model: Any, dataset: SparseVideoDataset, order: str, device: torch.device) -> tuple[Tensor, float, float]:
    """(N, num_classes) logits, and the CPU seconds of frames and of the network."""
    model(dataset[0]["video"][None].to(device))  # what happens once, at the first call, is no part of the test
    logits, decode_seconds, model_seconds = [], 0.0, 0.0
    for numbers in _batches(len(dataset)):
        begin = time.process_time()
        video = torch.stack([dataset[number]["video"] for number in numbers])
        decoded = time.process_time()
        shown = in_order(video, order, model.frames_per_segment, numbers).to(device)
        logits.append(model(shown).float().cpu())
        decode_seconds += decoded - begin
        model_seconds += time.process_time() - decoded
    return torch.cat(logits), decode_seconds, model_seconds


def _batches(number: int) -> Iterator[list[int]]:
    for start in range(0, number, BATCH_SIZE):
        yield list(range(start, min(start + BATCH_SIZE, number)))


def _scores(logits: Tensor, labels: np.ndarray, videos: VideoList, weights: str, choice: FrameChoice) -> Scores:
    task = TaskScores(logits[None].numpy(), logits.softmax(dim=1).numpy(), labels, tuple(videos.classes))
    names = tuple("/".join(PurePath(path).with_suffix("").parts[-3:]) for path, _ in videos.samples)
    return Scores(names, {ONE_TASK: task}, {}, weights, str(choice), "logits")
