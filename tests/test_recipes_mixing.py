"""Mixup: what is blended, how its loss is, and that a generator decides."""

import pytest
import torch
from torch.nn import functional as F

from pv_sparse.recipes.losses import TaskLoss
from pv_sparse.recipes.mixing import Mixed, mixup, permuted


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_video_is_blended_with_its_partner():
    video = torch.randn(5, 3, 2, 4, 4)
    before = video.clone()
    mixed = mixup(video, 0.4, generator())
    assert sorted(mixed.order.tolist()) == list(range(5))
    assert 0 <= mixed.share <= 1
    torch.testing.assert_close(mixed.video, mixed.share * video + (1 - mixed.share) * video[mixed.order])
    assert torch.equal(video, before)


def test_shares_are_of_a_beta_distribution():
    """Its mean is 1/2, its variance 1 / (4 * (2 * alpha + 1))."""
    video, draws = torch.zeros(1, 1, 1, 1, 1), generator()
    shares = torch.tensor([mixup(video, 0.4, draws).share for _ in range(4000)])
    assert abs(shares.mean() - 0.5) < 0.02
    assert abs(shares.var() - 1 / (4 * 1.8)) < 0.01


def test_a_generator_decides_alone():
    video = torch.randn(6, 3, 1, 2, 2)
    first = mixup(video, 0.2, generator(1))
    torch.manual_seed(7)
    again, other = mixup(video, 0.2, generator(1)), mixup(video, 0.2, generator(2))
    assert torch.equal(first.video, again.video)
    assert first.share == again.share != other.share


def test_torchs_global_generator_is_the_default():
    video = torch.randn(6, 3, 1, 2, 2)
    torch.manual_seed(3)
    first = mixup(video, 0.2)
    second = mixup(video, 0.2)
    torch.manual_seed(3)
    assert mixup(video, 0.2).share == first.share != second.share


def test_blended_losses_are_the_loss_of_blended_labels():
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    mixed = Mixed(torch.zeros(4, 1, 1, 1, 1), torch.tensor([2, 0, 3, 1]), 0.3)
    hot = F.one_hot(labels, 3).double()
    expected = F.cross_entropy(logits, 0.3 * hot + 0.7 * hot[mixed.order])
    torch.testing.assert_close(mixed.loss(TaskLoss(), logits, labels), expected)


def test_labels_of_tasks_and_of_several_classes_follow_their_videos():
    order = torch.tensor([1, 0])
    labels = {"verb": torch.tensor([3, 4]), "noun": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    moved = permuted(labels, order)
    assert moved["verb"].tolist() == [4, 3]
    assert moved["noun"].tolist() == [[0, 1], [1, 0]]
    logits = {"verb": torch.randn(2, 5), "noun": torch.randn(2, 2)}
    verbs = {"verb": labels["verb"], "noun": torch.tensor([0, 1])}
    mixed = Mixed(torch.zeros(2, 1, 1, 1, 1), order, 0.25)
    expected = 0.25 * TaskLoss()(logits, verbs) + 0.75 * TaskLoss()(logits, permuted(verbs, order))
    torch.testing.assert_close(mixed.loss(TaskLoss(), logits, verbs), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    assert mixup(torch.ones(2, 3, 1, 2, 2, dtype=dtype), 0.2).video.dtype == dtype


def test_mistakes():
    for alpha in (0, "x", None):
        with pytest.raises(ValueError, match=f"alpha={alpha!r} is not allowed: it must be a number above 0"):
            mixup(torch.zeros(2, 3, 1, 2, 2), alpha)
    with pytest.raises(ValueError, match=r"a video of torch.uint8 was given: mixup blends floats"):
        mixup(torch.zeros(2, 3, 1, 2, 2, dtype=torch.uint8), 0.2)
