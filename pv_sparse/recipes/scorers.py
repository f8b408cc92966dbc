"""`pv-sparse train +select=saliency`: a scorer of looks beside the recogniser, and what it is worth."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.data.segment_plan import Selector
from pv_sparse.data.selectors import SALIENCY, Saliency
from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.selection import LookScorer
from pv_sparse.recipes.building import read_lists
from pv_sparse.recipes.class_matching import in_classes_of
from pv_sparse.recipes.config import plain
from pv_sparse.recipes.console import tell
from pv_sparse.recipes.data import Collate
from pv_sparse.recipes.distillation import ScorerTraining, train_scorer
from pv_sparse.recipes.predictions import Predictions
from pv_sparse.transforms.factory import SampleTransform
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.saving import save_model
from pv_sparse.zoo.weights import Weights

SCORER_ARGUMENTS = ("size", "width", "attention", "num_looks")


class Scored(NamedTuple):
    """A scorer, the record that describes it, and what it is worth: the figures of even frames, and of chosen ones."""

    weights: Weights
    scorer: LookScorer
    figures: dict[str, float]


def scorer_is_wanted(config: DictConfig) -> bool:
    """Whether `+select=saliency` was given."""
    return config.get("select") is not None


def check_scorer(config: DictConfig, weights: Weights) -> None:
    """That a scorer can be trained for a model of this record: told before the model is trained.

    Raises:
        ValueError: settings that `ScorerTraining` refuses.
        PvSparseError: a model that reads optical flow.
    """
    settings_of(config)
    if weights.modality == "flow":
        raise PvSparseError("select=saliency looks at RGB frames, and the model reads optical flow: leave it out")


def settings_of(config: DictConfig) -> ScorerTraining:
    """Of the node `select`; `ValueError` for what is not allowed."""
    given = plain(config.select)
    if "of" not in given:
        raise PvSparseError(f"select.{next(iter(given))} belongs to +select={SALIENCY}: give that too")
    del given["of"]
    return ScorerTraining(**given)


def train_scorer_of_weights(config: DictConfig) -> dict[str, float]:
    """`select.of=NAME_OR_PATH`: those weights with a scorer, as `model.safetensors` in `out`; no recogniser is trained.

    Returns:
        The figures of `with_scorer`.
    """
    settings_of(config)  # told before anything is fetched
    weights = find_weights(str(config.select.of))
    check_scorer(config, weights)
    model = load_model(weights)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    scored = with_scorer(config, model, weights, read_lists(config))
    save_model(model, out / "model.safetensors", scored.weights, scored.scorer)
    return scored.figures


def with_scorer(config: DictConfig, model: nn.Module, weights: Weights, lists: Mapping[str, VideoList]) -> Scored:
    """A scorer that learned from `model` on the training videos, and the record that describes it.

    Args:
        config: with a node `select`, and nodes `seed`, `data` and `trainer`.
        model: the recogniser, trained; it comes back in eval mode and on the CPU.
        weights: its record; to its metrics is added what chosen frames are worth.
        lists: `train`, and `test` or `val`, to measure with.
    """
    settings = settings_of(config)
    model = model.eval().to(device_of(config))
    scorer = train_scorer(cast(SegmentNet, model), weights, lists["train"], settings, config.seed, tell)
    selector = Saliency(scorer, num_looks=settings.num_looks)
    judged = lists.get("test") or lists["val"]
    loading = {"batch_size": settings.batch_size, "num_workers": config.data.num_workers}
    (name, even), (_, chosen) = (first_figure(model, weights, judged, own, **loading) for own in (None, selector))
    model.cpu()
    measured = {"dataset": str(config.data.root), "protocol": f"one view, {SALIENCY}", "by": "us"}
    others = [metric for metric in weights.metrics if metric["protocol"] != measured["protocol"]]  # of a scorer before
    metrics = (*others, {**measured, name: round(100 * chosen, 2)})
    figures = {name: even, f"{name}_{SALIENCY}": chosen}
    return Scored(replace(weights, scorer=described(settings), metrics=metrics), scorer, figures)


def described(settings: ScorerTraining) -> dict[str, Any]:
    """`Weights.scorer`."""
    return {name: getattr(settings, name) for name in SCORER_ARGUMENTS}


def first_figure(
    model: nn.Module,
    weights: Weights,
    videos: VideoList,
    select: Selector | None,
    batch_size: int = 16,
    num_workers: int = 0,
) -> tuple[str, float]:
    """`top1`, or `map` where several classes can be right, of one look at each video, as a fraction."""
    dataset = SparseVideoDataset(
        in_classes_of(videos, weights, warn=False),
        weights.sampler(one_view=True, select=select),
        SampleTransform(weights.transform(one_view=True)),
        dtype="uint8",
    )
    num_classes = len(weights.categories) if weights.multi_label else None
    loader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=Collate(num_classes))
    predictions = Predictions()
    device = next(model.parameters()).device
    with torch.inference_mode():
        for batch in loader:
            own = torch.nonzero(batch["video_index"] == batch["requested_index"]).flatten()
            logits, labels = model(batch["video"].to(device)), batch["label"]
            predictions.add(_rows(logits, own), _rows(labels, own), batch["requested_index"][own])
    figures = predictions.gather().metrics(weights.multi_label)
    return next(iter(figures.items()))


def _rows(values: Logits, numbers: Tensor) -> Logits:
    return map_logits(lambda own: own.cpu()[numbers], values)


def device_of(config: DictConfig) -> str:
    """Where a scorer is trained: one GPU, where the trainer would take it."""
    wants = config.trainer.accelerator in ("auto", "gpu", "cuda")
    return "cuda" if wants and torch.cuda.is_available() else "cpu"
