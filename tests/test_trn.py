"""TRN: relations over tuples, their expected value, and what speaks for a class."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pv_sparse import create_trn, create_tsn
from pv_sparse.models.trn import RelationHead
from pv_sparse.models.tuples import MOST_TUPLES, draw_tuples, even_tuples

K = 8


def maps(segments: int = K, channels: int = 16, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, segments, channels, 2, 3, generator=torch.Generator().manual_seed(1))


def head(segments: int = K, **arguments) -> RelationHead:
    made = RelationHead(16, 5, segments, **arguments)
    nn.init.normal_(made.project.weight)
    return made.eval()


def all_tuples(scale: int, segments: int = K) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(segments), scale))


def one_by_one(made: RelationHead, features: torch.Tensor, scale: int, tuples) -> torch.Tensor:
    """(number of tuples, N, classes): a linear layer over each concatenation, as the originals write it."""
    relation = made.relations[str(scale)]
    weight = relation.hidden.weight.flatten(0, 1).t()
    votes = []
    for segments in tuples:
        joined = features[:, list(segments)].flatten(1).relu()
        votes.append(relation.classify(nn.functional.linear(joined, weight, relation.hidden.bias).relu()))
    return torch.stack(votes)


# Eval: the expected value


@pytest.mark.parametrize("segments", [2, 3, 5, 8])
@torch.inference_mode()
def test_eval_is_the_mean_over_explicit_tuples(segments):
    made = head(segments).double()
    features = made.segment_features(maps(segments).double())
    expected = sum(
        min(3, math.comb(segments, scale)) * one_by_one(made, features, scale, all_tuples(scale, segments)).mean(dim=0)
        for scale in range(2, segments + 1)
    )
    torch.testing.assert_close(made(maps(segments).double()), expected, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_eval_in_float32_is_within_a_hundred_thousandth():
    made = head()
    features = made.segment_features(maps())
    expected = sum(
        min(3, math.comb(K, scale)) * one_by_one(made, features, scale, all_tuples(scale)).mean(dim=0)
        for scale in range(2, K + 1)
    )
    assert expected.abs().max() > 1
    torch.testing.assert_close(made(maps()), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@torch.inference_mode()
def test_two_thousand_draws_of_the_original_rule_converge_to_it():
    made = head()
    expected = made(maps())
    generator = torch.Generator().manual_seed(0)
    made.train().dropout.eval()
    draws = torch.stack([made(maps(), generator=generator) for _ in range(2000)])
    error = (draws.mean(dim=0) - expected).abs()
    assert (error < 4 * draws.std(dim=0) / 2000**0.5).all()
    assert error.max() < 0.05 * draws.std(dim=0).max()


@torch.inference_mode()
def test_a_single_scale_has_one_tuple_and_nothing_to_draw():
    made = head(multi_scale=False)
    expected = one_by_one(made, made.segment_features(maps()), K, [range(K)])[0]
    torch.testing.assert_close(made(maps()), expected)
    made.train().dropout.eval()
    torch.testing.assert_close(made(maps()), expected)


# Training: a seedable draw; and tuples from outside


def test_training_draws_anew_and_can_be_seeded():
    made = head(dropout=0.0).train()
    first, second = made(maps()), made(maps())
    assert not torch.allclose(first, second)
    seeded = [made(maps(), generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*seeded)
    torch.manual_seed(3)
    before = made(maps())
    torch.manual_seed(3)
    assert torch.equal(made(maps()), before)


def test_a_training_step_uses_three_tuples_a_scale_for_the_whole_batch():
    made = head(dropout=0.0).train()
    both = made(maps(), generator=torch.Generator().manual_seed(7))
    alone = made(maps()[:1], generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_injected_tuples_are_summed():
    made = head()
    tuples = {3: [(0, 1, 2), (1, 4, 7)], 2: [(0, 7)]}
    features = made.segment_features(maps())
    chosen = sum(one_by_one(made, features, scale, given).sum(dim=0) for scale, given in tuples.items())
    others = sum(
        min(3, math.comb(K, scale)) * one_by_one(made, features, scale, all_tuples(scale)).mean(dim=0)
        for scale in range(4, K + 1)
    )
    torch.testing.assert_close(made(maps(), tuples=tuples), chosen + others, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("tuples", "words"),
    [
        ({9: [tuple(range(9))]}, "tuples of scale 9 were given: the scales are 8, 7, 6, 5, 4, 3, 2"),
        ({3: [(0, 1)]}, "tuples of scale 3 must be lists of 3 increasing numbers from 0 to 7"),
        ({2: [(1, 1)]}, "tuples of scale 2 must be lists of 2 increasing"),
        ({2: [(0, 8)]}, "from 0 to 7"),
        ({2: torch.zeros(0, 2, dtype=torch.int64)}, "tuples of scale 2 must be lists of 2"),
        ([(0, 1)], "tuples were given as a list: give a dict"),
    ],
)
def test_tuples_that_are_none(tuples, words):
    with pytest.raises(ValueError, match=words):
        head()(maps(), tuples=tuples)


# Tuples


@given(st.integers(2, 40), st.data())
def test_an_even_subset_is_ordered_and_increasing(segments, data):
    scale = data.draw(st.integers(2, segments))
    tuples = even_tuples(segments, scale)
    assert len(tuples) == min(math.comb(segments, scale), MOST_TUPLES)
    assert tuples == sorted(set(tuples))
    assert all(len(t) == scale and list(t) == sorted(set(t)) and t[0] >= 0 and t[-1] < segments for t in tuples)


@given(st.integers(2, 9), st.data(), st.integers(1, 20))
def test_an_even_subset_is_in_the_middle_of_each_share(segments, data, most):
    scale = data.draw(st.integers(2, segments))
    everything = all_tuples(scale, segments)
    if most < len(everything):
        expected = [everything[(2 * i + 1) * len(everything) // (2 * most)] for i in range(most)]
        assert even_tuples(segments, scale, most) == expected


@given(st.integers(2, 16), st.data(), st.integers(0, 1000))
def test_a_draw_is_without_replacement_and_in_order(segments, data, seed):
    scale = data.draw(st.integers(2, segments))
    table = torch.tensor(even_tuples(segments, scale))
    drawn = draw_tuples(table, segments, 3, torch.Generator().manual_seed(seed))
    assert drawn.shape == (min(3, math.comb(segments, scale)), scale)
    assert (drawn.diff(dim=1) > 0).all()
    if len(table) < MOST_TUPLES:
        assert len({tuple(t) for t in drawn.tolist()}) == len(drawn)


def test_a_model_from_the_meta_device_has_its_tables():
    made = head()
    with torch.device("meta"):
        assigned, emptied = RelationHead(16, 5).eval(), RelationHead(16, 5).eval()
    assigned.load_state_dict(made.state_dict(), assign=True)
    emptied.to_empty(device="cpu").load_state_dict(made.state_dict())
    for other in (assigned, emptied):
        torch.testing.assert_close(other(maps()), made(maps()))


def test_many_segments_are_no_burden():
    made = head(32)
    assert made(maps(32)).shape == (2, 5)
    assert made.train()(maps(32)).shape == (2, 5)


# A grid of positions


def test_a_grid_tells_where_things_are():
    pooled, grid = head(), head(grid=(1, 3))
    mirrored = maps().flip(4)
    torch.testing.assert_close(pooled(mirrored), pooled(maps()), rtol=1e-4, atol=1e-4)
    assert (grid(mirrored) - grid(maps())).abs().max() > 0.1
    assert grid.project.weight.shape == (256, 16 * 3)


# What speaks for a class


def test_an_explanation_adds_up():
    model = create_trn(num_classes=5, num_segments=4, backbone="tiny").eval()
    nn.init.normal_(model.head.project.weight)
    clips = torch.randn(2, 3, 4, 64, 64)
    logits = model(clips)
    for n, explanation in enumerate(model.explain(clips, top_k=3)):
        assert explanation.class_index == logits[n].argmax()
        assert explanation.logit == pytest.approx(logits[n].max().item(), abs=1e-4)
        assert sum(explanation.scales.values()) == pytest.approx(explanation.logit, abs=1e-4)
        assert list(explanation.scales) == [4, 3, 2]
        assert len(explanation.tuples) == 3
        scores = [entry.score for entry in explanation.tuples]
        assert scores == sorted(scores, reverse=True)


@torch.inference_mode()
def test_an_explanation_names_the_best_tuples():
    made = head(4)
    (first, _) = made.explain(maps(4), class_index=2, top_k=100)
    features = made.segment_features(maps(4))
    expected = {
        segments: one_by_one(made, features, scale, [segments])[0, 0, 2].item()
        for scale in (4, 3, 2)
        for segments in all_tuples(scale, 4)
    }
    assert {entry.segments: entry.score for entry in first.tuples} == pytest.approx(expected, abs=1e-4)


def test_an_explanation_of_one_of_several_tasks():
    model = create_trn(num_classes={"verb": 3, "noun": 2}, num_segments=2, backbone="tiny").eval()
    clips = torch.randn(1, 3, 2, 64, 64)
    (explanation,) = model.explain(clips, task="noun", class_index=1)
    assert explanation.logit == pytest.approx(model(clips)["noun"][0, 1].item(), abs=1e-5)
    with pytest.raises(ValueError, match="task=None is unknown: choose one of verb, noun"):
        model.explain(clips)


def test_who_cannot_explain_says_so():
    clips = torch.randn(1, 3, 2, 64, 64)
    with pytest.raises(ValueError, match="a ConsensusHead cannot explain itself: create_trn"):
        create_tsn(num_classes=3, backbone="tiny").eval().explain(clips)
    with pytest.raises(ValueError, match=r"in training mode, .* call model\.eval\(\) first"):
        create_trn(num_classes=3, num_segments=2, backbone="tiny").explain(clips)
    with pytest.raises(ValueError, match="class_index=3 is not allowed: the classes are 0 to 2"):
        create_trn(num_classes=3, num_segments=2, backbone="tiny").eval().explain(clips, class_index=3)


# What is refused


def test_another_number_of_segments_is_refused():
    model = create_trn(num_classes=3, num_segments=4, backbone="tiny")
    with pytest.raises(ValueError, match="a video of 8 segments was given to a TRN of 4: sample num_segments=4, or"):
        model(torch.zeros(1, 3, 8, 64, 64))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_segments": 1}, "num_segments=1 is not allowed: a relation needs at least 2 segments"),
        ({"grid": (0, 1)}, r"grid=\(0, 1\), .* not allowed"),
        ({"grid": (2, 2, 2)}, "a grid has rows and columns"),
        ({"hidden": 0}, "hidden=0 are not allowed"),
        ({"num_classes": 0}, "num_classes=0 is not allowed"),
    ],
)
def test_numbers_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        partial(create_trn, num_classes=3, backbone="tiny")(**arguments)
