"""What a run leaves behind: the last evaluation, the model in one file, the report."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from pv_sparse.recipes.building import Recipe, empty_model
from pv_sparse.recipes.checkpoints import read_checkpoint
from pv_sparse.recipes.history import History
from pv_sparse.recipes.module import RecognitionModule
from pv_sparse.recipes.report import write_report
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.scorers import scorer_is_wanted, with_scorer
from pv_sparse.recipes.trainers import create_module
from pv_sparse.zoo.saving import save_model
from pv_sparse.zoo.state_dicts import load_exactly

PREFIX = "test/"
PUBLISHED = ("top1", "top5", "mean_class_accuracy", "map")


def finish(config: DictConfig, recipe: Recipe, trainer: Trainer, folder: RunFolder) -> dict[str, float]:
    """Evaluate the best weights on the test videos, and write `model.safetensors` and `report/`.

    Returns:
        The figures by name, as fractions.
    """
    trainer.strategy.barrier()  # until the best checkpoint is there
    best = read_checkpoint(folder.best)
    # A model of its own: what was trained may be compiled, wrapped, or cut into pieces.
    best_recipe = replace(recipe, model=_filled(config, recipe, best))
    module = create_module(config, best_recipe, trainer, is_trained=False)
    trainer.test(module, recipe.data, verbose=False)
    logged = trainer.callback_metrics
    figures = {name.removeprefix(PREFIX): float(value) for name, value in logged.items() if name.startswith(PREFIX)}
    failed = _failed_files(recipe)
    if trainer.is_global_zero:
        figures = _save(config, best_recipe, folder, figures) | figures
        _report(recipe, module, trainer, folder, best, failed, figures["loss"])
    trainer.strategy.barrier()
    return figures


def _save(config: DictConfig, recipe: Recipe, folder: RunFolder, figures: Mapping[str, float]) -> dict[str, float]:
    """With a scorer of looks, where one is wanted, whose figures are returned (`with_scorer`)."""
    weights = replace(recipe.weights, metrics=_measured(config, figures))
    if not scorer_is_wanted(config):
        save_model(recipe.model, folder.model, weights)
        return {}
    scored = with_scorer(config, recipe.model, weights, recipe.data.lists)
    save_model(recipe.model, folder.model, scored.weights, scored.scorer)
    return scored.figures


def _filled(config: DictConfig, recipe: Recipe, checkpoint: Mapping[str, Any]) -> Any:
    own = {
        key.removeprefix("model."): value for key, value in checkpoint["state_dict"].items() if key.startswith("model.")
    }
    model = empty_model(config, recipe.data.num_classes)
    load_exactly(model, own, "best.ckpt", str(config.model["_target_"]))
    return model


def _failed_files(recipe: Recipe) -> dict[str, str]:
    """Those that any process met."""
    of_all: list[dict[str, str] | None] = [recipe.data.failed_files()]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        of_all = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(of_all, recipe.data.failed_files())
    return {path: why for failed in of_all for path, why in (failed or {}).items()}


def _measured(config: DictConfig, figures: Mapping[str, float]) -> tuple[Mapping[str, Any], ...]:
    """For the record of the weights, in percent."""
    percent = {name: round(100 * figures[name], 2) for name in PUBLISHED if name in figures}
    return ({"dataset": str(config.data.root), "protocol": "one view", "by": "us", **percent},)


def _report(
    recipe: Recipe,
    module: RecognitionModule,
    trainer: Trainer,
    folder: RunFolder,
    best: Mapping[str, Any],
    failed: Mapping[str, str],
    loss: float,
) -> None:
    judged = module.judged
    if judged is None:
        raise RuntimeError("an evaluation came before this")
    history = next(callback for callback in trainer.callbacks if isinstance(callback, History))  # type: ignore[attr-defined]
    write_report(
        folder.report,
        scores=judged.logits,
        labels=judged.labels,
        classes=recipe.data.classes,
        history=history.rows,
        config_yaml=folder.config.read_text(encoding="utf-8"),
        failed=failed,
        multi_label=recipe.data.multi_label,
        extra={"loss": loss, "epoch": best["epoch"] + 1, "step": best["global_step"]},
    )
