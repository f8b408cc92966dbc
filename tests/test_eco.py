"""ECO and ECO-Lite: any multiple of 4 frames, and how they start from other networks' weights."""

import pytest
import torch
from safetensors.torch import save_file

from pv_sparse import C3DResNet18, WeightsError, create_eco, create_eco_lite
from pv_sparse.zoo.convert import key_map

BUILDERS = (create_eco_lite, create_eco)


def small(builder, **arguments):
    return builder(**({"num_classes": 5, "num_segments": 4, "backbone": "tiny", "width": 0.125} | arguments))


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("frames", [4, 8, 12, 32])
def test_any_multiple_of_four(builder, frames):
    assert small(builder).eval()(torch.zeros(1, 3, frames, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("frames", [1, 2, 6, 15])
def test_other_numbers_are_refused(builder, frames):
    with pytest.raises(ValueError, match=f"a video of {frames} frames was given to ECO, .* sample a multiple of 4"):
        small(builder)(torch.zeros(1, 3, frames, 64, 64))
    with pytest.raises(ValueError, match=f"num_segments={frames} is not allowed: ECO takes a multiple of 4"):
        small(builder, num_segments=frames)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "tiny", "bn_inception"])
def test_eco_on_other_networks(name):
    model = small(create_eco, backbone=name).eval()
    assert len(model.backbone.taps) == 2
    assert model.maps(torch.zeros(1, 3, 4, 64, 64))[0].shape[3:] == (8, 8)
    assert model(torch.zeros(1, 3, 4, 64, 64)).shape == (1, 5)


def test_taps_can_be_chosen():
    model = small(create_eco_lite, backbone="mobilenet_v3_small", taps=["features.3"]).eval()
    assert model(torch.zeros(1, 3, 4, 64, 64)).shape == (1, 5)
    with pytest.raises(ValueError, match="which maps of mobilenet_v3_small ECO reads is not known"):
        small(create_eco, backbone="mobilenet_v3_small")
    with pytest.raises(ValueError, match="the backbone has 1 taps, this head reads 2"):
        small(create_eco, taps=["stage3"])


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_width_is_the_square_of_the_cost(builder):
    def parameters(width):
        return sum(p.numel() for p in builder(num_classes=5, width=width).parameters())

    assert parameters(0.25) < parameters(1.0) / 14
    with pytest.raises(ValueError, match="width=0 is not allowed: it must be more than 0"):
        builder(num_classes=5, width=0)


def test_eco_reads_2d_features_before_3d_ones():
    model = small(create_eco)
    assert model.head.fc.in_features == 192 + 64
    assert model.head.dropout.p == 0.3
    assert model.head.dropout_2d.p == 0.5


# C3DRes18


@pytest.fixture(scope="module")
def c3d() -> C3DResNet18:
    torch.manual_seed(1)
    return C3DResNet18(num_classes=7)


@pytest.fixture(scope="module", params=["ours", "theirs"])
def c3d_file(c3d, request, tmp_path_factory):
    """As we save it, and under the names of ECO-pytorch."""
    state = c3d.state_dict()
    if request.param == "theirs":
        state = {f"module.{theirs}": state[ours] for ours, theirs in key_map("eco_pytorch", state, ()).items()}
    path = tmp_path_factory.mktemp("c3d") / "c3d.safetensors"
    save_file(state, path)
    return path


@pytest.mark.slow
def test_eco_starts_from_c3d(c3d, c3d_file):
    """ECO-Lite's first convolution gets 96 of 128 input channels of C3D's; ECO's keeps its own. The rest is copied."""
    lite = create_eco_lite(num_classes=5, c3d_weights=c3d_file).head.net.state_dict()
    full = create_eco(num_classes=5, c3d_weights=c3d_file).head.net.state_dict()
    source = c3d.net.state_dict()
    assert torch.equal(lite["stem.weight"], source["res3a.conv2.weight"][:, :96])
    assert not torch.equal(full["stem.weight"], lite["stem.weight"])
    for state in (lite, full):
        assert torch.equal(state["stem.bias"], source["res3a.conv2.bias"])
        rest = [key for key in state if not key.startswith("stem.")]
        assert all(torch.equal(state[key], source[key]) for key in rest)
        assert len(rest) == len(state) - 2


@pytest.mark.slow
def test_other_files_are_refused(c3d_file, tmp_path):
    with pytest.raises(WeightsError, match=r"do not fit .*: they are for width=1.0 and at most 128 channels"):
        create_eco_lite(num_classes=5, width=0.5, c3d_weights=c3d_file)
    save_file({"fc.weight": torch.zeros(1, 1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"the key .* is missing"):
        create_eco_lite(num_classes=5, c3d_weights=tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        create_eco(num_classes=5, c3d_weights=tmp_path / "gone.safetensors")


def test_c3d_takes_videos(c3d):
    assert c3d.eval()(torch.zeros(1, 3, 16, 32, 32)).shape == (1, 7)
    with pytest.raises(ValueError, match=r"shape \(3, 16, 32, 32\) was given; C3DRes18 takes \(N, 3, T, H, W\)"):
        c3d(torch.zeros(3, 16, 32, 32))
