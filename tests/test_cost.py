"""Parameters and multiply-adds, against those of the originals."""

import pytest
import torch
from torch import nn

from pv_sparse import C3DResNet18, LateFusion, create_eco, create_eco_lite, create_trn, create_tsn, model_cost

# (model, shape of a video, parameters of the original in millions, its multiply-adds in billions, counted by fvcore)
ORIGINALS = {
    "tsn_bn_inception_rgb": (lambda: tsn("bn_inception"), (3, 3, 224, 224), 10.68, 6.118),
    "tsn_bn_inception_flow": (lambda: tsn("bn_inception", in_channels=2), (2, 15, 224, 224), 10.70, 6.944),
    "tsn_bn_inception_rgbdiff": (lambda: tsn("bn_inception", in_channels=3), (3, 15, 224, 224), 10.72, 7.535),
    "tsn_resnet50": (lambda: tsn("resnet50"), (3, 3, 224, 224), 24.33, 12.331),
    "tsn_resnet50_8": (lambda: tsn("resnet50"), (3, 8, 224, 224), 24.33, 32.877),
    "trn_single": (lambda: trn("bn_inception", multi_scale=False), (3, 8, 224, 224), 11.67, 16.316),
    "trn": (lambda: trn("bn_inception"), (3, 8, 224, 224), 13.14, 16.321),
    "trn_inception_v3": (lambda: trn("inception_v3_trn", num_classes=339), (3, 8, 299, 299), 25.23, 45.845),
    "trn_resnet50": (lambda: trn("resnet50"), (3, 8, 224, 224), 26.64, 32.887),
    "eco_lite_4": (lambda: create_eco_lite(num_classes=400), (3, 4, 224, 224), 37.50, 11.645),
    "eco_lite_8": (lambda: create_eco_lite(num_classes=400), (3, 8, 224, 224), 37.50, 23.291),
    "eco_lite_16": (lambda: create_eco_lite(num_classes=400), (3, 16, 224, 224), 37.50, 46.581),
    "eco_lite_32": (lambda: create_eco_lite(num_classes=400), (3, 32, 224, 224), 37.50, 93.162),
    "eco_4": (lambda: create_eco(num_classes=400), (3, 4, 224, 224), 47.50, 16.137),
    "eco_8": (lambda: create_eco(num_classes=400), (3, 8, 224, 224), 47.50, 32.273),
    "eco_16": (lambda: create_eco(num_classes=400), (3, 16, 224, 224), 47.50, 64.546),
    "eco_32": (lambda: create_eco(num_classes=400), (3, 32, 224, 224), 47.50, 129.092),
    "c3d_resnet18": (lambda: C3DResNet18(num_classes=400), (3, 16, 112, 112), 37.85, 21.538),
}
QUICK = "tsn_bn_inception_rgb"


def tsn(backbone, in_channels=None):
    stacked = {"in_channels": in_channels, "frames_per_segment": 5} if in_channels else {}
    return create_tsn(num_classes=400, backbone=backbone, **stacked)


def trn(backbone, num_classes=174, **arguments):
    return create_trn(num_classes=num_classes, backbone=backbone, **arguments)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == QUICK else pytest.mark.slow) for n in ORIGINALS])
def test_the_cost_of_the_originals(name):
    build, shape, millions, billions = ORIGINALS[name]
    cost = model_cost(build(), (1, *shape))
    assert f"{cost.parameters / 1e6:.2f}" == f"{millions:.2f}"
    assert cost.multiply_adds == pytest.approx(billions * 1e9, rel=1e-3)


EPIC = {"verb": 125, "noun": 352}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (
            lambda b, **m: create_tsn(num_classes=EPIC, backbone=b, **m),
            (10_759_165, 10_781_117, 24_485_405, 24_507_357),
        ),
        (
            lambda b, **m: create_trn(num_classes=EPIC, multi_scale=False, backbone=b, **m),
            (11_826_429, 11_848_381, 25_326_365, 25_348_317),
        ),
        (
            lambda b, **m: create_trn(num_classes=EPIC, backbone=b, **m),
            (13_686_315, 13_708_267, 27_186_251, 27_208_203),
        ),
    ],
    ids=["tsn", "trn", "mtrn"],
)
def test_the_parameters_of_the_epic_models(build, parameters):
    flow = {"in_channels": 2, "frames_per_segment": 5}
    found = []
    for backbone in ("bn_inception", "resnet50"):
        for modality in ({}, flow):
            with torch.device("meta"):
                found.append(sum(p.numel() for p in build(backbone, **modality).parameters()))
    assert tuple(found) == parameters


def test_counting_leaves_the_model_as_it_is():
    model = nn.Sequential(nn.Conv3d(3, 2, 1), nn.BatchNorm3d(2)).train()
    cost = model_cost(model, (1, 3, 2, 4, 4))
    assert cost.parameters == 2 * 3 + 2 + 4
    assert cost.multiply_adds >= 2 * 3 * 32
    assert model.training
    assert model[1].num_batches_tracked == 0


def test_the_cost_of_a_fusion_is_that_of_its_models():
    models = {name: create_tsn(num_classes=3, backbone="tiny") for name in ("rgb", "rgb_difference")}
    shape = (1, 3, 2, 64, 64)
    alone = model_cost(models["rgb"], shape)
    both = model_cost(LateFusion(models), dict.fromkeys(models, shape))
    assert (both.parameters, both.multiply_adds) == (2 * alone.parameters, 2 * alone.multiply_adds)
