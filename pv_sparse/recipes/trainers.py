"""Lightning's Trainer and our module, from a configuration."""

import math
import tempfile
from collections.abc import Mapping

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.tuner.tuning import Tuner
from omegaconf import DictConfig

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.activation_checkpointing import checkpoint_activations
from pv_sparse.recipes.averaging import ExponentialAverage
from pv_sparse.recipes.batch_norm import PartialBatchNorm
from pv_sparse.recipes.batches import EpochBatches
from pv_sparse.recipes.building import Recipe
from pv_sparse.recipes.checkpoints import AtomicCheckpointIO, LastAndBest
from pv_sparse.recipes.config import instantiate, plain
from pv_sparse.recipes.losses import TaskLoss
from pv_sparse.recipes.module import RecognitionModule
from pv_sparse.recipes.optimization import MONITORED
from pv_sparse.recipes.progress import TrainingBar, progress_callbacks
from pv_sparse.recipes.run_folder import RunFolder

BATCH_NORM = ("trained", "partial", "frozen")
# Of Lightning's Trainer, with what they are where they are not given.
REFUSED = {
    "limit_train_batches": 1.0,
    "limit_val_batches": 1.0,
    "overfit_batches": 0.0,
    "val_check_interval": 1.0,
    "reload_dataloaders_every_n_epochs": 0,
    "max_steps": -1,
    "fast_dev_run": False,
}


def create_trainer(config: DictConfig, recipe: Recipe, folder: RunFolder) -> Trainer:
    """The Trainer that writes into this folder."""
    refused = [key for key in REFUSED if config.trainer.get(key) not in (None, REFUSED[key])]
    if refused:
        raise PvSparseError(
            f"trainer.{refused[0]} cannot be given: a run that goes on counts on whole epochs; limit_train_videos and "
            "limit_val_videos make them short"
        )
    monitor = "val/map" if recipe.data.multi_label else MONITORED
    callbacks = [
        *training_rules(config),
        *progress_callbacks(folder.path),
        LastAndBest(folder.checkpoints, config.checkpoint_every_steps, monitor),
    ]
    return Trainer(
        **plain(config.trainer),
        default_root_dir=folder.path,
        logger=TensorBoardLogger(folder.path, name="", version="tensorboard"),
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(callback, TrainingBar) for callback in callbacks),
        plugins=[AtomicCheckpointIO()],
        # The data module gives each process its part.
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def create_module(config: DictConfig, recipe: Recipe, trainer: Trainer, is_trained: bool = True) -> RecognitionModule:
    """The module that this Trainer trains, with what the configuration says of loss, optimizer and speed.

    One that is not trained, but evaluated, is neither compiled nor saves memory.
    """
    model = recipe.model
    if config.activation_checkpointing and is_trained:
        checkpoint_activations(model)
    if config.compile and is_trained:
        model.compile(dynamic=False)  # a last batch of another size is compiled anew, and no size is a variable
    batches = EpochBatches(
        recipe.data.datasets["train"],
        recipe.data.batch_size,
        world_size=trainer.world_size,
        drop_last=recipe.data.drop_last,
    )
    accumulated = config.trainer.accumulate_grad_batches
    loss = TaskLoss(**plain(config.loss), multi_label=recipe.data.multi_label)
    _check_loss(loss, recipe)
    return RecognitionModule(
        model,
        instantiate(config.optim),
        loss,
        global_batch_size=recipe.data.batch_size * trainer.world_size * accumulated,
        steps_per_epoch=math.ceil(len(batches) / accumulated),
        mixup_alpha=config.mixup_alpha,
        multi_label=recipe.data.multi_label,
        channels_last=config.channels_last,
        seed=config.seed,
    )


def training_rules(config: DictConfig) -> list[Callback]:
    """What the configuration has of callbacks that change training."""
    if config.batch_norm not in BATCH_NORM:
        raise PvSparseError(f"batch_norm={config.batch_norm} is unknown: choose one of {', '.join(BATCH_NORM)}")
    rules: list[Callback] = []
    if config.batch_norm == "partial":
        rules.append(PartialBatchNorm())
    if config.batch_norm == "frozen":
        rules.append(PartialBatchNorm(keep_first=False, scope="model"))
    if config.ema_decay is not None:
        rules.append(ExponentialAverage(config.ema_decay))
    return rules


def find_batch_size(config: DictConfig, recipe: Recipe) -> int:
    """The largest power of 2 whose training step fits into memory; the steps that try it leave no trace."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            **{**plain(config.trainer), "devices": 1, "num_nodes": 1, "strategy": "auto"},
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=training_rules(config),
        )
        module = create_module(config, recipe, trainer)
        most = len(recipe.data.datasets["train"])
        found = Tuner(trainer).scale_batch_size(
            module, datamodule=recipe.data, steps_per_trial=1, init_val=1, max_trials=30, max_val=most
        )
    if not found:
        raise PvSparseError("data.batch_size=auto: not even one video fits into memory")
    return found // 2 if found > most else found


def _check_loss(loss: TaskLoss, recipe: Recipe) -> None:
    """Weights that do not fit the classes are told now, and not by the first batch."""
    counts = recipe.data.num_classes
    if isinstance(counts, Mapping):
        logits = {task: torch.zeros(1, count) for task, count in counts.items()}
        loss(logits, dict.fromkeys(counts, torch.zeros(1).long()))
    else:
        labels = torch.zeros(1, counts) if recipe.data.multi_label else torch.zeros(1).long()
        loss(torch.zeros(1, counts), labels)
