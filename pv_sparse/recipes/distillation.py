"""A scorer of looks learns from the recogniser it will serve: which moments of a video show the true class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.data.annotations import VideoList, spread_over
from pv_sparse.data.selection import NUM_LOOKS
from pv_sparse.errors import PvSparseError
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.selection import LookScorer
from pv_sparse.recipes.class_matching import in_classes_of
from pv_sparse.recipes.lessons import Lesson, lessons_from
from pv_sparse.zoo.weights import Weights

# Where the looks that count are not drawn, the shares of all others may be 0 in float32: they are alike then.
LEAST_SHARE = 1e-9


@dataclass(frozen=True, kw_only=True)
class ScorerTraining:
    """How a scorer of looks is trained (`configs/select/saliency.yaml`).

    Args:
        epochs: over all videos.
        batch_size: videos.
        lr: of AdamW, at the start of a half cosine.
        weight_decay: of AdamW.
        max_videos: that are learned from, spread over the list; their looks are held in memory, 0.8 MB each.
        num_looks: at most so many of each video.
        size, width, attention, dropout: of `LookScorer`.
    """

    epochs: int = 30
    batch_size: int = 16
    lr: float = 2e-3
    weight_decay: float = 1e-2
    max_videos: int = 2000
    num_looks: int = NUM_LOOKS
    size: int = 64
    width: int = 16
    attention: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "max_videos", "num_looks"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: it must be above 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay} is not allowed: it must be 0 or more")
        with torch.device("meta"):  # what LookScorer refuses is told now, not when a recogniser has been trained
            self.scorer()

    def scorer(self) -> LookScorer:
        """With random weights."""
        return LookScorer(self.size, self.width, self.attention, self.dropout)


def train_scorer(
    model: SegmentNet,
    weights: Weights,
    videos: VideoList,
    settings: ScorerTraining | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> LookScorer:
    """A scorer for `Saliency`, distilled from a recogniser.

    The recogniser is shown moments spread over each video, and says how likely the true class is in each; the scorer
    learns from 64 cheap looks at the same video to tell those moments from the others, by the cross entropy of its
    softmax over looks. After Korbar et al., "SCSampler", ICCV 2019, which learns the salience of clips from a
    recogniser's loss; theirs ranks, and reads the compressed video.

    Args:
        model: the recogniser, in eval mode, on the device that is to be used.
        weights: its record.
        videos: with labels, such as it was trained on, or untrimmed ones; classes go by name (`match_labels`).
        settings: None is `ScorerTraining()`.
        seed: of its first weights and of all draws.
        tell: called with what happens, in one line.

    Returns:
        In eval mode, on the CPU.

    Raises:
        PvSparseError: a model that is no SegmentNet, no video that can be read, or videos without labels.
        WeightsError: a model that reads optical flow, or that has other classes than the videos.
        ValueError: a model in training mode.
    """
    settings = settings or ScorerTraining()
    if not isinstance(model, SegmentNet):
        raise PvSparseError(
            f"a {type(model).__name__} reads all frames at once: a scorer learns from a TSN, TRN or ECO"
        )
    if model.training:
        raise ValueError("the model is in training mode, where it answers at random: call model.eval() first")
    some = in_classes_of(spread_over(videos, settings.max_videos), weights)
    some = replace(some, samples=[(path, info) for path, info in some.samples if info["label"] != []])
    if not some.samples:
        raise PvSparseError(
            f"none of {len(videos)} videos has a label: a scorer learns which moments show the true class"
        )
    lessons = lessons_from(model, weights, some, size=settings.size, num_looks=settings.num_looks, tell=tell)
    return learn(lessons, settings, seed, next(model.parameters()).device, tell)


def learn(
    lessons: Sequence[Lesson],
    settings: ScorerTraining,
    seed: int = 0,
    device: str | torch.device = "cpu",
    tell: Callable[[str], None] = lambda _: None,
) -> LookScorer:
    """A scorer, in eval mode and on the CPU, that has learned the shares of these lessons; as of `train_scorer`."""
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        scorer = settings.scorer().to(device).train()
        optimizer = torch.optim.AdamW(scorer.parameters(), settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * -(-len(lessons) // settings.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(1, settings.epochs + 1):
            losses = []
            for batch in torch.split(torch.randperm(len(lessons), generator=draws), settings.batch_size):
                loss = _loss(scorer, *_batch([lessons[i] for i in batch.tolist()], draws), device)
                _step(loss, scorer, optimizer)
                schedule.step()
                losses.append(float(loss.detach()))
            if epoch % 10 == 0 or epoch == settings.epochs:
                tell(f"scorer: epoch {epoch} of {settings.epochs}, loss {sum(losses) / len(losses):.3f}")
    return scorer.eval().cpu()


def _step(loss: Tensor, scorer: LookScorer, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
    optimizer.step()


def _loss(scorer: LookScorer, looks: Tensor, times: Tensor, wanted: Tensor, device: str | torch.device) -> Tensor:
    """The divergence of the scorer's shares from those that are wanted: 0 where they are the same."""
    logits = scorer(looks.to(device), times.to(device)).log_softmax(dim=1)
    return F.kl_div(logits, wanted.to(device), reduction="batchmean")


def _batch(lessons: Sequence[Lesson], draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """As many looks of each, drawn anew each time, flipped in half of the videos, and brighter or darker."""
    count = max(1, max(len(lesson.times) for lesson in lessons) * 3 // 4)
    picked = [_drawn(len(lesson.times), count, draws) for lesson in lessons]
    looks = torch.stack([_augmented(lesson.looks[own], draws) for lesson, own in zip(lessons, picked, strict=True)])
    times = torch.stack([lesson.times[own] for lesson, own in zip(lessons, picked, strict=True)])
    wanted = torch.stack([lesson.shares[own] for lesson, own in zip(lessons, picked, strict=True)])
    wanted = wanted.clamp(min=LEAST_SHARE)
    return looks, times, wanted / wanted.sum(dim=1, keepdim=True)


def _drawn(of: int, count: int, draws: torch.Generator) -> Tensor:
    """(count,) ascending; of fewer ones, some several times."""
    if of < count:
        return torch.randint(of, (count,), generator=draws).sort().values
    return torch.randperm(of, generator=draws)[:count].sort().values


def _augmented(looks: Tensor, draws: torch.Generator) -> Tensor:
    flipped = looks.flip(3) if torch.rand((), generator=draws) < 0.5 else looks
    gain = 0.8 + 0.4 * float(torch.rand((), generator=draws))
    return (flipped * gain).clamp(0, 255).to(torch.uint8)
