"""Our heads on PyTorchVideo's trunks, and its trunks under our heads: stock classes and functions of the host."""

from functools import partial

import pytest
import torch
from torch import nn

from pv_sparse import HostBackbone, create_multiscale_relation_head, create_trn, create_tsn

from pytorchvideo.models.resnet import create_resnet  # isort: skip
from pytorchvideo.models.slowfast import create_slowfast  # isort: skip
from pytorchvideo.models.x3d import create_x3d  # isort: skip


def resnet(**arguments) -> nn.Module:
    return create_resnet(input_channel=3, model_depth=50, model_num_class=5, stem_dim_out=8, **arguments)


def x3d() -> nn.Module:
    return create_x3d(input_clip_length=4, input_crop_size=64, model_num_class=5)


c2d = partial(resnet, stem_conv_kernel_size=(1, 7, 7), stage_conv_a_kernel_size=((1, 1, 1),) * 4)


@pytest.mark.parametrize("builder", [resnet, c2d], ids=["slow", "c2d"])
def test_a_trn_head_through_the_hosts_own_argument(builder):
    net = builder(head=partial(create_multiscale_relation_head, num_segments=4)).eval()
    clips = torch.randn(2, 3, 4, 64, 64)
    assert net(clips).shape == (2, 5)
    assert (net(clips.flip(2)) - net(clips)).abs().max() > 0
    with pytest.raises(ValueError, match="a video of 8 segments was given to a TRN of 4"):
        net(torch.randn(1, 3, 8, 64, 64))


def test_a_trn_head_on_x3d():
    net = x3d()
    net.blocks[-1] = create_multiscale_relation_head(in_features=192, out_features=5, num_segments=4)
    assert net.eval()(torch.randn(2, 3, 4, 64, 64)).shape == (2, 5)


def test_the_hosts_activation_is_applied():
    head = partial(create_multiscale_relation_head, num_segments=4)
    scores = resnet(head=head, head_activation=nn.Softmax).eval()(torch.randn(2, 3, 4, 64, 64))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("builder", [resnet, c2d, x3d], ids=["slow", "c2d", "x3d"])
def test_a_host_trunk_as_backbone(builder):
    net = builder()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    backbone = HostBackbone(net, frames_per_segment=4)
    model = create_trn(num_classes=5, num_segments=2, backbone=backbone, frames_per_segment=4).eval()
    assert model(torch.randn(2, 3, 8, 64, 64)).shape == (2, 5)
    for key, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[key]), "its weights stay as they were"


@torch.inference_mode()
def test_a_host_trunk_sees_each_segment_as_the_host_would():
    net = resnet().eval()
    model = create_tsn(num_classes=5, backbone=HostBackbone(net, frames_per_segment=4), frames_per_segment=4).eval()
    clips = torch.randn(1, 3, 8, 64, 64)
    (maps,) = model.maps(clips)
    expected = clips[:, :, 4:]
    for block in net.blocks[:-1]:
        expected = block(expected)
    torch.testing.assert_close(maps[:, 1], expected.mean(dim=2))


def test_nets_of_two_pathways_are_refused():
    with pytest.raises(ValueError, match="give a net of PyTorchVideo with blocks and one pathway"):
        HostBackbone(create_slowfast(model_num_class=5))
    with pytest.raises(ValueError, match="a Identity was given: give a net of PyTorchVideo"):
        HostBackbone(nn.Identity())
    with pytest.raises(ValueError, match="takes 12 channels, the segments have 3: give frames_per_segment=4"):
        create_trn(num_classes=5, num_segments=2, backbone=HostBackbone(x3d(), frames_per_segment=4))
