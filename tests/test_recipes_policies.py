"""Parameter groups: every tensor once, with the originals' factors and counts."""

import pytest
import torch
from torch import nn

import pv_sparse as pvs
from pv_sparse.recipes.policies import POLICIES, parameter_groups, takes_flow

FAMILIES = {
    "tsn": pvs.create_tsn,
    "tsn_attention": lambda **arguments: pvs.create_tsn(consensus="attention", **arguments),
    "trn": pvs.create_trn,
    "eco_lite": pvs.create_eco_lite,
    "eco": pvs.create_eco,
    "conv_lstm": pvs.create_conv_lstm,
    "recurrent": pvs.create_recurrent,
}


def on_meta(builder, **arguments) -> nn.Module:
    """Without values, which nothing here reads."""
    with torch.device("meta"):
        return builder(**{"num_classes": 101, "backbone": "bn_inception"} | arguments)


def small(builder, **arguments) -> nn.Module:
    return on_meta(builder, backbone="tiny", **arguments)


def bare_c3d(*arguments, **named) -> nn.Module:
    with torch.device("meta"):
        return pvs.C3DResNet18(*arguments, **named)


def factors(model: nn.Module, policy: str) -> dict[str, tuple[int, float, float]]:
    """group -> (tensors, factor of the learning rate, factor of the weight decay)"""
    groups = parameter_groups(model, policy, lr=1.0, weight_decay=1.0)
    return {group["name"]: (len(group["params"]), group["lr"], group["weight_decay"]) for group in groups}


@pytest.mark.parametrize("backbone", ["tiny", "resnet18", "bn_inception"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_in_one_group(family, backbone):
    model = on_meta(FAMILIES[family], backbone=backbone)
    expected = sorted(map(id, model.parameters()))
    for policy in POLICIES:
        groups = parameter_groups(model, policy, 0.1, 0.1)
        assert sorted(id(parameter) for group in groups for parameter in group["params"]) == expected


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_frozen_is_left_out_and_what_is_shared_is_in_once(policy):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[3].weight = model[2].weight
    model[1].requires_grad_(False)
    groups = parameter_groups(model, policy, 0.1, 0.1)
    assert sum(len(group["params"]) for group in groups) == 5
    torch.optim.SGD(groups)  # refuses what is in two groups


# The originals


def test_tsn_on_bn_inception_has_the_originals_counts():
    """69 convolutions and as many batch norms, and a classifier: 278 tensors, the file's 485 less 69 * 3 statistics."""
    expected = {
        "first_conv_weight": (1, 1, 1),
        "first_conv_bias": (1, 2, 0),
        "weight": (69, 1, 1),
        "bias": (69, 2, 0),
        "norm": (138, 1, 0),
    }
    assert factors(on_meta(pvs.create_tsn), "tsn") == expected


def test_flow_learns_its_first_convolution_five_times_as_fast():
    found = factors(on_meta(pvs.create_tsn, in_channels=2, frames_per_segment=5), "tsn")
    assert list(found.items())[:2] == [("first_conv_weight", (1, 5, 1)), ("first_conv_bias", (1, 10, 0))]


def test_partial_batch_norm_leaves_the_first_norm():
    from pv_sparse.recipes.batch_norm import freeze_batch_norm

    model = on_meta(pvs.create_tsn)
    freeze_batch_norm(model)
    assert factors(model, "tsn")["norm"] == (2, 1, 0)


def test_trn_counts_its_relations_as_ordinary_layers():
    """A projection and two layers for each of 7 scales; 306 tensors, the file's 513 less 69 * 3 statistics."""
    found = factors(on_meta(pvs.create_trn, num_classes=174), "tsn")
    assert (found["weight"], found["bias"]) == ((83, 1, 1), (83, 2, 0))
    assert sum(count for count, _, _ in found.values()) == 513 - 69 * 3


@pytest.mark.parametrize(
    ("builder", "weights", "norms", "tensors_in_file"),
    [(pvs.create_eco_lite, 32, 30, 216), (pvs.create_eco, 82, 80, 566)],
)
def test_eco_has_its_first_3d_convolution_apart(builder, weights, norms, tensors_in_file):
    found = factors(on_meta(builder, num_classes=400), "eco")
    expected = {
        "first_conv3d_weight": (1, 1, 1),
        "first_conv3d_bias": (1, 2, 0),
        "weight": (weights, 1, 1),
        "bias": (weights, 2, 0),
        "norm": (2 * norms, 1, 0),
    }
    assert found == expected
    assert sum(count for count, _, _ in found.values()) == tensors_in_file - norms * 3


@pytest.mark.parametrize("builder", [pvs.create_eco_lite, pvs.create_eco])
def test_ecos_3d_convolution_is_the_heads_first(builder):
    model = on_meta(builder)
    groups = parameter_groups(model, "eco", 1.0, 1.0)
    assert groups[0]["params"][0] is model.head.net.stem.weight
    assert groups[1]["params"][0] is model.head.net.stem.bias


def test_mmaction2_has_one_group():
    model = on_meta(pvs.create_tsn, backbone="resnet50", num_classes=400)
    assert factors(model, "mmaction2") == factors(model, "plain") == {"all": (161, 1, 1)}


# Others


def test_no_decay_of_norms_and_biases():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 1),
            "batch": nn.BatchNorm2d(4),
            "layer": nn.LayerNorm(4),
            "group": nn.GroupNorm(2, 4),
            "cell": nn.LSTMCell(4, 4),
            "words": nn.Embedding(5, 4),
            "look": nn.MultiheadAttention(4, 2),
        }
    )
    found = factors(model, "no_norm_decay")
    assert found == {"weight": (6, 1, 1), "bias": (5, 1, 0), "norm": (6, 1, 0)}


def test_what_the_originals_do_not_have_is_a_weight_or_a_bias():
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.LayerNorm(4), nn.GRUCell(4, 4), nn.Embedding(5, 4))
    found = factors(model, "tsn")
    assert found == {"first_conv_weight": (1, 1, 1), "weight": (4, 1, 1), "bias": (3, 2, 0)}


def test_learning_rate_and_decay_are_multiplied():
    groups = parameter_groups(on_meta(pvs.create_tsn, backbone="resnet18"), "tsn", lr=0.001, weight_decay=5e-4)
    found = {group["name"]: (group["lr"], group["weight_decay"]) for group in groups}
    assert found == {
        "first_conv_weight": (0.001, 5e-4),
        "weight": (0.001, 5e-4),
        "bias": (0.002, 0),
        "norm": (0.001, 0),
    }


@pytest.mark.parametrize(
    ("model", "is_flow"),
    [
        (lambda: small(pvs.create_tsn), False),
        (lambda: small(pvs.create_tsn, in_channels=2), True),
        (lambda: small(pvs.create_tsn, in_channels=2, frames_per_segment=5), True),
        (lambda: small(pvs.create_tsn, in_channels=3, frames_per_segment=5), False),
        (lambda: small(pvs.create_eco, in_channels=2, frames_per_segment=5), True),
        (lambda: nn.Sequential(small(pvs.create_tsn, in_channels=2, frames_per_segment=5)), True),
        (lambda: bare_c3d(3, in_channels=2), True),
        (lambda: bare_c3d(3), False),
        (lambda: nn.Linear(2, 2), False),
    ],
)
def test_what_takes_optical_flow(model, is_flow):
    assert takes_flow(model()) is is_flow


def test_mistakes():
    with pytest.raises(ValueError, match="policy='tsm' is unknown: choose one of tsn, eco, mmaction2, plain, no_norm"):
        parameter_groups(nn.Linear(2, 2), "tsm", 0.1, 0.1)
    with pytest.raises(ValueError, match="no parameter of the Linear requires gradients"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), "tsn", 0.1, 0.1)
