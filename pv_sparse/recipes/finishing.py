"""What a run leaves behind: the last evaluation, the model in one file, the report."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning.pytorch import Trainer
from omegaconf import DictConfig

from pv_sparse.recipes.building import Recipe
from pv_sparse.recipes.checkpoints import read_checkpoint
from pv_sparse.recipes.history import History
from pv_sparse.recipes.module import RecognitionModule
from pv_sparse.recipes.report import write_report
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.zoo.saving import save_model

PREFIX = "test/"
PUBLISHED = ("top1", "top5", "mean_class_accuracy", "map")


def finish(
    config: DictConfig, recipe: Recipe, module: RecognitionModule, trainer: Trainer, folder: RunFolder
) -> dict[str, float]:
    """Evaluate the best weights on the test videos, and write `model.safetensors` and `report/`.

    Returns:
        The figures by name, as fractions.
    """
    best = read_checkpoint(folder.best)
    module.load_state_dict(best["state_dict"])
    trainer.test(module, recipe.data, verbose=False)
    logged = trainer.callback_metrics
    figures = {name.removeprefix(PREFIX): float(value) for name, value in logged.items() if name.startswith(PREFIX)}
    if trainer.is_global_zero:
        save_model(module.model, folder.model, replace(recipe.weights, metrics=_measured(config, figures)))
        _report(recipe, module, trainer, folder, best, figures["loss"])
    trainer.strategy.barrier()
    return figures


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
        failed=recipe.data.failed_files(),
        multi_label=recipe.data.multi_label,
        extra={"loss": loss, "epoch": best["epoch"], "step": best["global_step"]},
    )
