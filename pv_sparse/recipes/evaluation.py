"""Evaluation: weights, a list of videos and a test protocol to scores on disk, in one process or in several."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pv_sparse.data.annotations import StrPath, VideoList
from pv_sparse.data.dataset import IndexRecord, SparseVideoDataset
from pv_sparse.errors import WeightsError
from pv_sparse.models.logits import map_logits
from pv_sparse.recipes.class_matching import match_labels
from pv_sparse.recipes.evaluation_batches import Batch, Batches, InTurn
from pv_sparse.recipes.evaluation_files import (
    SCORES_FILE,
    Trial,
    check_output,
    failed_look,
    read_metrics,
    write_evaluation,
)
from pv_sparse.recipes.evaluation_parts import Look, merge_parts, remove_parts, write_part
from pv_sparse.recipes.protocols import Protocol, get_protocol
from pv_sparse.recipes.scores import ONE_TASK, Scores
from pv_sparse.zoo.weights import Weights

Index = StrPath | Mapping[str, IndexRecord]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` wrote below `out`; `metrics` is `metrics.json`."""

    out: Path
    metrics: dict[str, Any]

    def scores(self) -> Scores:
        """`scores.npz`, read anew."""
        return Scores.read(self.out / SCORES_FILE)


def evaluate(
    model: nn.Module,
    weights: Weights,
    videos: VideoList,
    protocol: str | Protocol = "published",
    *,
    out: StrPath,
    average: str | None = None,
    batch_size: int = 2,
    num_workers: int = 4,
    index: Index | None = None,
    trainer: Trainer | None = None,
) -> Evaluation:
    """Show every video to the model as the protocol says, and write what it answers into `out`.

    * `scores.npz` (`Scores`): logits of every view, fused scores, labels, classes.
    * `results.jsonl`: the result record of each video, in the order of the list, with its 5 best classes.
    * `metrics.json`: `Scores.metrics()`, `num_videos` (read), `num_failed`, weights, protocol, versions.

    A file that cannot be read is told in `scores.npz` and `results.jsonl`, counted, and left out of the figures; so
    is a video whose logits are not finite. Videos without labels have scores and no part in the figures.

    Processes of the trainer take batches in turn, and the first of them brings them together: batches are the same in
    one process or several, and so are the numbers. Where there are fewer batches than processes, the rest take the
    first batch again, whose videos count once. They share the folder `out`.

    Args:
        model: of the weights, giving logits.
        weights: its record: sampling, input, classes.
        videos: with labels, where they are known (`match_labels`).
        protocol: a name of `list_protocols()`, or a protocol.
        out: a folder, made if need be, without another evaluation.
        average: of views, in the place of the protocol's.
        batch_size: videos decoded, and shown view by view, at a time by each process.
        num_workers: processes that decode, for each process of the trainer.
        index: as of `SparseVideoDataset`; files that it knows to be unreadable are not opened.
        trainer: says devices, nodes, strategy and precision; None is `create_trainer()`.

    Raises:
        PvSparseError: an empty list; labels that do not fit; no video that can be read; a folder with an evaluation.
        WeightsError: classes or segments that do not fit the weights; a model that gives no logits.
        ValueError: an unknown protocol, or arguments that sampler, transform or loader refuse.
    """
    out, chosen = Path(out), get_protocol(protocol) if isinstance(protocol, str) else protocol
    chosen.record(weights)
    labels = match_labels(videos, weights)
    _check_gives_logits(model)
    check_output(out)
    if average is not None:
        chosen = replace(chosen, average=average)
    batches = Batches(_dataset(videos, weights, chosen, index), batch_size)
    module = _Evaluator(model, batches, num_workers, chosen.num_views(weights), out)
    trainer = trainer or create_trainer()
    trainer.predict(module, return_predictions=False)
    trial = Trial(weights, videos, labels, chosen.describe(weights), chosen.average_for(weights), trainer.precision)
    _on_the_first(trainer, lambda: _bring_together(out, trainer.world_size, trial))
    return Evaluation(out, read_metrics(out))


def check_test(weights: Weights, videos: VideoList, protocol: Protocol) -> None:
    """Whether the three fit, before a model is loaded: errors as of `evaluate`, which gives the warnings."""
    protocol.record(weights)
    match_labels(videos, weights, warn=False)


def create_trainer(
    *,
    accelerator: str = "auto",
    devices: int | str | list[int] = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
) -> Trainer:
    """A Trainer that leaves no files of its own; arguments as Lightning's."""
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]  # a literal there, checked when it is used
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )


def _dataset(videos: VideoList, weights: Weights, protocol: Protocol, index: Index | None) -> SparseVideoDataset:
    return SparseVideoDataset(
        videos,
        protocol.sampler(weights),
        protocol.transform(weights),
        on_error="raise",
        dtype="uint8",
        modality="flow" if weights.modality == "flow" else "rgb",
        index=index,
    )


class _Evaluator(LightningModule):
    """Collects what the model says in this process, and writes it as a part."""

    def __init__(self, model: nn.Module, batches: Batches, num_workers: int, num_views: int, out: Path):
        super().__init__()
        self.model, self.batches, self.num_workers = model, batches, num_workers
        self.num_views, self.out = num_views, out
        self._looks: dict[int, Look] = {}
        self._rows: list[int] = []
        self._logits: dict[str, list[Tensor]] = {}

    def predict_dataloader(self) -> DataLoader[Batch]:
        own = InTurn(self.batches, self.global_rank, self.trainer.world_size)
        return DataLoader(self.batches, batch_size=None, sampler=own, num_workers=self.num_workers)

    def predict_step(self, batch: Batch) -> list[int]:
        if "problem" in batch:
            raise ValueError(batch["problem"])
        self._looks |= {look["row"]: look for look in batch["looks"]}
        if batch["video"] is not None:
            self._keep(batch["rows"], self._logits_of(batch["video"]))
        return batch["rows"]

    def on_predict_end(self) -> None:
        logits = {task: torch.cat(parts, dim=1).numpy() for task, parts in self._logits.items()}
        write_part(self.out, self.global_rank, [*self._looks.values()], self._rows, logits)
        self.trainer.strategy.barrier()

    def _logits_of(self, video: Tensor) -> dict[str, Tensor]:
        """(n, C, V * T, H, W) -> (V, n, C) of each task, the model seeing one view of all n videos at a time."""
        answers = [self.model(view) for view in video.chunk(self.num_views, dim=2)]
        logits = map_logits(lambda *each: torch.stack(each).float().cpu(), *answers)
        return logits if isinstance(logits, dict) else {ONE_TASK: logits}

    def _keep(self, rows: list[int], logits: dict[str, Tensor]) -> None:
        is_finite = torch.stack([own.isfinite().all(2).all(0) for own in logits.values()]).all(0)
        for row in torch.tensor(rows)[~is_finite].tolist():
            self._looks[row] = failed_look(
                row, "the model's logits for it are not finite numbers: try precision=32-true"
            )
        self._rows += torch.tensor(rows)[is_finite].tolist()
        for task, own in logits.items():
            self._logits.setdefault(task, []).append(own[:, is_finite])


def _check_gives_logits(model: nn.Module) -> None:
    if getattr(model, "activation", None) is not None:
        raise WeightsError("a model with head_activation gives no logits, which are averaged here: build it without")


def _bring_together(out: Path, world_size: int, trial: Trial) -> None:
    try:
        write_evaluation(out, merge_parts(out, world_size, len(trial.videos)), trial)
    finally:
        remove_parts(out, world_size)


def _on_the_first(trainer: Trainer, action: Callable[[], None]) -> None:
    """By the first process alone; what it raises, all raise."""
    error: Exception | None = None
    if trainer.is_global_zero:
        try:
            action()
        except Exception as caught:
            error = caught
    error = trainer.strategy.broadcast(error)
    if error is not None:
        raise error
