"""Ensembles over numbers of frames, and the late fusion of modalities."""

import pytest
import torch
from torch import nn

from pv_sparse import FrameEnsemble, LateFusion, create_eco_ensemble, create_trn, create_tsn


class Frames(nn.Module):
    """Logits are the numbers of the first frames it saw."""

    def __init__(self, num_segments: int):
        super().__init__()
        self.num_segments = num_segments

    def forward(self, video):
        assert video.shape[2] == self.num_segments
        return video[:, 0, :3, 0, 0]


def numbered(frames: int) -> torch.Tensor:
    return torch.arange(float(frames)).reshape(1, 1, frames, 1, 1).expand(2, 1, frames, 1, 1)


def test_each_model_takes_its_own_frames_from_one_set():
    seen = []
    models = [Frames(4), Frames(8)]
    for model in models:
        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0, :, 0, 0].tolist()))
    FrameEnsemble(models)(numbered(8))
    FrameEnsemble(models)(numbered(16))
    assert seen[0] == [1, 3, 5, 7]
    assert seen[1] == [*range(8)]
    assert seen[2] == [2, 6, 10, 14]
    assert seen[3] == [*range(1, 16, 2)]


def test_the_scores_of_an_ensemble_are_averaged():
    models = [Frames(4), Frames(8)]
    logits = FrameEnsemble(models)(numbered(8))
    alone = [models[0](numbered(8)[:, :, 1::2]), models[1](numbered(8))]
    expected = sum(each.softmax(dim=1) for each in alone) / 2
    torch.testing.assert_close(logits.softmax(dim=1), expected)
    torch.testing.assert_close(logits.exp(), expected)


def test_ecos_ensemble_has_16_20_24_and_32_frames():
    model = create_eco_ensemble(num_classes=3, backbone="tiny", width=0.05).eval()
    assert model.num_frames == (16, 20, 24, 32)
    assert model.num_segments == 32
    assert model(torch.zeros(1, 3, 32, 64, 64)).shape == (1, 3)
    with pytest.raises(TypeError, match="drop_out"):
        create_eco_ensemble(num_classes=3, drop_out=0.1)


def test_models_without_a_number_of_frames_have_no_place():
    with pytest.raises(ValueError, match=r"a SegmentNet without num_segments, .* give models of create_eco"):
        FrameEnsemble([create_tsn(num_classes=3, backbone="tiny")])
    with pytest.raises(ValueError, match=r"models=\[\] is not allowed"):
        FrameEnsemble([])
    assert FrameEnsemble([create_trn(num_classes=3, num_segments=4, backbone="tiny")]).num_frames == (4,)


# Late fusion


def two_stream(**arguments) -> tuple[LateFusion, dict[str, torch.Tensor]]:
    models = {
        "rgb": create_tsn(num_classes=5, backbone="tiny"),
        "flow": create_tsn(num_classes=5, backbone="tiny", in_channels=2, frames_per_segment=5),
    }
    for model in models.values():
        nn.init.normal_(model.head.fc.weight)
    videos = {"rgb": torch.randn(2, 3, 3, 64, 64), "flow": torch.randn(2, 2, 15, 64, 64)}
    return LateFusion(models, **arguments).eval(), videos


@torch.inference_mode()
def test_logits_are_weighted_as_the_original_does():
    fusion, videos = two_stream(weights={"rgb": 1.0, "flow": 1.5})
    rgb, flow = (fusion.models[modality](videos[modality]) for modality in ("rgb", "flow"))
    torch.testing.assert_close(fusion(videos), (rgb + 1.5 * flow) / 2.5)


@torch.inference_mode()
def test_scores_can_be_fused_instead():
    fusion, videos = two_stream(fuse="scores")
    scores = [fusion.models[modality](videos[modality]).softmax(dim=1) for modality in ("rgb", "flow")]
    torch.testing.assert_close(fusion(videos).softmax(dim=1), sum(scores) / 2)


@torch.inference_mode()
def test_four_modalities_and_several_tasks():
    tasks = {"verb": 3, "noun": 2}
    names = ("rgb", "rgb_difference", "flow", "warped_flow")
    fusion = LateFusion({name: create_tsn(num_classes=tasks, backbone="tiny") for name in names}).eval()
    logits = fusion({name: torch.randn(1, 3, 2, 64, 64) for name in names})
    assert {task: values.shape for task, values in logits.items()} == {"verb": (1, 3), "noun": (1, 2)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weights": {"rgb": 1.0}}, r"weights=.* are not allowed: give a positive one for each of \['rgb', 'flow'\]"),
        ({"weights": {"rgb": 1.0, "flow": 0.0}}, "give a positive one"),
        ({"fuse": "labels"}, "fuse='labels' is unknown: choose one of scores, logits"),
    ],
)
def test_what_cannot_be_fused(arguments, words):
    with pytest.raises(ValueError, match=words):
        two_stream(**arguments)


def test_a_missing_modality_is_told():
    fusion, videos = two_stream()
    with pytest.raises(ValueError, match=r"videos of \['rgb'\] were given: the models take \['flow', 'rgb'\]"):
        fusion({"rgb": videos["rgb"]})
    with pytest.raises(ValueError, match="a Tensor was given: give a dict of videos"):
        fusion(videos["rgb"])


def test_what_gives_no_logits_is_not_fused():
    scores = create_trn(num_classes=3, num_segments=4, backbone="tiny", head_activation=nn.Softmax)
    for fuse in (lambda: FrameEnsemble([scores]), lambda: LateFusion({"rgb": scores})):
        with pytest.raises(ValueError, match="a model with head_activation gives no logits"):
            fuse()
