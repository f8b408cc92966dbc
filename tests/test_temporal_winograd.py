"""3-D convolutions as 2-D ones give what `nn.Conv3d` gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pv_sparse.inference.fast_resnet3d import FastResNet3D, count_winograd
from pv_sparse.inference.folding import fold_norms
from pv_sparse.inference.packed_conv import can_pack
from pv_sparse.inference.temporal_winograd import StackedConv3d, TemporalWinogradConv3d
from pv_sparse.models.resnet3d import C3D_BLOCKS, ResNet3D, eco_net


def frames_last(video: torch.Tensor) -> torch.Tensor:
    """(N, C, T, H, W) -> (N, T, H, W, C)."""
    return video.permute(0, 2, 3, 4, 1).contiguous()


def frames_first(frames: torch.Tensor) -> torch.Tensor:
    return frames.permute(0, 4, 1, 2, 3)


def randomise_norms(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 6), st.integers(1, 6)),
    out_channels=st.integers(1, 5),
    has_bias=st.booleans(),
    is_packed=st.booleans(),
)
@torch.no_grad()
def test_winograd_along_time_is_the_convolution(shape, out_channels, has_bias, is_packed):
    conv = nn.Conv3d(shape[1], out_channels, 3, padding=1, bias=has_bias)
    video = torch.randn(shape)
    fast = TemporalWinogradConv3d(conv, is_packed and can_pack())
    torch.testing.assert_close(frames_first(fast(frames_last(video))), conv(video), rtol=1e-5, atol=1e-5)


@settings(max_examples=15)
@given(
    frames=st.integers(1, 9),
    kernel=st.sampled_from([(3, 3, 3), (1, 3, 3), (3, 7, 7), (2, 1, 1)]),
    stride=st.integers(1, 2),
    number=st.integers(1, 2),
)
@torch.no_grad()
def test_convolutions_of_stacked_frames_are_those_in_3d(frames, kernel, stride, number):
    padding = tuple(size // 2 for size in kernel)
    convs = [nn.Conv3d(2, 3, kernel, stride, padding) for _ in range(number)]
    video = torch.randn(2, 2, frames, 8, 7)
    given_together = frames_first(StackedConv3d(*convs)(frames_last(video)))
    expected = torch.cat([conv(video) for conv in convs], dim=1)
    torch.testing.assert_close(given_together, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_winograd_in_bfloat16_is_as_near_as_rounding_lets_it():
    conv = nn.Conv3d(8, 8, 3, padding=1)
    video = torch.randn(1, 8, 4, 6, 6)
    fast = TemporalWinogradConv3d(conv.to(torch.bfloat16))
    out = frames_first(fast(frames_last(video.to(torch.bfloat16)))).float()
    torch.testing.assert_close(out, conv.float()(video), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("words", [{"stride": 2}, {"padding": 0}, {"kernel_size": (5, 3, 3), "padding": (2, 1, 1)}])
def test_other_shapes_in_time_are_refused(words):
    with pytest.raises(ValueError, match="3 taps in time, stride 1 and padding 1"):
        TemporalWinogradConv3d(nn.Conv3d(2, 2, **{"kernel_size": 3, "padding": 1} | words))


@pytest.mark.parametrize("frames", [4, 8, 9])
@torch.no_grad()
def test_a_whole_network(frames):
    net = randomise_norms(eco_net(6, width=0.125))
    video = torch.randn(2, 6, frames, 8, 8)
    expected = net(video)
    assert fold_norms(net, video) == (5, 11)
    fast = FastResNet3D(net, is_packed=can_pack())
    assert count_winograd(fast) == (9, 13)
    torch.testing.assert_close(fast(video), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_network_with_a_stem_of_its_own():
    stem = nn.Conv3d(3, 64, kernel_size=(3, 7, 7), stride=2, padding=(1, 3, 3))
    net = randomise_norms(ResNet3D(stem, {"res2a": C3D_BLOCKS["res2a"]}))
    video = torch.randn(1, 3, 6, 16, 16)
    torch.testing.assert_close(FastResNet3D(net)(video), net(video), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_exported_with_any_batch():
    net = FastResNet3D(randomise_norms(eco_net(4, width=0.05)), is_packed=can_pack())
    video = torch.randn(2, 4, 4, 8, 8)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(net, (video,), dynamic_shapes=({0: batch},)).module()
    more = torch.randn(3, 4, 4, 8, 8)
    torch.testing.assert_close(exported(more), net(more), rtol=1e-4, atol=1e-5)
