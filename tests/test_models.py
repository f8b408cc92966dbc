"""SegmentNet, its backbones, and TSN."""

import copy
import pickle
from functools import partial

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

from pv_sparse import SegmentNet, WeightsError, create_tsn
from pv_sparse.models.backbones import BACKBONES, create_backbone
from pv_sparse.models.efficientnet_lite import STAGES
from pv_sparse.models.segment_net import fold_segments
from pv_sparse.models.tsn import ConsensusHead

SMALL = "resnet18"


def video(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# The fold


def test_folding_puts_the_frames_of_a_segment_one_after_another():
    frames = torch.arange(2 * 2 * 6).reshape(2, 2, 6, 1, 1)  # (N, C, S*L, H, W): the value is n*12 + c*6 + t
    folded = fold_segments(frames, frames_per_segment=3)
    assert folded.shape == (4, 6, 1, 1)
    assert folded[0].flatten().tolist() == [0, 6, 1, 7, 2, 8]
    assert folded[1].flatten().tolist() == [3, 9, 4, 10, 5, 11]
    assert folded[2].flatten().tolist() == [12, 18, 13, 19, 14, 20]


def test_a_single_clip_and_an_odd_number_of_frames_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 8, 64, 64\) was given; the model takes \(N, C, T, H, W\)"):
        create_tsn(num_classes=2, backbone=SMALL)(video(3, 8, 64, 64))
    with pytest.raises(ValueError, match="7 frames was given to a model of 5 frames per segment"):
        fold_segments(video(1, 3, 7, 8, 8), 5)


# Backbones


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet50", "wide_resnet50_2"])
def test_channels_are_known_before_data_runs_through(name):
    backbone = create_backbone(name).eval()
    maps = backbone(video(2, 3, 96, 64))
    assert tuple(m.shape[1] for m in maps) == backbone.tap_channels
    assert maps[0].shape[2:] == (3, 2)


def test_measuring_touches_no_statistics():
    state = create_backbone(SMALL).state_dict()
    assert state["bn1.num_batches_tracked"] == 0
    assert not state["bn1.running_mean"].any()


def test_resnets_are_torchvisions():
    ours, theirs = create_backbone("resnet18").eval(), torchvision.models.resnet18().eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")})
    images = video(2, 3, 64, 64)
    expected = nn.Sequential(*list(theirs.children())[:-2])(images)
    torch.testing.assert_close(ours(images)[0], expected, rtol=0, atol=0)


def test_all_torchvision_resnets_are_offered():
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"} <= set(BACKBONES)


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(ValueError, match=r"backbone='resnet51' is unknown: choose one of .*resnet50"):
        create_tsn(num_classes=2, backbone="resnet51")


def test_efficientnet_lite0_is_torchvisions_with_its_differences():
    """Torchvision's EfficientNet without squeeze-excite, with ReLU6, and with padding as TensorFlow's at stride 2."""

    class Block(MBConv):
        def __init__(self, config, stochastic_depth_prob, norm_layer):
            super().__init__(config, stochastic_depth_prob, norm_layer, lambda *_, **__: nn.Identity())

    rows = []
    for before, stage in zip((32, *(stage.channels for stage in STAGES)), STAGES, strict=False):
        sizes = (stage.expansion, stage.kernel, stage.stride, before, stage.channels, stage.num_blocks)
        rows.append(MBConvConfig(*sizes, block=Block))
    theirs = EfficientNet(rows, 0.0, last_channel=1280, norm_layer=partial(nn.BatchNorm2d, eps=1e-3)).features.eval()
    for module in list(theirs.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6())
            elif isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                pad = child.kernel_size[0] - 2
                child.padding = (0, 0)
                setattr(module, name, nn.Sequential(nn.ZeroPad2d((pad // 2, pad - pad // 2) * 2), child))
    ours = create_backbone("efficientnet_lite0").eval()
    state, own = theirs.state_dict(), ours.state_dict()
    assert [t.shape for t in state.values()] == [t.shape for t in own.values()]
    ours.load_state_dict(dict(zip(own, state.values(), strict=True)))
    images = video(2, 3, 64, 96)
    torch.testing.assert_close(ours(images)[0], theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(63, 97), (224, 224), (65, 64)])
def test_efficientnet_lite0_takes_any_size(size):
    expected = tuple(-(-side // 32) for side in size)
    assert create_backbone("efficientnet_lite0").eval()(video(1, 3, *size))[0].shape == (1, 1280, *expected)


# Weights for a backbone


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_backbone_weights_from_a_file(tmp_path, suffix):
    state = torchvision.models.resnet18().state_dict()
    path = tmp_path / f"resnet18{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = create_tsn(num_classes=5, backbone="resnet18", backbone_weights=path)
    assert torch.equal(model.backbone.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])


def test_imagenet_weights_come_from_torch_hubs_folder(tmp_path, monkeypatch):
    """Torchvision's own loading code, on a file that is already there: nothing is downloaded."""
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, folder / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = create_tsn(num_classes=5, backbone="resnet18", backbone_weights="imagenet")
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(WeightsError, match=r"does not fit resnet18: among its tensors, .*unknown \(such as layer1.2"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(WeightsError, match="it holds no plain state dict"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=path)


def test_weights_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth: no such weights file"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match="torchvision has no ImageNet weights of efficientnet_lite0"):
        create_tsn(num_classes=5, backbone="efficientnet_lite0", backbone_weights="imagenet")


# TSN


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
@pytest.mark.parametrize("segments", [1, 3, 25])
def test_any_number_of_segments(backbone, segments):
    model = create_tsn(num_classes=7, backbone=backbone).eval()
    assert model(video(2, 3, segments, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(("consensus", "agree"), [("avg", torch.mean), ("max", torch.amax)])
def test_the_consensus_is_over_each_segments_logits(consensus, agree):
    model = create_tsn(num_classes=7, backbone=SMALL, consensus=consensus).eval()
    frames = video(2, 3, 4, 64, 64)
    alone = torch.stack([model(frames[:, :, i : i + 1]) for i in range(4)])
    torch.testing.assert_close(model(frames), agree(alone, dim=0))


def test_the_order_of_segments_does_not_matter():
    model = create_tsn(num_classes=7, backbone=SMALL).eval()
    frames = video(2, 3, 5, 64, 64)
    torch.testing.assert_close(model(frames.flip(2)), model(frames))


def test_a_batch_of_two_is_two_of_one():
    model = create_tsn(num_classes=7, backbone="efficientnet_lite0").eval()
    frames = video(2, 3, 3, 64, 64)
    torch.testing.assert_close(model(frames), torch.cat([model(frames[:1]), model(frames[1:])]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_every_parameter_has_a_gradient(backbone):
    model = create_tsn(num_classes=7, backbone=backbone)
    model(video(2, 3, 3, 64, 64)).square().sum().backward()
    assert not [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]


def test_copies_and_state_dicts_are_the_same_model():
    model = create_tsn(num_classes=7, backbone=SMALL).eval()
    frames = video(1, 3, 2, 64, 64)
    other = create_tsn(num_classes=7, backbone=SMALL).eval()
    other.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
        torch.testing.assert_close(twin(frames), model(frames), rtol=0, atol=0)
    assert {key.split(".")[0] for key in model.state_dict()} == {"backbone", "head"}


def test_a_tsn_exports():
    model = create_tsn(num_classes=7, backbone=SMALL).eval()
    frames = video(2, 3, 3, 64, 64)
    exported = torch.export.export(model, (frames,)).module()
    torch.testing.assert_close(exported(frames), model(frames))


def test_any_backbone_goes_under_any_head():
    class Two(nn.Module):
        def forward(self, images):
            return (nn.functional.avg_pool2d(images, 4),)

    net = SegmentNet(Two(), ConsensusHead(in_channels=10, num_classes=4), frames_per_segment=5)
    assert net(video(2, 2, 15, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0}, "num_classes=0 is not allowed: it must be at least 1"),
        ({"num_classes": 3, "consensus": "mean"}, "consensus='mean' is unknown: choose one of avg, max"),
    ],
)
def test_arguments_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        create_tsn(backbone=SMALL, **arguments)


def test_a_misspelt_argument_is_no_argument():
    with pytest.raises(TypeError, match="drop_out"):
        create_tsn(num_classes=3, drop_out=0.5)


@pytest.mark.gpu
def test_a_gpu_says_what_the_cpu_says():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = create_tsn(num_classes=7, backbone="efficientnet_lite0").eval()
    frames = video(2, 3, 8, 224, 224)
    expected = model(frames)
    torch.testing.assert_close(model.cuda()(frames.cuda()).cpu(), expected, rtol=1e-3, atol=1e-4)
