"""`train`: a configuration run to its end, going on where it was broken off."""

import re
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything
from omegaconf import DictConfig

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.building import Recipe, build
from pv_sparse.recipes.checkpoints import drop_suspect, read_checkpoint
from pv_sparse.recipes.data import VideoDataModule
from pv_sparse.recipes.finishing import finish
from pv_sparse.recipes.module import NotFiniteError, RecognitionModule
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.scorers import check_scorer, scorer_is_wanted, train_scorer_of_weights
from pv_sparse.recipes.trainers import create_module, create_trainer, find_batch_size


def train(config: DictConfig) -> dict[str, float]:
    """Train, evaluate the best weights, and write everything into the folder `out`.

    * `config.yaml`, `checkpoints/last.ckpt` and `best.ckpt`, `history.csv`, `tensorboard/`;
    * `model.safetensors`: the best weights, for `load_model`, `recognize` and `evaluate`;
    * `report/`: see `write_report`.

    With `+select=saliency`, `model.safetensors` has a scorer of looks too, trained after the model
    (`pv_sparse.recipes.distillation`); with `select.of` it is all that is trained.

    Args:
        config: composed of `configs/train.yaml`.

    Returns:
        The figures of the last evaluation, as fractions.

    Raises:
        PvSparseError, OSError, ValueError, TypeError: in one line, what does not fit or went wrong.
    """
    if scorer_is_wanted(config) and config.select.get("of") is not None:
        return train_scorer_of_weights(config)
    folder = RunFolder(Path(config.out))
    goes_on = folder.begin(config)
    seed_everything(config.seed, verbose=False)
    recipe = build(config)
    if scorer_is_wanted(config):
        check_scorer(config, recipe.weights)
    trainer = create_trainer(config, recipe, folder)
    if config.data.batch_size == "auto":
        recipe.data.batch_size = _batch_size_of(folder.last) if goes_on else _largest_batch(config, recipe, trainer)
    module = create_module(config, recipe, trainer)
    if goes_on:
        check_same_model(folder.last, module)
    _fit(config, recipe, module, trainer, folder, goes_on)
    return finish(config, recipe, trainer, folder)


def check_same_model(path: Path, module: RecognitionModule) -> None:
    """That a checkpoint is of this model; `PvSparseError` says how it differs."""
    state, own = read_checkpoint(path)["state_dict"], module.state_dict()
    shapes, wanted = ({key: tuple(tensor.shape) for key, tensor in given.items()} for given in (state, own))
    differing = [key for key in dict.fromkeys([*wanted, *shapes]) if shapes.get(key) != wanted.get(key)]
    if differing:
        key = differing[0].removeprefix("model.")
        raise PvSparseError(
            f"{path} is a checkpoint of another model: {len(differing)} tensors differ, such as {key} with "
            f"{shapes.get(differing[0], 'nothing')} in place of {wanted.get(differing[0], 'nothing')}"
        )


def _batch_size_of(path: Path) -> int:
    """That a run goes on with."""
    size: int = read_checkpoint(path)[VideoDataModule.__qualname__]["batch_size"]
    return size


def _largest_batch(config: DictConfig, recipe: Recipe, trainer: Trainer) -> int:
    if trainer.world_size > 1 or trainer.strategy.root_device.type == "cpu":
        raise PvSparseError(
            "data.batch_size=auto is for one GPU, which tells when its memory is full: elsewhere give a number"
        )
    return find_batch_size(config, recipe)


def _fit(
    config: DictConfig,
    recipe: Recipe,
    module: RecognitionModule,
    trainer: Trainer,
    folder: RunFolder,
    goes_on: bool,
) -> None:
    try:
        trainer.fit(module, recipe.data, ckpt_path=folder.last if goes_on else None)
    except NotFiniteError as error:
        # One of all processes: a second would drop what the first has kept.
        kept = drop_suspect(folder.checkpoints, error.batches_done) if trainer.is_global_zero else None
        told = f"{kept} is of before" if kept is not None else "no checkpoint was written before"
        raise PvSparseError(
            f"{error}: {told}; try an optim.lr below {config.optim.lr}, or trainer.gradient_clip_val"
        ) from error
    except RuntimeError as error:
        raise of_worker(error) or error from None


def of_worker(error: Exception) -> PvSparseError | None:
    """What went wrong in a DataLoader's worker, which sends its traceback as a text; None where it came from none."""
    text = str(error)
    if "in DataLoader worker process" not in text:
        return None
    told = re.findall(r"^[\w.]+(?:Error|Exception): (.*)", text, re.MULTILINE)
    return PvSparseError(told[-1]) if told else None
