"""Mixup of videos: each is blended with another one of its batch, and so are their losses.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018. As in the authors' code, a batch has one share and
its losses are blended in place of its labels, which is the same for cross-entropy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pv_sparse.models.logits import Logits
from pv_sparse.recipes.checks import is_number
from pv_sparse.recipes.losses import Labels


@dataclass(frozen=True)
class Mixed:
    """Videos blended with others of their batch.

    Attributes:
        video: share * video + (1 - share) * video[order].
        order: (N,) int64, the partner of each video.
        share: of the video itself, 0 to 1.
    """

    video: Tensor
    order: Tensor
    share: float

    def loss(self, loss: Callable[[Logits, Labels], Tensor], logits: Logits, labels: Labels) -> Tensor:
        """share * loss(logits, labels) + (1 - share) * loss(logits, labels[order]), for labels of any form."""
        own, other = loss(logits, labels), loss(logits, permuted(labels, self.order))
        return self.share * own + (1 - self.share) * other


def mixup(video: Tensor, alpha: float, generator: torch.Generator | None = None) -> Mixed:
    """Blend the videos of a batch, in a share drawn from Beta(alpha, alpha), with partners drawn as a permutation.

    Args:
        video: (N, C, T, H, W), floats.
        alpha: above 0; the larger, the nearer the shares are to one half. The paper has 0.2 to 0.4 on ImageNet.
        generator: of both draws, on the CPU; None is torch's global one.

    Raises:
        ValueError: an alpha that is not above 0, or pixels that are integers.
    """
    if not (is_number(alpha) and 0 < alpha < float("inf")):
        raise ValueError(f"alpha={alpha!r} is not allowed: it must be a number above 0; to mix nothing, leave it out")
    if not video.is_floating_point():
        raise ValueError(f"a video of {video.dtype} was given: mixup blends floats, so transform it first")
    order = torch.randperm(len(video), generator=generator, device="cpu").to(video.device)
    seed = torch.randint(2**62, (), generator=generator, device="cpu")  # torch's own Beta takes no generator
    share = float(np.random.default_rng(int(seed)).beta(alpha, alpha))
    return Mixed(torch.lerp(video[order], video, share), order, share)


def permuted(labels: Labels, order: Tensor) -> Labels:
    """labels[order]; of several tasks, of each."""
    if isinstance(labels, Mapping):
        return {task: of_task[order.to(of_task.device)] for task, of_task in labels.items()}
    return labels[order.to(labels.device)]
