"""Features: what the classifier of each family reads."""

import pytest
import torch

from pv_sparse import (
    create_conv_lstm,
    create_eco,
    create_eco_ensemble,
    create_eco_lite,
    create_recurrent,
    create_trn,
    create_tsn,
    optimize,
)
from pv_sparse.models.features import check_has_features, video_features
from pv_sparse.models.resnet3d import C3DResNet18

TINY = {"num_classes": 5, "backbone": "tiny"}


@pytest.fixture
def video():
    return torch.randn(2, 3, 8, 64, 64)


@pytest.mark.parametrize("create", [create_tsn, create_trn, create_recurrent])
def test_of_segments_they_are_the_pooled_last_maps(create, video):
    model = create(**TINY).eval()
    with torch.no_grad():
        features = video_features(model, video)
        assert features.shape == (2, 8, 192)
        maps = model.backbone(video.transpose(1, 2).flatten(0, 1))[-1]  # (2 * 8, 192, 2, 2)
        torch.testing.assert_close(features, maps.mean(dim=(2, 3)).view(2, 8, -1))


def test_a_conv_lstm_has_those_of_the_layer_it_reads(video):
    model = create_conv_lstm(**TINY).eval()
    assert video_features(model, video).shape == (2, 8, model.backbone.tap_channels[-1])


def test_an_average_over_segments_gives_the_logits_of_a_tsn(video):
    model = create_tsn(**TINY).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.head.fc(video_features(model, video).mean(dim=1)), model(video))


@pytest.mark.parametrize(("create", "width"), [(create_eco, 192 + 128), (create_eco_lite, 128)])
def test_of_eco_they_are_what_its_classifier_reads(create, width, video):
    model = create(**TINY, width=0.25).eval()
    with torch.no_grad():
        features = video_features(model, video)
        assert features.shape == (2, width)
        torch.testing.assert_close(model.head.fc(features), model(video))
    assert not model.head.fc._forward_pre_hooks


@pytest.mark.slow
def test_a_c3d_network_has_them_too():
    model = C3DResNet18(num_classes=5).eval()
    video = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.fc(video_features(model, video)), model(video))


def test_of_several_tasks_they_are_one(video):
    model = create_eco_lite(num_classes={"verb": 3, "noun": 4}, backbone="tiny", width=0.25).eval()
    assert video_features(model, video).shape == (2, 128)


@pytest.mark.parametrize("create", [create_tsn, pytest.param(create_eco, marks=pytest.mark.slow)])
def test_an_optimised_model_has_the_same(create, video):
    model = create(**TINY).eval()
    fast = optimize(model, check_input=video)
    with torch.no_grad():
        torch.testing.assert_close(video_features(fast, video), video_features(model, video), rtol=1e-3, atol=1e-4)


def test_an_ensemble_has_none():
    model = create_eco_ensemble(**TINY, num_segments=(4, 8), width=0.25)
    with pytest.raises(ValueError, match="a FrameEnsemble has no features of one kind: choose a TSN"):
        check_has_features(model)
