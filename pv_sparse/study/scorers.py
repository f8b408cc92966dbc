"""The scorers of looks of the study: one for each trained model and data set, kept beside the model."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.selectors import Saliency
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.recipes.distillation import ScorerTraining, train_scorer
from pv_sparse.recipes.scorers import described
from pv_sparse.study.training_runs import MODEL_FILE, digest, without_place
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.saving import save_model
from pv_sparse.zoo.scorers import load_selector

# More videos teach little more, and take longer than the models do.
SETTINGS = ScorerTraining(max_videos=150)


def trained_selector(trained: Path, videos: VideoList, data: Sequence[str]) -> Saliency:
    """The selector of a scorer that learned from the model of a folder, trained where it is not there yet.

    Args:
        trained: folder of a training run.
        videos: to learn from.
        data: what tells their data set from others, but for its place; () is that of the training run.
    """
    key = digest({"data": without_place(data), "settings": asdict(SETTINGS)})
    file = trained / f"scorer_{key}.safetensors"
    if not file.exists():
        weights = find_weights(trained / MODEL_FILE)
        model = load_model(weights)
        scorer = train_scorer(cast(SegmentNet, model), weights, videos, SETTINGS)
        save_model(model, file, replace(weights, scorer=described(SETTINGS)), scorer)
    return load_selector(file)
