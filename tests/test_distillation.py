"""A scorer learns from a recogniser: what of, how, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from index_video import write_index_video
from torch import nn

from pv_sparse import PvSparseError, WeightsError, load_model
from pv_sparse.data.annotations import VideoList
from pv_sparse.recipes import distillation
from pv_sparse.recipes.distillation import ScorerTraining, learn, train_scorer
from pv_sparse.recipes.lessons import Lesson, lessons_from, log_probability, shares
from pv_sparse.zoo.loading import find_weights

QUICK = ScorerTraining(epochs=2, batch_size=2, num_looks=6, size=32, width=4)
LEARNING = ScorerTraining(epochs=40, batch_size=8, size=32, width=8, lr=5e-3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> VideoList:
    folder = tmp_path_factory.mktemp("videos")
    paths = [str(write_index_video(folder / f"{number}.mp4", 20 + number)) for number in range(3)]
    return VideoList([(path, {"label": label}) for label, path in enumerate(paths)])


def trained(tiny, videos, settings=QUICK, seed=0, told=None, **changes):
    weights = replace(find_weights(tiny), **changes)
    return train_scorer(load_model(tiny), weights, videos, settings, seed, (told if told is not None else []).append)


def bright_lessons(num_lessons: int, seed: int, num_looks: int = 8) -> tuple[list[Lesson], list[int]]:
    """Dark looks, of which one has a bright square and all of the share; and which."""
    draws = torch.Generator().manual_seed(seed)
    lessons, places = [], []
    for _ in range(num_lessons):
        looks = torch.randint(60, (num_looks, 3, 32, 32), generator=draws).to(torch.uint8)
        place, left = torch.randint(num_looks, (2,), generator=draws).tolist()
        looks[place, :, 8:20, left : left + 12] = 230
        share = torch.full((num_looks,), 0.001)
        share[place] = 1
        lessons.append(Lesson(looks, torch.linspace(0, 1, num_looks), share / share.sum()))
        places.append(place)
    return lessons, places


def mass(scorer, lessons: list[Lesson], places: list[int]) -> torch.Tensor:
    looks, times = (torch.stack([getattr(own, name) for own in lessons]) for name in ("looks", "times"))
    with torch.no_grad():
        return scorer(looks, times).softmax(1)[torch.arange(len(places)), places]


@pytest.mark.slow
def test_it_learns_what_counts():
    scorer = learn(bright_lessons(32, seed=0)[0], LEARNING)
    assert not scorer.training
    others = bright_lessons(16, seed=1)
    assert mass(scorer, *others).mean() > 0.8
    assert mass(LEARNING.scorer().eval(), *others).mean() < 0.4


def test_the_same_seed_makes_the_same_scorer_and_leaves_other_draws_alone():
    lessons, _ = bright_lessons(6, seed=0)
    before = torch.get_rng_state()
    first, again, other = (learn(lessons, QUICK, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert same(first, learn(lessons, QUICK, 1))
    assert same(first, again)
    assert not same(first, other)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_from_videos_and_seeded(tiny, videos):
    told: list[str] = []
    first, again = (trained(tiny, videos, told=told) for _ in range(2))
    assert same(first, again)
    assert not first.training
    assert first.size == 32
    assert told[0].startswith("scorer: epoch 2 of 2, loss ")


def test_shares_follow_the_true_class(tiny, videos):
    weights = find_weights(tiny)
    lessons = lessons_from(load_model(tiny), weights, videos, size=32, num_looks=6)
    assert len(lessons) == 3
    for lesson in lessons:
        assert lesson.looks.shape == (len(lesson.times), 3, 32, 32)
        assert lesson.looks.dtype == torch.uint8
        assert float(lesson.shares.sum()) == pytest.approx(1)
    other = VideoList([(path, {"label": 6}) for path, _ in videos.samples])
    [lesson, *_] = lessons_from(load_model(tiny), weights, other, size=32, num_looks=6)
    assert not torch.allclose(lesson.shares, lessons[0].shares)


def test_log_probabilities_of_all_kinds_of_labels():
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0]])
    plain = logits.log_softmax(1)
    assert torch.equal(log_probability(logits, 1), plain[:, 1])
    both = nn.functional.logsigmoid(logits)[:, [0, 2]].mean(1)
    torch.testing.assert_close(log_probability(logits, [0, 2]), both)
    tasks = {"verb": logits, "noun": logits[:, :2]}
    found = log_probability(tasks, {"verb": 2, "noun": 0})
    torch.testing.assert_close(found, (plain[:, 2] + logits[:, :2].log_softmax(1)[:, 0]) / 2)
    torch.testing.assert_close(log_probability(tasks, {"verb": 2, "noun": -1}), plain[:, 2])


def test_half_as_sure_counts_a_quarter():
    found = shares(torch.tensor([0.8, 0.4]).log())
    torch.testing.assert_close(found, torch.tensor([0.8, 0.2]))


def test_a_recogniser_that_is_all_too_sure():
    """Of its shares, all but one are 0 in float32; and that look is not always drawn."""
    lessons, _ = bright_lessons(4, seed=0)
    certain = [replace(lesson, shares=shares(lesson.shares.log() * 100)) for lesson in lessons]
    assert int((certain[0].shares == 0).sum()) == 7
    scorer = learn(certain, replace(QUICK, epochs=8))
    assert all(own.isfinite().all() for own in scorer.state_dict().values())


def test_lessons_of_few_looks():
    one, _ = bright_lessons(1, seed=0, num_looks=1)
    more, _ = bright_lessons(2, seed=0)
    assert learn([*one, *more], QUICK).score.weight.isfinite().all()
    assert learn(one, QUICK).score.weight.isfinite().all()


def test_what_cannot_be_read_is_left_out_and_told(tiny, videos, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [(str(tmp_path / "broken.mp4"), {"label": 0}), (str(tmp_path / "missing.mp4"), {"label": 0})]
    told: list[str] = []
    assert same(trained(tiny, VideoList([*paths, *videos.samples]), told=told), trained(tiny, videos))
    assert [line.startswith(f"left out: {path}") for line, (path, _) in zip(told, paths, strict=False)] == [True, True]
    assert not [line for line in told if "\n" in line]
    with pytest.raises(
        PvSparseError, match="of 2 videos none can be read: there is nothing for a scorer to learn from"
    ):
        trained(tiny, VideoList(paths))


def test_videos_without_labels(tiny, videos):
    paths = [path for path, _ in videos.samples]
    bare = [(path, info) for path, info in zip(paths, ({}, {"label": None}, {"label": -1}), strict=True)]
    assert same(trained(tiny, VideoList([*bare, *videos.samples])), trained(tiny, videos))
    with pytest.raises(
        PvSparseError, match="none of 3 videos has a label: a scorer learns which moments show the true"
    ):
        trained(tiny, VideoList(bare))


def test_several_right_classes(tiny, videos):
    labels = ([0, 3], [], [6])
    several = VideoList([(path, {"label": own}) for (path, _), own in zip(videos.samples, labels, strict=True)])
    scorer = trained(tiny, several, multi_label=True)
    assert all(own.isfinite().all() for own in scorer.state_dict().values())


def test_classes_go_by_name(tiny, videos):
    weights = find_weights(tiny)
    named = replace(videos, classes=weights.categories)
    turned = [(path, {"label": 6 - info["label"]}) for path, info in videos.samples]
    assert same(trained(tiny, VideoList(turned, weights.categories[::-1])), trained(tiny, named))
    with pytest.raises(WeightsError, match="classes of the data are not among the 7 of"):
        trained(tiny, VideoList(videos.samples, ("swim", "dive", "row")))
    with pytest.raises(PvSparseError, match="its label 9 is none of the 7 classes, 0 to 6"):
        trained(tiny, VideoList([(videos.samples[0][0], {"label": 9})]))


def test_at_most_so_many_videos_spread_over_the_list(tiny, monkeypatch):
    asked: list[str] = []

    def lessons_of(model, weights, videos, **_):
        asked.extend(path for path, _ in videos.samples)
        return bright_lessons(1, seed=0)[0]

    monkeypatch.setattr(distillation, "lessons_from", lessons_of)
    listed = VideoList([(str(number), {"label": 0}) for number in range(11)])
    trained(tiny, listed, replace(QUICK, max_videos=5))
    assert asked == ["0", "2", "4", "6", "8"]
    asked.clear()
    trained(tiny, listed, QUICK)
    assert len(asked) == 11


def test_what_is_no_recogniser_for_it(tiny, videos):
    weights = find_weights(tiny)
    with pytest.raises(
        PvSparseError, match="a Linear reads all frames at once: a scorer learns from a TSN, TRN or ECO"
    ):
        train_scorer(nn.Linear(2, 2), weights, videos, QUICK)
    with pytest.raises(ValueError, match=r"the model is in training mode, .*: call model.eval\(\) first"):
        train_scorer(load_model(tiny).train(), weights, videos, QUICK)
    build = {**weights.build, "arguments": {**weights.build["arguments"], "in_channels": 2}}
    with pytest.raises(WeightsError, match="reads optical flow, a video file has RGB frames"):
        train_scorer(load_model(tiny), replace(weights, build=build), videos, QUICK)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epochs": 0}, "epochs=0 is not allowed: it must be above 0"),
        ({"batch_size": -1}, "batch_size=-1 is not allowed: it must be above 0"),
        ({"lr": float("nan")}, "lr=nan is not allowed: it must be above 0"),
        ({"max_videos": 0}, "max_videos=0 is not allowed: it must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0 is not allowed: it must be 0 or more"),
        ({"size": 40}, "size=40 is not allowed: it must be a multiple of 16"),
        ({"width": 3}, "width=3 is not allowed: it must be a multiple of 4"),
        ({"dropout": 1.5}, "dropout"),
    ],
)
def test_settings_that_make_no_sense(given, told):
    with pytest.raises(ValueError, match=told):
        ScorerTraining(**given)


@pytest.mark.gpu
def test_a_gpu_learns_the_same(tiny, videos):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    lessons, _ = bright_lessons(32, seed=0)
    state = torch.cuda.get_rng_state()
    ours, theirs = (learn(lessons, LEARNING, device=device) for device in ("cuda", "cpu"))
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert {own.device.type for own in ours.parameters()} == {"cpu"}
    others = bright_lessons(16, seed=1)
    assert min(mass(scorer, *others).mean() for scorer in (ours, theirs)) > 0.8
    torch.testing.assert_close(mass(ours, *others), mass(theirs, *others), rtol=0, atol=0.2)
    model = load_model(tiny, device="cuda")
    scorer = train_scorer(model, find_weights(tiny), videos, QUICK)
    assert {own.device.type for own in scorer.parameters()} == {"cpu"}
